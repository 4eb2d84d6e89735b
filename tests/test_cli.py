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
from typing import Any

import pytest
from click.testing import CliRunner, Result

from finished import finished, finished_pairs, finished_texts
from genre.cli import STAGES, commands
from toyworld import circle, reviews, tiny_backbone


def invoke(*arguments: str) -> Result:
    """Call a command in this process."""
    return CliRunner().invoke(commands, arguments)


def write_csv(path: Path, table: Any) -> None:
    """A table as CSV; lists with blanks between their words."""
    rows = table.drop_columns([name for name in ("file", "line") if name in table.column_names]).to_pylist()
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        for row in rows:
            writer.writerow({name: " ".join(one) if isinstance(one, list) else one for name, one in row.items()})


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory):
    """A working directory with a log, a configuration and its finished run; and what the run printed."""
    place = tmp_path_factory.mktemp("shop")
    reading = circle()
    write_csv(place / "interactions.csv", reading.interactions)
    write_csv(place / "items.csv", reading.items)
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


TEXTS = """\
name: texts
data:
  reader: {type: table, interactions: reviews.csv, items: things.csv}
  split: {type: random, per: log, valid: 0.2, test: 0.2}
model:
  formulation: text
  backbone: BACKBONE
  adapter: full
  template: "{text}"
  max_tokens: 16
  dim: 32
  heads:
    stars: regression
    recommended: {type: binary, label: recommended}
    colour: {type: multiclass, label: colour}
    names: {type: token, label: names}
train:
  warmup_epochs: 4
  epochs: 4
  batch_size: 16
  lr: {backbone: 5e-3, rest: 1e-2, rest_finetune: 5e-3}
  early_stopping: {metric: stars.rmse}
evaluate: {bootstrap: 50}
"""


@pytest.fixture(scope="module")
def texts(shop: tuple[Path, Result]) -> Result:
    """What a run of a model of texts printed; its folder is runs/texts."""
    place, reading = shop[0], reviews()
    write_csv(place / "reviews.csv", reading.interactions)
    write_csv(place / "things.csv", reading.items)
    backbone = json.dumps({"type": "huggingface", "path": str(place / "backbone")})
    (place / "texts.yaml").write_text(TEXTS.replace("BACKBONE", backbone), encoding="utf-8")
    return invoke("run", "texts.yaml")


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


def test_a_run_of_texts_ends_with_what_was_gained(texts: Result):
    result = texts
    assert result.exit_code == 0, result.output
    assert "rank" not in result.output.split()
    for word in ("stars.rmse", "colour.accuracy", "names.entity_f1", "tfidf"):
        assert word in result.output
    assert re.search(
        r"^stars.rmse: (better|worse|no difference shown) t\w+ before fine-tuning, [-+]", result.output, re.M
    )
    assert re.search(r"^stars.rmse: .* TF-IDF, [-+]", result.output, re.M)
    assert result.output.rstrip().endswith("report.html")


def test_predict_answers_by_every_head(texts: Result, tmp_path: Path):
    table = invoke("predict", "runs/texts", "--text", "word1 greycup", "--text", "word2 redpen")
    assert table.exit_code == 0, table.output
    assert "greycup [thing]" in table.output
    assert re.search(r"stars +recommended +colour +names", table.output)
    file = tmp_path / "f.jsonl"
    file.write_text('"word1 greycup"\n\n{"text": "word2 redpen"}\n', encoding="utf-8")
    done = invoke("predict", "runs/texts", "--file", str(file), "--json")
    grey, red = (json.loads(line) for line in done.stdout.splitlines())
    assert grey["text"] == "word1 greycup"
    assert grey["heads"]["stars"] > red["heads"]["stars"] + 1
    assert grey["heads"]["recommended"] > 0.5 > red["heads"]["recommended"]
    assert max(red["heads"]["colour"], key=red["heads"]["colour"].get) == "red"
    assert sum(red["heads"]["colour"].values()) == pytest.approx(1, abs=1e-3)
    assert red["heads"]["names"] == [{"start": 6, "end": 12, "label": "thing", "text": "redpen"}]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("word1", "f.jsonl:1: not JSON"),
        ("[1]", "f.jsonl:1: write a text in quotes, or its columns"),
        ('{"title": "x"}', "text 1 has nothing for text, which model.template names"),
        (None, "f.jsonl: cannot be read"),
    ],
)
def test_predict_says_what_is_wrong_with_a_file(texts: Result, tmp_path: Path, line: str | None, message: str):
    if line:
        (tmp_path / "f.jsonl").write_text(line, encoding="utf-8")
    result = invoke("predict", "runs/texts", "--file", str(tmp_path / "f.jsonl"))
    assert result.exit_code == 1
    assert message in result.stderr


