"""Drift and anomalies: what was planted is found, and where nothing was there is no alarm."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from genre.component import Slot, names
from genre.detectors import Watched
from genre.refresh.drift import PEOPLE, READS, Happened, People, inputs, look, outputs
from genre.store import open_store
from genre.store.records import Event, SlateRow

DETECTORS = [Slot("detectors").build(name) for name in names("detectors")]
SEEDS = range(10)
HOUR, DAY = 3600.0, 86400.0


def of(reads: str) -> list[str]:
    return [name for name in names("detectors") if Slot("detectors").build(name).reads == reads]


def planted(reads: str, drift: bool, seed: int) -> Watched:
    """Clicks from 20 to 14 in a hundred; other favourites; longer texts; three bots among two hundred people."""
    rng = np.random.default_rng(seed)
    if reads == "stream":
        before, now = rng.random(3000) < 0.2, rng.random(3000) < (0.14 if drift else 0.2)
        return Watched("clicks", before.astype(float), now.astype(float))
    if reads == "words":
        before, now = rng.zipf(1.5, 2000) % 500, (rng.zipf(1.5, 300) + 7 * drift) % 500
        return Watched("items", before.astype(str), now.astype(str))
    if reads == "numbers":
        return Watched("words", rng.lognormal(3, 0.5, 1000), rng.lognormal(3.3 if drift else 3, 0.5, 400))
    now = humans(rng, 200)
    if drift:
        now[:3] = [np.log1p(1500), np.log1p(600), 0.05, 0.5, 0.02]
    return Watched("people", humans(rng, 500), now, PEOPLE)


def humans(rng: np.random.Generator, n: int) -> np.ndarray:
    columns = (rng.lognormal(2, 1, n), rng.exponential(2, n))
    rest = (rng.beta(8, 2, n), rng.normal(8, 1.5, n), rng.beta(2, 5, n))
    return np.stack([*(np.log1p(one) for one in columns), *rest], axis=1)


@pytest.mark.parametrize("name", names("detectors"))
def test_what_was_planted_is_found_and_nothing_else(name: str):
    detector = Slot("detectors").build(name)
    seeds = SEEDS if detector.reads != "people" else range(3)
    found = [detector.detect(planted(detector.reads, True, seed)) for seed in seeds]
    quiet = [detector.detect(planted(detector.reads, False, seed)) for seed in seeds]
    assert sum(one.alarm for one in found) >= 0.8 * len(seeds)
    assert sum(one.alarm for one in quiet) == 0
    assert all(one.why for one in (*found, *quiet))


@pytest.mark.parametrize("name", of("people"))
def test_bots_are_named(name: str):
    found = Slot("detectors").build(name).detect(planted("people", True, 0))
    assert set(found.at) == {0, 1, 2}


@pytest.mark.parametrize("name", of("stream"))
def test_a_stream_says_when_it_changed(name: str):
    found = Slot("detectors").build(name).detect(planted("stream", True, 1))
    assert 100 < found.at[0] < 3000


@pytest.mark.parametrize("name", of("words"))
def test_a_long_tail_alone_is_no_alarm(name: str):
    """Words of a long tail that were not seen before are what has to be expected."""
    rng = np.random.default_rng(0)
    watched = Watched("items", rng.integers(0, 3000, 2000).astype(str), rng.integers(0, 3000, 500).astype(str))
    assert not Slot("detectors").build(name).detect(watched).alarm
    fresh = Watched("items", watched.before, rng.integers(3000, 6000, 500).astype(str))
    assert Slot("detectors").build(name).detect(fresh).alarm


@pytest.mark.parametrize("name", names("detectors"))
def test_constant_values_are_no_alarm(name: str):
    detector = Slot("detectors").build(name)
    column = np.ones((50, 5)) if detector.reads == "people" else np.ones(50)
    value = column.astype(str) if detector.reads == "words" else column
    assert not detector.detect(Watched("same", value, value)).alarm


def log(seed: int, since: float, people: int = 80, days: int = 7) -> Happened:
    """People with paces and tastes of their own, for some days."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(12, people) + 3
    user = np.repeat([f"u{seed}-{n}" for n in range(people)], counts).astype(object)
    item = np.array([f"i{n % 60}" for n in rng.zipf(1.6, counts.sum())], dtype=object)
    time = np.sort(since + rng.random(counts.sum()) * days * DAY)
    return Happened(rng.permutation(user), item, np.full(len(time), "view", dtype=object), time)


