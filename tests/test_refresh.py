"""The next model from the last: it learns what is new, keeps what is old, and is published only if it is not worse."""

from __future__ import annotations

import csv
import functools
import json
import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from genre.cli import commands
from genre.data import Dataset, Log
from genre.errors import DataError, GenreError
from genre.pipeline import Pipeline
from genre.refresh.cycle import Refreshed, family, refresh, result_of
from genre.refresh.gate import judged
from genre.refresh.gate import tests as asked_of
from genre.refresh.log import grown, of_file, of_store
from genre.refresh.publishing import link_of, publish
from genre.run import Run
from genre.serve.judging import judge, measured
from genre.systems import metric_named
from genre.types import Query
from toyworld import circle, config, dataset, text_config, tiny_backbone

SETTINGS = {
    "warmup_epochs": 12,
    "epochs": 1,
    "replay": 0.5,
    "fewest": 50,
    "bootstrap": 200,
    "rate": 1.0,
    "old_margin": 0.1,
}


@functools.cache
def last() -> Run:
    """People walk around a circle, one step at a time; a model that has learned it."""
    from genre.evaluate import evaluate
    from genre.rank import rank
    from genre.train import train

    folder = Path(tempfile.mkdtemp(prefix="genre-test-"))
    os.environ["GENRE_CACHE"] = str(folder / "cache")
    conf = config(
        tiny_backbone(folder / "bert"),
        name="walk",
        model={"heads": {"next": "next_item"}},
        pipeline={"sources": ["model"]},
        evaluate={"bootstrap": 50, "baselines": ["popular"], "examples": 1, "metrics": ["ndcg", "recall"], "shots": []},
        train={"warmup_epochs": 10, "epochs": 1},
        refresh=SETTINGS,
    )
    run = Run.create(conf, folder)
    dataset(circle(n_users=80)).save(run.path("data"))
    for stage in (train, rank, evaluate):
        stage(conf, run)
    return run


def walks(n_people: int = 60, seed: int = 5) -> list[tuple[Any, ...]]:
    """Other people, whose taste is another: three steps at a time, on a circle with two new items."""
    starts = np.random.default_rng(seed).integers(0, 22, n_people)
    return [
        (f"n{person}", f"i{(start + 3 * step) % 22}", "rate", 5.0, 2_000_000 + 100 * step + person)
        for person, start in enumerate(starts)
        for step in range(10)
    ]


def written(folder: Path, rows: list[tuple[Any, ...]]) -> tuple[Path, Path]:
    """The log of the new people and the new items, as files."""
    log, items = folder / "new.csv", folder / "items.csv"
    for path, names, lines in (
        (log, ["user_id", "item_id", "action", "value", "timestamp"], rows),
        (items, ["item_id", "title"], [("i20", "redcup word20"), ("i21", "redhat word21")]),
    ):
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([names, *lines])
    return log, items


@functools.cache
def refreshed() -> Refreshed:
    folder = Path(tempfile.mkdtemp(prefix="genre-test-"))
    log, items = written(folder, walks())
    return refresh(last(), lambda run, data: of_file(run, data, log, items, None))


def guard(result: dict[str, Any], test: str, metric: str = "ndcg@10") -> dict[str, Any]:
    asked = (test, "all", metric)
    return next(one for one in result["gate"]["guards"] if (one["test"], one["slice"], one["metric"]) == asked)


def test_it_learns_the_new_taste_and_keeps_the_old():
    made = refreshed()
    newest, old = guard(made.result, "newest"), guard(made.result, "old")
    assert newest["verdict"] == "better"
    assert newest["new"] > newest["old"] + 0.1
    assert old["verdict"] in ("better", "not worse")
    assert made.open
    assert made.run.folder.name == "walk-2"
    assert family(made.run) == "walk"


def test_the_newest_events_are_held_out_and_the_old_test_is_not_trained_on():
    made = refreshed()
    log = Log.of(Dataset.load(made.run.path("data")))
    old = Dataset.load(last().path("data"))
    since, cuts = made.result["log"]["parts"], made.result["log"]
    assert sum(since.values()) == cuts["events"] == 600
    test, train = log.parts("test"), log.parts("train")
    assert test.time.min() >= cuts["test_from"] > log.parts("valid").time.max()
    assert len(test) == since["test"]
    assert len(train) == since["train"] + sum(
        part in ("train", "valid") for part in old.interactions["part"].to_pylist()
    )


