"""The command line, as it is typed: a whole run on a small log, and what goes wrong."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from genre.cli import STAGES, commands
from toyworld import circle, tiny_backbone


def invoke(*arguments: str) -> Result:
    """Call a command in this process."""
    return CliRunner().invoke(commands, arguments)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory):
    """A working directory with a log, a configuration and its finished run; and what the run printed."""
    place = tmp_path_factory.mktemp("shop")
    reading = circle()
    for name, table in (("interactions", reading.interactions), ("items", reading.items)):
        rows = table.drop_columns(["file", "line"] if name == "interactions" else []).to_pylist()
        with (place / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    backbone = tiny_backbone(place / "backbone")
    text = f"""\
name: toy
data: {{reader: {{type: table, interactions: interactions.csv, items: items.csv}}}}
model:
  backbone: {json.dumps(backbone)}
  dim: 16
  max_history: 8
  adapter: {{type: lora, layers: 1, r: 2}}
  heads: {{next: next_item, stars: regression, liked: binary}}
train: {{warmup_epochs: 2, epochs: 1, batch_size: 16}}
pipeline: {{sources: [model, transitions, popular]}}
evaluate: {{baselines: [popular, transitions], bootstrap: 50}}
"""
    (place / "c.yaml").write_text(text, encoding="utf-8")
    before = Path.cwd()
    os.chdir(place)
    yield place, invoke("run", "c.yaml")
    os.chdir(before)


def test_run_does_every_stage_and_ends_with_tables_and_paths(shop: tuple[Path, Result]):
    result = shop[1]
    assert result.exit_code == 0, result.output
    for stage, folder in STAGES.items():
        assert re.search(rf"^{stage}$", result.output, re.MULTILINE)
        assert f"-> runs/toy/{folder}" in result.output
    assert "ndcg@10" in result.output
    assert "stars.rmse" in result.output
    assert result.output.rstrip().endswith("runs/toy/report/report.html")


def test_a_second_run_does_nothing_again(shop: tuple[Path, Result]):
    result = invoke("run", "c.yaml")
    assert result.exit_code == 0, result.output
    assert result.output.count("already done") == len(STAGES)
    assert "ndcg@10" in result.output


def test_one_stage_of_a_run_folder(shop: tuple[Path, Result]):
    result = invoke("evaluate", "runs/toy")
    assert result.exit_code == 0, result.output
    assert "already done" in result.output
    refused = invoke("evaluate", "runs/toy", "seed=3")
    assert refused.exit_code == 2
    assert "runs/toy is a run, whose settings are fixed" in refused.output


def test_a_stage_before_its_time_says_what_to_do(shop: tuple[Path, Result]):
    result = invoke("train", "c.yaml", "name=early")
    assert result.exit_code == 1
    assert "genre prepare" in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)


def test_check_sums_up(shop: tuple[Path, Result]):
    result = invoke("check", "c.yaml", "model.text=false")
    assert result.exit_code == 0, result.output
    assert result.output.startswith("c.yaml: OK\n")
    assert "tasks next (next_item), stars (regression), liked (binary)" in result.output
    assert "note: model.adapter has no effect, as model.text is false" in result.output


def test_check_tells_mistakes_on_standard_error(shop: tuple[Path, Result]):
    result = invoke("check", "c.yaml", "model.dimm=3", "train.epochs=x")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "override model.dimm: unknown key; did you mean 'dim'?",
        "override train.epochs: should be a valid integer, not 'x'",
    ]


@pytest.mark.parametrize(
    ("arguments", "history"),
    [(["--user", "u3"], True), (["--history", "i1, i2,i3"], True), (["--text", "redcup word1"], False)],
)
def test_recommend(shop: tuple[Path, Result], arguments: list[str], history: bool):
    table = invoke("recommend", "runs/toy", *arguments, "--k", "4")
    assert table.exit_code == 0, table.output
    assert "title" in table.output
    assert "stars" in table.output
    plain = invoke("recommend", "runs/toy", *arguments, "--k", "4", "--json")
    slate = json.loads(plain.stdout)
    assert len(slate["items"]) == 4
    for item in slate["items"]:
        assert item["title"]
        assert item["item_id"] in table.output
        assert set(item["predictions"]) == {"next", "stars", "liked"}
        assert item["sources"]
    if history and "--history" in arguments:
        assert not {item["item_id"] for item in slate["items"]} & {"i1", "i2", "i3"}


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ([], 2, "say for whom: --user, --history or --text"),
        (["--user", "u1", "--history", "i1"], 2, "--user and --history exclude each other"),
        (["--user", "u999"], 1, "no user 'u999'"),
        (["--history", "i1,nope"], 1, "no item 'nope'"),
        (["--user", "u1", "--k", "0"], 2, "0 is not in the range"),
    ],
)
def test_recommend_says_what_is_wrong(shop: tuple[Path, Result], arguments: list[str], status: int, message: str):
    result = invoke("recommend", "runs/toy", *arguments)
    assert result.exit_code == status
    assert message in result.output


def test_recommend_from_nowhere(shop: tuple[Path, Result]):
    result = invoke("recommend", "runs/nowhere", "--user", "u1")
    assert result.exit_code == 1
    assert "runs/nowhere: not a run folder" in result.stderr


def test_data_show(shop: tuple[Path, Result]):
    result = invoke("data", "show", "runs/toy")
    assert result.exit_code == 0, result.output
    assert "60 users, 20 items, 720 interactions" in result.output


def test_data_get_names_what_there_is():
    assert invoke("data", "get").output == "movielens-100k\n"
    result = invoke("data", "get", "movilens-100k")
    assert result.exit_code == 1
    assert "did you mean 'movielens-100k'?" in result.stderr


def test_list():
    kinds = invoke("list")
    assert "frozen, full, ia3, lora, prefix, prompt, side, top_layers\n" in kinds.output
    assert "ease(top_k, reg)" in invoke("list", "sources").output
    one = invoke("list", "adapters", "lora").output
    assert "  r: whole number > 0 = 8\n      Rank of the change" in one
    assert "\x1b" not in one
    for arguments, message in (
        (["adapter"], "no kind named 'adapter'; did you mean 'adapters'?"),
        (["adapters", "lorra"], "no adapters named 'lorra'; did you mean 'lora'?"),
    ):
        result = invoke("list", *arguments)
        assert (result.exit_code, result.stderr) == (1, message + "\n")


def test_schema_is_json():
    assert json.loads(invoke("schema").output)["title"] == "GENRE configuration"


def every_command() -> list[list[str]]:
    return [[], *([name] for name in commands.commands), ["data", "get"], ["data", "show"]]


@pytest.mark.parametrize("command", every_command(), ids=" ".join)
def test_help_teaches_with_an_example(command: list[str]):
    result = invoke(*command, "--help")
    assert result.exit_code == 0
    assert re.search(rf"^ +genre {' '.join(command)}", result.output, re.MULTILINE), result.output
    assert "-h, --help" in result.output


def genre(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from genre.cli import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environment})


def test_help_is_instant():
    genre("--help")
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        assert genre("--help").returncode == 0
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 0.5


def test_a_mistake_is_text_without_a_traceback(tmp_path: Path):
    done = genre("run", str(tmp_path / "nope.yaml"))
    assert done.returncode == 1
    assert done.stderr == f"{tmp_path / 'nope.yaml'}: cannot be read (No such file or directory)\n"


@pytest.mark.parametrize("given", ["", "active"])
def test_waiting_threads_sleep_unless_told_otherwise(given: str):
    code = (
        "import os, sys; from genre.cli import main; sys.argv = ['genre', 'list']\n"
        "try: main()\nfinally: print(os.environ['OMP_WAIT_POLICY'])"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {"OMP_WAIT_POLICY": given} if given else {}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.splitlines()[-1] == (given or "passive")


def test_control_c_is_tidy(monkeypatch: pytest.MonkeyPatch):
    import genre.display

    def interrupted(*arguments: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(genre.display, "listing", interrupted)
    result = invoke("list")
    assert result.exit_code == 130
    assert "the same command goes on" in result.stderr