def joined(one: Happened, other: Happened) -> Happened:
    both = [
        np.concatenate([getattr(side, name) for side in (one, other)]) for name in ("user", "item", "action", "time")
    ]
    order = np.argsort(both[3], kind="stable")
    return Happened(*(column[order] for column in both))


ITEMS = pa.table({"item_id": [f"i{n}" for n in range(60)], "title": ["a word or two"] * 60})


def test_a_week_like_the_one_before_sets_off_nothing():
    rows = [
        row
        for seed in range(3)
        for row in look(list(inputs(log(seed, 0.0), log(seed + 50, 7 * DAY), ITEMS, "{title}")), DETECTORS)
    ]
    assert len(rows) == 3 * 6
    assert [row for row in rows if row["alarm"]] == []


def test_bots_in_a_log_are_named():
    rng = np.random.default_rng(1)
    n = 3000
    bots = Happened(
        np.repeat(["bot-a", "bot-b"], n // 2).astype(object),
        np.array([f"i{i % 3}" for i in range(n)], dtype=object),
        np.full(n, "view", dtype=object),
        np.tile(7 * DAY + 2 * HOUR + np.arange(n // 2), 2) + rng.random(n) * 0.1,
    )
    now = joined(log(51, 7 * DAY), bots)
    rows = look(list(inputs(log(1, 0.0), now, ITEMS, "{title}")), DETECTORS, People.of(now).user.tolist())
    named = [row for row in rows if row["watched"] == "people"]
    assert all(row["alarm"] and set(row["people"]) == {"bot-a", "bot-b"} for row in named), named
    assert any(row["alarm"] for row in rows if row["watched"] == "items")


def test_clicks_and_scores_of_the_service(tmp_path):
    rng = np.random.default_rng(0)
    n, since = 4000, 2000.0
    clicked = rng.random(n) < np.where(np.arange(n) < 2000, 0.25, 0.1)
    slates = [
        SlateRow(f"s{i}", "u", "m@1", [{"item_id": "i1", "score": float(rng.normal(1.0 + (i >= 2000), 0.3))}], float(i))
        for i in range(n)
    ]
    events = [Event(f"e{i}", "u", "i1", "click", slate_id=f"s{i}") for i in np.flatnonzero(clicked)]
    database = Slot("stores").build({"type": "sqlite", "path": str(tmp_path / "store.db")})
    with open_store(database, tmp_path) as store:
        store.slates.add(slates)
        store.events.append(events)
        watched = {one.name: one for one in outputs(store, since, ["click"])}
        nobody = {one.name: one for one in outputs(store, since, ["purchase"])}
    # The last ten minutes are left out, as somebody may yet answer to their slates.
    assert len(watched["clicks of a slate"].now) == 2000 - 601
    assert watched["clicks of a slate"].before.mean() == clicked[:2000].mean()
    assert nobody["clicks of a slate"].now.sum() == 0
    rows = look(list(watched.values()), DETECTORS)
    alarms = {(row["watched"], row["detector"]) for row in rows if row["alarm"]}
    assert ("clicks of a slate", "page_hinkley") in alarms
    assert ("clicks of a slate", "adwin") in alarms
    assert ("first score of a slate", "kolmogorov_smirnov") in alarms
    assert not any(name == "degraded slates" for name, _ in alarms)


def test_too_little_is_told():
    few = Watched("actions", np.array(["view"] * 5), np.array(["view"] * 500))
    rows = look([few], DETECTORS)
    assert [(row["alarm"], row["why"]) for row in rows] == [(None, "too little to judge by")]


def test_everything_watched_is_read_by_a_detector():
    assert {name for reads in READS.values() for name in reads} == {one.reads for one in DETECTORS}


def test_people_are_described_by_what_they_did():
    times = np.array([0.0, 60, 120, 180, 0, DAY, 2 * DAY])
    happened = Happened(
        np.array(["a"] * 4 + ["b"] * 3, dtype=object),
        np.array(["x", "x", "x", "x", "x", "y", "z"], dtype=object),
        np.array(["view"] * 7, dtype=object),
        times,
    )
    people = People.of(happened)
    events, busiest, different, pause, evenness = people.rows.T
    assert people.user.tolist() == ["a", "b"]
    assert np.expm1(events).round().tolist() == [4, 3]
    assert np.expm1(busiest).round().tolist() == [4, 1]
    assert different.tolist() == [0.25, 1.0]
    assert np.expm1(pause).round().tolist() == [60, DAY]
    assert evenness == pytest.approx([0, 0], abs=1e-6)