def test_new_items_are_recommended():
    pipeline = Pipeline.load(refreshed().run.folder)
    found = pipeline.recommend([Query(history=(f"i{i % 22}", f"i{(i + 3) % 22}"), k=5) for i in range(22)])
    assert {"i20", "i21"} & {one.item_id for slate in found for one in slate.items}


def test_done_again_it_is_the_same_run(tmp_path: Path):
    log, items = written(tmp_path, walks())
    again = refresh(last(), lambda run, data: of_file(run, data, log, items, None))
    assert again.run.folder == refreshed().run.folder
    assert again.result == refreshed().result


def test_a_refresh_that_was_cut_short_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    log, items = written(tmp_path, walks(seed=6))
    quick = replace(last().config.refresh, warmup_epochs=1, epochs=0, replay=0.0)

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("genre.refresh.cycle.rank", killed)
        with pytest.raises(KeyboardInterrupt):
            refresh(last(), lambda run, data: of_file(run, data, log, items, None), quick)
    begun = last().folder.parent / "walk-3"
    trained = (begun / "model" / "finetuned" / "manifest.json").read_bytes()
    with pytest.raises(GenreError, match="manifest"):
        publish(Run.open(begun))

    def never(*_: Any) -> Any:
        raise AssertionError("the log was written")

    made = refresh(last(), never, quick)
    assert made.run.folder == begun
    assert (begun / "model" / "finetuned" / "manifest.json").read_bytes() == trained
    assert made.result["run"] == "walk-3"


def test_the_next_refresh_trains_on_what_was_held_out(tmp_path: Path):
    log, _ = written(tmp_path, [(f"m{u}", f"i{u % 20}", "rate", 1.0, 3_000_000 + u) for u in range(100)])
    parent, data = refreshed().run, Dataset.load(refreshed().run.path("data"))
    made = grown(parent, data, of_file(parent, data, log, None, None), parent.config.refresh)
    parts, users = made.interactions["part"].to_pylist(), made.interactions["user_id"].to_pylist()
    by_origin = {
        name: [p for p, u, new in zip(parts, users, made.new, strict=True) if u[0] == name and not new] for name in "un"
    }
    assert set(by_origin["u"]) == {"train"}
    assert by_origin["n"].count(None) == refreshed().result["log"]["parts"]["test"]


def test_a_worse_model_is_refused():
    metrics = [metric_named("ndcg@10")]
    section = replace(last().config.refresh, guarded=["ndcg@10"])
    asked = asked_of(last(), refreshed().run, metrics)
    assert judged(asked, section, 7)["open"]
    swapped = [replace(one, old=one.new, new=one.old) for one in asked]
    shut = judged(swapped, section, 7)
    assert not shut["open"]
    assert guard({"gate": shut}, "newest")["verdict"] == "worse"
    assert "shut" in shut["sentence"]


def test_the_service_refuses_what_the_gate_does(tmp_path: Path):
    copy = tmp_path / "walk-2"
    shutil.copytree(refreshed().run.folder, copy)
    assert judge(measured(copy), measured(last().folder)).passed
    file = copy / "refresh" / "gate" / "refresh.json"
    result = json.loads(file.read_text(encoding="utf-8"))
    result["gate"] |= {"open": False, "sentence": "The gate is shut: too bad."}
    file.write_text(json.dumps(result), encoding="utf-8")
    verdict = judge(measured(copy), measured(last().folder))
    assert (verdict.passed, verdict.why) == (False, "The gate is shut: too bad.")
    with pytest.raises(GenreError, match=r"refresh.json"):
        publish(Run.open(copy))


def test_a_slice_that_is_worse_shuts_the_gate():
    section = replace(last().config.refresh, guarded=["ndcg@10"], margin=9.0)
    asked = asked_of(last(), refreshed().run, [metric_named("ndcg@10")])
    shut = judged([replace(one, old=one.new, new=one.old) for one in asked[:1]], section, 7)
    whole = guard({"gate": shut}, "newest")
    assert whole["verdict"] == "not worse"
    assert any(one["verdict"] == "worse" and one["slice"] != "all" for one in shut["guards"])
    assert not shut["open"]


