"""Runs side by side, and runs that do not compare."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from finished import finished
from genre.cli import commands
from genre.errors import GenreError
from genre.files import seal, write_json
from genre.runcomparison import Comparison


def changed(place: Path, name: str, **facts: object) -> Path:
    """A copy of the finished run with another name, and another contract where ``facts`` say so."""
    folder = place / name
    shutil.copytree(finished().folder, folder)
    path = folder / "evaluate" / "metrics.json"
    result = json.loads(path.read_text(encoding="utf-8"))
    result["contract"] |= facts
    write_json(path, result)
    written = json.loads((folder / "evaluate" / "manifest.json").read_text(encoding="utf-8"))
    seal(folder / "evaluate", 1, data=written["data"])
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    place = tmp_path_factory.mktemp("runs")
    a, b = changed(place, "a"), changed(place, "b")
    config = json.loads((b / "config.json").read_text(encoding="utf-8"))
    config["model"]["dim"], config["train"]["lr"]["rest"] = 64, 0.25
    write_json(b / "config.json", config)
    return a, b


def test_a_run_beside_itself_differs_in_nothing_but_what_was_set(runs: tuple[Path, Path]):
    found = Comparison(list(runs))
    assert dict(found.settings()) == {"model.dim": [32, 64], "train.lr.rest": [0.005, 0.25]}
    beside = {(one["system"], one["metric"]): one for one in found.differences}
    assert beside["genre", "ndcg@10"]["ci95"] == [0, 0]
    assert {one["verdict"] for one in found.differences} == {"no difference"}


def test_a_run_that_ranks_worse_is_told_so(runs: tuple[Path, Path], tmp_path: Path):
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    worse = tmp_path / "worse"
    shutil.copytree(runs[0], worse)
    path = worse / "evaluate" / "units.parquet"
    table = pq.read_table(path)
    half = pc.multiply(table["ndcg@10"], 0.5)
    pq.write_table(table.set_column(table.column_names.index("ndcg@10"), "ndcg@10", half), path)
    seal(worse / "evaluate", 1, data="toy")
    beside = {(one["system"], one["metric"]): one for one in Comparison([runs[0], worse]).differences}
    assert beside["model", "ndcg@10"]["verdict"] == "worse"
    assert beside["model", "recall@10"]["verdict"] == "no difference"


def test_it_is_printed_and_drawn(runs: tuple[Path, Path], tmp_path: Path):
    page = tmp_path / "page.html"
    done = CliRunner().invoke(commands, ["compare", *map(str, runs), "--metric", "ndcg@10", "--to", str(page)])
    assert done.exit_code == 0, done.output
    for words in ("model.dim", "32", "64", "no difference", "ndcg@10", str(page)):
        assert words in done.output
    assert "recall@10" not in done.output
    html = page.read_text(encoding="utf-8")
    assert html.count("<svg") == 2, "measures and curves"
    assert "model.dim" in html


def test_other_questions_do_not_compare_and_it_is_said_which(runs: tuple[Path, Path], tmp_path: Path):
    other = changed(tmp_path, "other", candidates="shown", users=3, split={"type": "time", "facts": {"cut": 5}})
    with pytest.raises(GenreError) as caught:
        Comparison([runs[0], other])
    for words in (
        "candidates: all_unseen in a, shown in other",
        "users: ",
        "split.facts.cut: nothing in a, 5 in other",
    ):
        assert words in str(caught.value)
    assert "data_hash" not in str(caught.value)


def test_other_seeds_compare(runs: tuple[Path, Path], tmp_path: Path):
    other = changed(tmp_path, "seeds", seeds=[8])
    assert Comparison([runs[0], other]).names == ["a", "seeds"]


def test_what_is_no_run_or_not_evaluated_is_said(runs: tuple[Path, Path], tmp_path: Path):
    bare = tmp_path / "bare"
    shutil.copytree(runs[0], bare, ignore=shutil.ignore_patterns("evaluate"))
    for folder, words in ((tmp_path / "nothing", "not a run folder"), (bare, "genre evaluate")):
        done = CliRunner().invoke(commands, ["compare", str(runs[0]), str(folder)])
        assert done.exit_code == 1
        assert words in done.output
    assert CliRunner().invoke(commands, ["compare", str(runs[0])]).exit_code == 2
    odd = CliRunner().invoke(commands, ["compare", *map(str, runs), "--metric", "nonsense"])
    assert "no measure 'nonsense'" in odd.output
