"""What is watched of the service: slates and how they were answered to, counted by the database; drift."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import event as engine_events

from databases import BOTH, fresh
from databases import settings as database
from genre.component import Slot
from genre.serve.traffic import interval, traffic
from genre.store import Store
from genre.store.checking import checked
from genre.store.records import Event, SlateRow
from genre.store.traffic import Counted, counted
from served import a_run, asking, service

HOUR = 3600.0
NOON = 1_700_000_000.0 // 86400 * 86400 + 43200
"""Of some day, UTC."""


@pytest.fixture(params=BOTH)
def store(request, tmp_path) -> Iterator[Store]:
    with fresh(request.param, tmp_path) as made:
        yield made


def told(user: str | None, item: str, action: str, slate_id: str) -> Event:
    made = checked({"user_id": user or "nobody", "item_id": item, "action": action, "slate_id": slate_id})
    assert isinstance(made, Event)
    return made


def many(store: Store, n: int = 600, users: int = 40) -> tuple[list[SlateRow], dict[str, set[str]]]:
    """Slates over three days around midnight and the hours, with what was done by slate."""
    rng = np.random.default_rng(3)
    slates, done = [], defaultdict[str, set[str]](set)
    for number in range(n):
        at = (
            NOON
            + float(rng.choice([0.0, HOUR - 0.001, HOUR, 12 * HOUR, 12 * HOUR - 0.001, 30 * HOUR]))
            + 48 * HOUR * (number % 2)
        )
        user = None if number % 10 == 0 else f"u{rng.integers(users)}"
        arm = "ab"[number % 2] if number % 3 else None
        request = {"k": 3} if number % 50 == 0 else {"k": 3, "rung": "full" if rng.random() < 0.8 else "popular"}
        facts = {"experiment": "x" if arm else None, "arm": arm, "request": request}
        slates.append(SlateRow(f"s{number}", user, f"m@{number % 3}", [{"item_id": "i"}], at, **facts))
        for action in ("click", "buy", "skip"):
            if rng.random() < 0.25:
                done[f"s{number}"].add(action)
    store.slates.add(slates)
    store.events.append([told(s.user_id, "i", a, s.slate_id) for s in slates for a in sorted(done[s.slate_id])])
    # Two events of one slate count once, one that names no slate that is there not at all, and one taken back neither.
    store.events.append(
        [told("u1", "j", "click", "s1"), told("u1", "j", "click", "none"), told("u9", "k", "buy", "s2")]
    )
    done["s1"].add("click")
    assert store.events.withdraw("u9", "k", "buy") == 1
    return slates, done


def by_hand(slates: list[SlateRow], done: dict[str, set[str]], by: str, seconds: float, actions: set[str]) -> Any:
    groups: dict[Any, dict[str, list[int]]] = defaultdict(lambda: defaultdict(lambda: [0, 0]))
    for one in slates:
        if by == "arm" and one.arm is None:
            continue
        names = {
            "all": (None,) * 4,
            "model": (one.model, None, None, None),
            "rung": (None, one.request.get("rung"), None, None),
            "arm": (None, None, one.experiment, one.arm),
        }[by]
        of = done.get(one.slate_id, set())
        hit = bool(of & actions) if actions else bool(of - {"skip"})
        for window in (None, int(one.created // seconds)):
            count = groups[(window, *names)][one.user_id or one.slate_id]
            count[0], count[1] = count[0] + 1, count[1] + hit
    found = {}
    for key, users in groups.items():
        n, h = np.array(list(users.values())).T
        found[key] = (len(users), n.sum(), h.sum(), ((h * h).sum(), (h * n).sum(), (n * n).sum()))
    return found


@pytest.mark.parametrize("seconds", [HOUR, 24 * HOUR])
def test_the_database_counts_as_one_would_by_hand(store, seconds):
    slates, done = many(store)
    for by in ("all", "model", "rung", "arm"):
        for actions in (set(), {"click"}, {"buy", "skip"}):
            rows = counted(store.access, by, seconds, 0.0, NOON + 1e6, sorted(actions))
            found = {
                (r.window, r.model, r.rung, r.experiment, r.arm): (r.users, r.slates, r.hits, r.squares) for r in rows
            }
            assert len(found) == len(rows)
            assert found == by_hand(slates, done, by, seconds, actions), (by, actions)
    some = counted(store.access, "all", seconds, NOON + HOUR, NOON + 12 * HOUR)
    inside = [one for one in slates if NOON + HOUR <= one.created < NOON + 12 * HOUR]
    assert sum(one.slates for one in some if one.window is None) == len(inside) > 0
    assert counted(store.access, "all", seconds, 0.0, 1.0) == []


def test_a_day_and_an_hour_begin_where_they_do_in_utc(store):
    many(store)
    totals, rows = traffic(store, "all", "day", 0.0, NOON + 1e6, [])
    assert [one.since for one in rows] == [NOON - 43200 + 86400 * n for n in range(4)]
    assert sum(one.slates for one in rows) == totals[0].slates == 600
    _, rows = traffic(store, "all", "hour", 0.0, NOON + 1e6, [])
    assert [one.since for one in rows][:3] == [NOON, NOON + HOUR, NOON + 11 * HOUR]


def test_the_interval_is_that_of_drawing_users_and_not_slates():
    rng = np.random.default_rng(0)
    n = rng.integers(1, 40, 400)
    h = rng.binomial(n, rng.beta(1, 3, 400))
    found = interval(counted_of(n, h))
    assert found is not None
    draws = rng.multinomial(len(n), np.ones(len(n)) / len(n), 4000)
    low, high = np.quantile((draws @ h) / (draws @ n), [0.025, 0.975])
    np.testing.assert_allclose(found, (low, high), atol=0.008)
    alone = 1.96 * (h.sum() / n.sum() * (1 - h.sum() / n.sum()) / n.sum()) ** 0.5
    assert (found[1] - found[0]) / 2 > 1.5 * alone, "slates of one user are alike"


def test_the_interval_holds_the_truth_as_often_as_it_says_and_is_never_empty():
    rng = np.random.default_rng(1)
    held = []
    for _ in range(400):
        n = rng.integers(1, 6, 60)
        found = interval(counted_of(n, rng.binomial(n, rng.beta(0.5, 4.5, 60))))
        assert found is not None
        held.append(found[0] <= 0.1 <= found[1])
    assert 0.92 <= np.mean(held) <= 0.99
    for users, rate in ((2, 0), (2, 1), (500, 0), (500, 1)):
        ends = interval(counted_of(np.full(users, 3), np.full(users, 3 * rate)))
        assert ends is not None
        assert 0 <= ends[0] <= rate <= ends[1] <= 1
        assert ends[1] - ends[0] > 0.5 / users
    assert interval(counted_of(np.array([9]), np.array([4]))) is None


def counted_of(n: np.ndarray, h: np.ndarray) -> Counted:
    squares = (float((h * h).sum()), float((h * n).sum()), float((n * n).sum()))
    return Counted(None, None, None, None, None, len(n), int(n.sum()), int(h.sum()), squares)


def test_slates_are_counted_by_indexes_alone(tmp_path):
    with fresh("sqlite", tmp_path) as store:
        many(store, 50)
        plans: list[str] = []

        def plan(connection: Any, cursor: Any, statement: str, parameters: Any, *rest: Any) -> None:
            plans.extend(row[3] for row in cursor.connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters))

        engine_events.listen(store.access.engine, "before_cursor_execute", plan)
        for by in ("all", "model", "arm"):
            plans.clear()
            counted(store.access, by, HOUR, NOON, NOON + HOUR, ["click"])
            read = [one for one in plans if "slates" in one or "events" in one]
            assert read == [
                "SEARCH slates USING COVERING INDEX slates_in_time (created>? AND created<?)",
                "SEARCH events USING INDEX events_of_slate (slate_id=?)",
            ]


@pytest.mark.parametrize("kind", BOTH)
def test_traffic_over_http_is_what_happened(kind, tmp_path):
    kept = Slot("stores").build(database(kind, tmp_path))
    with service(a_run(tmp_path), kept) as made, asking(made) as ask:
        empty = ask("get", "/v1/traffic").json()
        assert (empty["totals"], empty["rows"]) == ([], [])
        now = time.time()
        slates = [SlateRow(f"s{n}", f"u{n % 8}", f"m@{n % 2}", [], now - HOUR * (n % 3) - 1) for n in range(60)]
        made.store.slates.add(slates)
        made.store.events.append([told(f"u{n % 8}", "i1", "click", f"s{n}") for n in range(0, 60, 4)])
        assert ask("get", "/v1/traffic").json() == empty, "what was counted just now is answered again"
        found = ask("get", "/v1/traffic", params={"by": "model", "days": 2}).json()
        assert [(one["model"], one["slates"], one["answered"]) for one in found["totals"]] == [
            ("m@0", 30, 15),
            ("m@1", 30, 0),
        ]
        assert found["totals"][0]["rate"] == 0.5
        assert found["totals"][1]["ci95"][0] == 0 < found["totals"][1]["ci95"][1]
        assert sum(one["slates"] for one in found["rows"]) == 60
        assert all(found["since"] <= one["since"] <= found["until"] for one in found["rows"])
        bought = ask("get", "/v1/traffic", params={"action": ["buy", "view"], "window": "day"}).json()
        assert (bought["actions"], bought["totals"][0]["answered"]) == (["buy", "view"], 0)
        refused = ask("get", "/v1/traffic", params={"days": 15})
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "days")


# Drift


REPORT = {
    "made": 1_700_000_000.0,
    "since": 1_699_400_000.0,
    "days": 7.0,
    "events": 40,
    "normal": "the store",
    "rows": [
        {"watched": "items", "detector": "psi", "alarm": True, "why": "most of all a", "before": 9, "now": 9, "at": []},
        {
            "watched": "items",
            "detector": "psi2",
            "alarm": True,
            "why": "b too",
            "before": 9,
            "now": 9,
            "statistic": 1.0,
        },
        {"watched": "people", "detector": "forest", "alarm": False, "why": "nobody", "before": 9, "now": 9},
        {"watched": "degraded slates", "detector": "adwin", "alarm": None, "why": "too little", "before": 0, "now": 0},
    ],
}


def test_drift_is_told_in_words_and_404_before_anybody_has_looked(tmp_path):
    with service(a_run(tmp_path)) as made, asking(made) as ask:
        assert ask("get", "/v1/drift").status_code == 404
        assert "genre drift" in ask("get", "/v1/drift").json()["detail"]
        folder = made.models.active.folder / "drift"
        folder.mkdir()
        write(folder, REPORT)
        found = ask("get", "/v1/drift").json()
        assert (found["model"], found["made"], found["drifting"]) == ("circle", REPORT["made"], ["items"])
        assert found["words"] == (
            "Drifting, 1 of 2 things that are watched: which items people choose (most of all a; b too)."
        )
        assert [row["alarm"] for row in found["rows"]] == [True, True, False, None]
        write(folder, {**REPORT, "rows": REPORT["rows"][2:]})
        assert ask("get", "/v1/drift").json()["words"] == "Nothing drifts, of 1 things that are watched."
        write(folder, {**REPORT, "rows": REPORT["rows"][3:]})
        assert "too little" in ask("get", "/v1/drift").json()["words"]
        (folder / "drift.json").write_text("{", encoding="utf-8")
        broken = ask("get", "/v1/drift")
        assert (broken.status_code, "genre drift" in broken.json()["detail"]) == (409, True)


def write(folder: Path, report: dict[str, Any]) -> None:
    (folder / "drift.json").write_text(json.dumps(report), encoding="utf-8")


def test_what_the_watch_writes_is_what_the_service_tells(tmp_path):
    """The worker's own look, at events that are nothing like the run's log."""
    from genre.jobs import Work, do
    from genre.serve.watched import WORDS

    with service(a_run(tmp_path)) as made, asking(made) as ask:
        now = time.time()
        events = [
            checked({"user_id": f"z{n % 30}", "item_id": f"new{n % 3}", "action": "view", "timestamp": now - 60 * n})
            for n in range(300)
        ]
        made.store.events.append([one for one in events if isinstance(one, Event)])
        do("drift", Work(made.models.active.folder, made.store, {}, lambda facts: None))
        found = ask("get", "/v1/drift").json()
        assert "items" in found["drifting"]
        assert WORDS["items"] in found["words"]
        assert {row["watched"] for row in found["rows"]} <= set(WORDS)
        assert time.time() - found["made"] < 60
