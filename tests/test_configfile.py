"""Reading a configuration: what is taken, and how every mistake is told."""
# ruff: noqa: E501  # a case and its message are one row

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genre.component import describe, name_of
from genre.configfile import load, schema
from genre.errors import ConfigError
from genre.yamlfile import Document, dotted, parse_path

MINIMAL = "data: {reader: movielens}\n"


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Write ``c.yaml`` into the working directory, so that messages name it shortly."""
    monkeypatch.chdir(tmp_path)

    def do(text: str) -> Path:
        Path("c.yaml").write_text(text, encoding="utf-8")
        return Path("c.yaml")

    return do


@pytest.fixture
def problems(write):
    """The problems of a text with overrides."""

    def do(text: str, *overrides: str) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            load(write(text), overrides)
        return caught.value.problems

    return do


def test_seven_mistakes_are_told_at_once_with_line_and_mend(problems):
    text = """\
data: {reader: movielens}
model:
  adapter: {type: lora, rank: 8}
  heads:
    next: next_item
    click: {type: binnary}
trian: {epochs: 3}
train:
  lr: {rest: -1}
pipeline:
  sources:
    - {type: ease, topk: 300}
    - {type: ease, reg: many}
  kk: 3
"""
    assert problems(text) == [
        "c.yaml:3: model.adapter.rank: unknown key; known: r, alpha, dropout, layers, targets",
        "c.yaml:6: model.heads.click: no heads named 'binnary'; did you mean 'binary'?",
        "c.yaml:7: trian: unknown key; did you mean 'train'?",
        "c.yaml:9: train.lr.rest: should be greater than 0, not -1",
        "c.yaml:12: pipeline.sources[0].topk: unknown key; did you mean 'top_k'?",
        "c.yaml:13: pipeline.sources[1].reg: should be a valid number, not 'many'",
        "c.yaml:14: pipeline.kk: unknown key; known: sources, filters, features, scorer, index, rerank, rerankers",
    ]


def test_contradictions_are_told_in_the_same_list_as_wrong_values(problems):
    text = MINIMAL + "train: {lr: {rest: -1}, early_stopping: {metric: stars.rmse}}\n"
    assert problems(text) == [
        "c.yaml:2: train.lr.rest: should be greater than 0, not -1",
        "c.yaml:2: train.early_stopping.metric: no head named 'stars'; known: next",
    ]


def test_a_check_that_reads_a_wrong_setting_stays_silent(problems):
    text = MINIMAL + "model: {heads: {stars: {type: regresion}}}\ntrain: {early_stopping: {metric: stars.rmse}}\n"
    assert problems(text) == ["c.yaml:2: model.heads.stars: no heads named 'regresion'; did you mean 'regression'?"]


def test_contradictions_are_found_beside_a_broken_reader(problems):
    found = problems("data: {reader: moovielens}\nmodel: {text: false, ids: false}\n")
    assert found[0] == "c.yaml:1: data.reader: no datasets named 'moovielens'; did you mean 'movielens'?"
    assert "leaves nothing to make item vectors of" in found[1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "c.yaml:1: the file is empty; it needs at least data.reader"),
        ("# nothing\n", "c.yaml:1: the file is empty; it needs at least data.reader"),
        ("- 1\n", "c.yaml:1: expected sections such as data: and model:, got [1]"),
        ("data: {reader: movielens}\nmodel: [\n", "c.yaml:3: not YAML: while parsing a flow node expected"),
        ("data:\n\treader: x\n", "c.yaml:2: not YAML: while scanning for the next token found character '\\t'"),
        ("data: &d {reader: *d}\n", "c.yaml:1: not YAML: a value contains itself"),
        ("data: !!python/object:os.system x\n", "c.yaml:1: not YAML: could not determine a constructor"),
        (MINIMAL + "seed: 1\nseed: 2\n", "c.yaml:3: seed: given twice, first in line 2"),
        (MINIMAL + "model: {dim: 8, dim: 9}\n", "c.yaml:2: model.dim: given twice, first in line 2"),
        (MINIMAL + "1: 2\n", "c.yaml:2: key 1 is not a word; put it in quotes if it is meant to be one"),
        ("seed: 3\n", "c.yaml:1: data: is missing; it has no default"),
        ("data: {}\n", "c.yaml:1: data.reader: is missing; it has no default"),
        (MINIMAL + "model:\n", "c.yaml:2: model: should be keys with values (formulation, backbone"),
        (MINIMAL + "pipeline: {filters: seen}\n", "c.yaml:2: pipeline.filters: should be a valid list, not 'seen'"),
        (MINIMAL + "model: {adapter: 3}\n", "c.yaml:2: model.adapter: expected a name or a mapping with 'type', got 3"),
        (MINIMAL + "model: {adapter: {r: 3}}\n", "c.yaml:2: model.adapter: needs 'type', one of: adalora"),
        (MINIMAL + "model: {adapter: no.such:X}\n", "c.yaml:2: model.adapter: 'no.such:X': cannot import no.such"),
        (MINIMAL + "model: {adapter: json:dumps}\n", "c.yaml:2: model.adapter: 'json:dumps' is not a component"),
        (
            MINIMAL + "name: yes\n",
            "c.yaml:2: name: should be a valid string, not True; YAML reads yes, no, on and off as true",
        ),
        (MINIMAL + "name: a/b\n", "c.yaml:2: name: String should match pattern"),
    ],
)
def test_message(problems, text: str, message: str):
    assert problems(text)[0].startswith(message)


def test_numbers_with_an_exponent_are_numbers(write):
    assert load(write(MINIMAL + "train: {lr: {rest: 2e-4}}\n")).train.lr.rest == 2e-4


def test_a_bare_name_stands_for_a_component(write):
    config = load(write(MINIMAL + "model: {adapter: frozen}\nevaluate: {metrics: [ndcg@3, auc]}\n"))
    assert name_of(config.model.adapter) == "frozen"
    assert describe(config.evaluate.metrics[0]) == {"type": "ndcg", "k": [3]}


def test_merge_keys_and_anchors_work(write):
    text = "data: {reader: movielens}\nmodel:\n  heads:\n    next: next_item\n    a: &a {type: binary, weight: 2}\n    b: {<<: *a, weight: 3}\n"
    heads = load(write(text)).model.heads
    assert (heads["a"].weight, heads["b"].weight) == (2, 3)


def test_overrides(write):
    overrides = [
        "train.epochs=3",
        "model.adapter.r=4",
        "pipeline.sources[1].top_k=7",
        "evaluate.metrics[1].k=[3]",
        "model.heads.next.weight=0.5",
        "train.lr.rest=1e-3",
        "name=other",
    ]
    config = load(write(MINIMAL), overrides)
    assert (config.train.epochs, config.train.lr.rest, config.name) == (3, 1e-3, "other")
    assert describe(config.model.adapter)["r"] == 4
    assert describe(config.pipeline.sources[1])["top_k"] == 7
    assert describe(config.evaluate.metrics[1]) == {"type": "ndcg", "k": [3]}
    assert config.model.heads["next"].weight == 0.5


def test_an_override_of_a_named_component_keeps_its_type(write):
    text = MINIMAL + "model: {adapter: top_layers}\nevaluate: {metrics: [ndcg@10]}\n"
    config = load(write(text), ["model.adapter.layers=3", "evaluate.metrics[0].k=[5, 6]"])
    assert describe(config.model.adapter) == {"type": "top_layers", "layers": 3, "decay": 1.0, "unfreeze": 0.0}
    assert describe(config.evaluate.metrics[0]) == {"type": "ndcg", "k": [5, 6]}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.epoch=3", "override train.epoch: unknown key; did you mean 'epochs'?"),
        ("modl.x=1", "override modl.x: modl: unknown key; did you mean 'model'?"),
        ("train.epochs=-1", "override train.epochs: should be greater than or equal to 0, not -1"),
        ("model.adapter.rank=3", "override model.adapter.rank: unknown key; known: r, alpha, dropout, layers, targets"),
        ("train.epochs", "override 'train.epochs': write it as path=value, as in train.epochs=3"),
        ("=3", "override '=3': write it as path=value, as in train.epochs=3"),
        ("a..b=3", "override 'a..b=3': write it as path=value, as in train.epochs=3"),
        ("seed=[", "override seed: '[' is not YAML"),
        ("pipeline.sources[9].top_k=1", "override pipeline.sources[9].top_k: pipeline.sources has 2 entries, counted from 0"),
        ("pipeline.sources.top_k=1", "override pipeline.sources.top_k: pipeline.sources is a list; say which, as in pipeline.sources[0]"),
        ("seed.x=1", "override seed.x: seed has nothing inside to set by x"),
        ("model.ids=false", "c.yaml:3: model.text: model.text and model.ids are both false"),
    ],
)  # fmt: skip
def test_override_message(problems, override: str, message: str):
    assert problems(MINIMAL + "seed: 3\nmodel: {text: false}\n", override)[0].startswith(message)


def test_what_cannot_be_read_is_told(write, tmp_path: Path):
    for name, content, message in (
        ("nope.yaml", None, "nope.yaml: cannot be read (No such file or directory)"),
        ("latin.yaml", "name: café".encode("latin-1"), "latin.yaml: not UTF-8 at byte 9; save the file as UTF-8"),
    ):
        if content is not None:
            Path(name).write_bytes(content)
        with pytest.raises(ConfigError, match=re.escape(message)):
            load(tmp_path / name if content is None else name)


def test_a_component_of_the_users_own(write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    Path("mine.py").write_text(
        "from genre.component import component\n"
        "@component\nclass Mine:\n    '''Mine.'''\n    top_k: int = 3\n    '''How many.'''\n",
        encoding="utf-8",
    )
    config = load(write(MINIMAL + "pipeline: {sources: [{type: 'mine:Mine', top_k: 5}, popular]}\n"))
    assert describe(config.pipeline.sources[0]) == {"type": "mine:Mine", "top_k": 5}
    with pytest.raises(
        ConfigError, match=r"c\.yaml:2: pipeline\.sources\[0\]\.topk: unknown key; did you mean 'top_k'\?"
    ):
        load(write(MINIMAL + "pipeline: {sources: [{type: 'mine:Mine', topk: 5}]}\n"))


def references(node: Any) -> set[str]:
    """Every ``$ref`` of a schema."""
    if isinstance(node, list):
        return set().union(*map(references, node), set())
    if not isinstance(node, dict):
        return set()
    own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
    return own | set().union(*map(references, node.values()), set())


def test_schema_is_whole():
    made = json.loads(json.dumps(schema()))
    assert made["$schema"].endswith("2020-12/schema")
    assert {ref.removeprefix("#/$defs/") for ref in references(made)} <= set(made["$defs"])
    assert json.dumps(made).count('"$defs"') == 1
    adapters = made["$defs"]["ModelSection"]["properties"]["adapter"]["anyOf"]
    lora = next(one for one in adapters if one.get("title") == "lora")
    assert lora["properties"]["r"]["exclusiveMinimum"] == 0
    assert lora["properties"]["r"]["description"].startswith("Rank of the change")
    assert not lora["additionalProperties"]
    assert "lora" in adapters[0]["enum"]


def test_checking_imports_no_torch(write):
    write(MINIMAL)
    code = "import sys; from genre.configfile import load; load('c.yaml'); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


WORD = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)


@given(st.lists(WORD | st.integers(0, 99), min_size=1, max_size=6).filter(lambda steps: isinstance(steps[0], str)))
def test_a_path_reads_as_it_is_written(steps: list[str | int]):
    assert parse_path(dotted(tuple(steps))) == tuple(steps)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["data", "model", "train", "pipeline", "evaluate", "seed"]), PLAIN))
def test_no_value_brings_a_traceback(tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any]):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert all(problem.startswith(f"{path}:") for problem in caught.value.problems)


@given(st.binary(max_size=80))
def test_no_file_brings_a_traceback(tmp_path_factory: pytest.TempPathFactory, content: bytes):
    path = tmp_path_factory.getbasetemp() / "bytes.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError):
        load(path)


def test_places_are_lines_of_the_file(write):
    document = Document.read(write("a:\n  b:\n    - 1\n    - c: 2\n"))
    assert document.values == {"a": {"b": [1, {"c": 2}]}}
    assert document.place(("a", "b", 1, "c")) == "c.yaml:4"
    assert document.place(("a", "b", 1, "d")) == "c.yaml:4"
    assert document.place(("z",)) == "c.yaml:1"