def test_publishing_moves_the_link_in_one_move_or_not_at_all(tmp_path: Path):
    link = publish(last())
    assert link == link_of(refreshed().run)
    assert link.resolve() == last().folder.resolve()
    assert publish(refreshed().run).resolve() == refreshed().run.folder.resolve()
    Pipeline.load(link)
    damaged = last().folder.parent / "walk-9"
    shutil.copytree(refreshed().run.folder, damaged)
    file = next((damaged / "rank").glob("scorer.safetensors"))
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    try:
        with pytest.raises(GenreError, match=r"scorer.safetensors"):
            publish(Run.open(damaged))
        with pytest.raises(GenreError, match="nothing was published"):
            publish(refreshed().run, "http://127.0.0.1:9")
        assert link.resolve() == refreshed().run.folder.resolve()
        assert [path.name for path in link.parent.iterdir()] == ["walk"]
    finally:
        shutil.rmtree(damaged)


def test_the_report_shows_it(tmp_path: Path):
    from genre.report import report

    run = refreshed().run
    report(run.config, run)
    page = (run.path("report") / "report.html").read_text(encoding="utf-8")
    assert "Beside the model that it came from" in page
    assert "refresh-" in page
    assert "population stability" in page
    assert (run.path("refresh") / "gate" / "gate.svg").exists()
    assert result_of(run)["from"]["run"] == "walk"


def test_too_little_is_told_and_changes_nothing(tmp_path: Path):
    log, items = written(tmp_path, walks(2))
    before = sorted(path.name for path in last().folder.parent.iterdir())
    with pytest.raises(GenreError, match=r"20 events are new .* asks for 50"):
        refresh(last(), lambda run, data: of_file(run, data, log, items, None))
    untimed = [(*row[:4], "") for row in walks()]
    log, items = written(tmp_path, untimed)
    with pytest.raises(DataError, match="no timestamp"):
        refresh(last(), lambda run, data: of_file(run, data, log, items, None))
    assert sorted(path.name for path in last().folder.parent.iterdir()) == before


def test_bad_rows_are_kept_with_their_reason(tmp_path: Path):
    rows = [*walks(), ("n1", "i3", "rate", "many", 2_000_500), ("n1", "i3", "rate", 1.0, "soon")]
    log, items = written(tmp_path, rows)
    data = Dataset.load(last().path("data"))
    made = grown(last(), data, of_file(last(), data, log, items, None), last().config.refresh)
    assert [(row["line"], row["reason"]) for row in made.rejected] == [
        (602, "value is no number"),
        (603, "timestamp is no time"),
    ]
    assert made.facts["events"] == 600


def test_events_of_the_store(tmp_path: Path):
    from genre.component import Slot
    from genre.store import open_store
    from genre.store.importing import import_data
    from genre.store.records import Entry, Event

    database = Slot("stores").build({"type": "sqlite", "path": str(tmp_path / "store.db")})
    data = Dataset.load(last().path("data"))
    with open_store(database, tmp_path) as store:
        import_data(store, data)
        store.items.put([Entry("i20", {"title": "redcup word20"}), Entry("i21", {"title": "redhat word21"})])
        events = [Event(f"e{n}", u, i, a, v, float(t)) for n, (u, i, a, v, t) in enumerate(walks())]
        store.events.append(events)
    made = grown(last(), data, of_store(last(), database), last().config.refresh)
    assert made.facts["events"] == 600
    assert made.interactions.num_rows == 600 + data.interactions.num_rows
    assert "i21" in made.items["item_id"].to_pylist()


def test_a_model_that_reads_texts_alone_is_refused(tmp_path: Path):
    run = Run.create(text_config({"type": "minilm"}, name="texts"), tmp_path)
    with pytest.raises(GenreError, match="recommends nothing"):
        refresh(run, lambda run, data: None)  # type: ignore[arg-type, return-value]


def test_the_command_says_what_is_wrong(tmp_path: Path):
    log, _ = written(tmp_path, walks(2))
    said = CliRunner().invoke(commands, ["refresh", str(last().folder), "--log", str(log), "replays=1"])
    assert said.exit_code == 1
    assert "replay" in said.output
    said = CliRunner().invoke(commands, ["refresh", str(last().folder), "--items", str(log)])
    assert said.exit_code == 2