def test_predict_wants_a_text_and_a_model_of_texts(texts: Result):
    result = invoke("predict", "runs/texts")
    assert (result.exit_code, "say about what: --text or --file" in result.stderr) == (2, True)
    result = invoke("predict", str(finished_pairs().folder), "--text", "redcup")
    assert result.exit_code == 1
    assert "ask it with 'genre recommend" in result.stderr


def test_a_model_of_texts_recommends_nothing_and_says_so(texts: Result):
    result = invoke("recommend", "runs/texts", "--user", "u1")
    assert result.exit_code == 1
    assert "recommends nothing; ask it with 'genre predict" in result.stderr


def test_text_show_of_rows(texts: Result):
    result = invoke("text", "show", "runs/texts", "--n", "3", "--part", "valid")
    assert result.exit_code == 0, result.output
    assert "text: a text is of a row of the interactions, written by '{text}'" in result.output
    assert "48 of valid: 4 tokens in the median" in result.output
    shown = re.findall(
        r"word\d (red|green|blue|grey)(\w+)\n.*\n   stars: (\d)\n.*\n   colour: (\w+)\n   names: (\S+)", result.output
    )
    assert len(shown) == 3
    for colour, thing, stars, said, place in shown:
        assert {"red": "1", "green": "2", "blue": "4", "grey": "5"}[colour] == stars
        assert (said, place) == (colour, colour + thing)


CROSS = [
    "name=pairs",
    "model.heads={chosen: {type: binary, label: chosen}}",
    "model.formulation={type: cross, negatives: 2, pool: 10, prompt: '{history:8} [SEP] {item}'}",
    "train.early_stopping.metric=chosen.grouped_auc",
    "pipeline.sources=[popular]",
    "model.max_tokens=32",
]


def test_text_show_of_pairs(shop: tuple[Path, Result]):
    pairs = invoke("text", "show", "c.yaml", *CROSS, "--n", "3")
    assert pairs.exit_code == 0, pairs.output
    assert "cross: a text is of a history and an item, written by '{history:8} [SEP] {item}'" in pairs.output
    assert "(drawn: not chosen)" in pairs.output
    assert re.search(r"dropped: the \d+ oldest items of the history", pairs.output)
    assert "chosen: 1" in pairs.output


def test_text_show_of_items(shop: tuple[Path, Result]):
    settings = ["name=items", "model.max_tokens=4", "model.template='{title} {title}'"]
    items = invoke("text", "show", "c.yaml", *settings, "--n", "2")
    assert items.exit_code == 0, items.output
    assert "two_tower: a text is of an item" in items.output
    assert "100.0% are cut at model.max_tokens, 4" in items.output
    assert re.search(r"4 tokens of at most 4\n   cut: \w+ word\d+", items.output)


def test_merge_writes_a_language_model_that_reads_alike(tmp_path: Path):
    from transformers import AutoModel

    run = finished_texts()
    result = invoke("merge", str(run.folder), str(tmp_path / "merged"))
    assert result.exit_code == 0, result.output
    assert f"backbone: {{type: huggingface, path: {tmp_path / 'merged'}}}" in result.output
    merged = AutoModel.from_pretrained(tmp_path / "merged").state_dict()
    from safetensors.torch import load_file

    tuned = load_file(run.path("model") / "finetuned" / "text.safetensors")
    before = load_file(run.path("model") / "before" / "text.safetensors")
    name = "layers.0.attention.self.query.weight"
    assert not tuned[f"stack.{name}"].equal(before[f"stack.{name}"])
    assert merged[f"encoder.layer.{name.removeprefix('layers.')}"].equal(tuned[f"stack.{name}"])
    again = invoke("merge", str(run.folder), str(tmp_path / "merged"))
    assert again.exit_code == 1
    assert "is there already and not empty; name another folder" in again.stderr


def test_merge_folds_lora_in(shop: tuple[Path, Result], tmp_path: Path):
    result = invoke("merge", str(finished().folder), str(tmp_path / "merged"))
    assert result.exit_code == 0, result.output
    assert (
        invoke("check", "c.yaml", f"model.backbone={{type: huggingface, path: {tmp_path / 'merged'}}}").exit_code == 0
    )


def test_data_get_names_what_there_is():
    assert "movielens-100k" in invoke("data", "get").output.splitlines()
    result = invoke("data", "get", "movilens-100k")
    assert result.exit_code == 1
    assert "did you mean 'movielens-100k'?" in result.stderr


def test_list():
    kinds = invoke("list")
    assert "frozen, full, ia3, lora, prefix, prompt, side, top_layers\n" in kinds.output
    assert "ease(top_k, reg, most_items, neighbours)" in invoke("list", "sources").output
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
    return [[], *([name] for name in commands.commands), ["data", "get"], ["data", "show"], ["text", "show"]]


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
    import genre.commands.display

    def interrupted(*arguments: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(genre.commands.display, "listing", interrupted)
    result = invoke("list")
    assert result.exit_code == 130
    assert "the same command goes on" in result.stderr
