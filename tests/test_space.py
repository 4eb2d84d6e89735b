"""Spaces in a configuration: what they span, how they are drawn, and what is said of mistakes in them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from genre.cli import commands
from genre.configfile import load, read_space
from genre.errors import ConfigError
from genre.space import Choice, Interval, Space, first_of, space_of
from genre.yamlfile import Document

TEXT = """\
data: {reader: movielens}
model:
  ids: {search: [true, false]}
  dim: {search: [16, 64], default: 64}
  dropout: {search: [0.0, 0.4], step: 0.1}
  adapter:
    search:
      - {type: lora, r: {search: [2, 32], scale: log}}
      - frozen
      - {type: lora, r: 2, layers: {search: [1, 2]}}
train:
  lr: {backbone: {search: [1e-5, 1e-2], scale: log}, rest: {search: [0.1, 0.2], scale: linear}}
pipeline:
  sources: {search: [[model, popular], [{type: ease, reg: {search: [1.0, 500.0], scale: log}}]]}
"""


def written(folder: Path, text: str = TEXT) -> Path:
    path = folder / "c.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_what_a_file_leaves_open(tmp_path: Path):
    found = read_space(written(tmp_path))
    named = found.space.named
    assert list(named) == [
        "model.ids",
        "model.dim",
        "model.dropout",
        "model.adapter",
        "model.adapter(lora).r",
        "model.adapter(lora#2).layers",
        "train.lr.backbone",
        "train.lr.rest",
        "pipeline.sources",
        "pipeline.sources([ease])[0].reg",
    ]
    assert named["model.adapter(lora).r"].needs == (("model.adapter", "lora"),)
    assert math.isinf(found.space.count())


def test_the_first_values_are_those_said_then_those_shipped_then_the_middle(tmp_path: Path):
    found = read_space(written(tmp_path))
    first = {name: first_of(one) for name, one in found.space.named.items()}
    assert first["model.dim"] == "64", "said"
    assert first["model.ids"] == "true", "the first choice"
    assert first["model.adapter(lora).r"] == 8, "what the package ships"
    assert first["train.lr.backbone"] == 1e-3, "what the package ships"
    assert first["train.lr.rest"] == pytest.approx(0.15), "what it ships is not inside"
    assert found.config.model.dim == 64
    assert found.config.train.lr.backbone == 1e-3
    assert load(written(tmp_path)) == found.config, "a run takes the first values"


def test_overrides_close_and_open_what_a_file_says(tmp_path: Path):
    path = written(tmp_path)
    closed = read_space(path, ["model.dim=32", "train.lr.rest=0.5"])
    assert "model.dim" not in closed.space.named
    assert closed.config.model.dim == 32
    opened = read_space(path, ["model.max_history={search: [10, 20]}"])
    assert opened.space.named["model.max_history"].words() == "10, 20"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("[0.0, 0.4], step: 0.1->[0.0, 1.4], step: 0.1", "c.yaml:5: model.dropout: should be less than 1, not 1.4"),
        ("- frozen->- frosen", "c.yaml:9: model.adapter: no adapters named 'frosen'; did you mean 'frozen'?"),
        ("[2, 32], scale: log->[0, 32], scale: log", "c.yaml:8: model.adapter: scale: log needs numbers above 0"),
        ("[2, 32], scale: log->[-3, 32], step: 1", "c.yaml:8: model.adapter.r: should be greater than 0, not -3"),
        ("[1, 2]}}->[1, x]}}", "c.yaml:10: model.adapter.layers: should be a valid integer, not 'x'"),
        ("[1e-5, 1e-2]->[1e-2, 1e-5]", "put the smaller number first"),
        ("[1e-5, 1e-2]->[1e-5, 1e-4, 1e-2]", "an interval is two numbers"),
        ("[1e-5, 1e-2], scale: log->[1e-5, 1e-2], scale: loud", "scale should be log or linear, not 'loud'"),
        ("step: 0.1->step: 3", "step should be a number above 0 and at most 0.4, not 3"),
        ("default: 64->default: 65", "default 65 is none of the choices: 16, 64"),
        ("default: 64->defalt: 64", "unknown key 'defalt' beside search"),
        ("search: [true, false]->search: [true]", "needs a list of two values or more"),
        ("search: [true, false]->search: [true, true]", "two choices of search are equal"),
        ("reader: movielens->reader: {search: [movielens, citeulike]}", "c.yaml:1: data.reader: cannot be searched"),
        ("reg: {search: [1.0, 500.0]->reg: {search: [-1.0, 500.0]", "scale: log needs numbers above 0"),
    ],
)
def test_mistakes_are_told_with_their_place(change: str, expected: str, tmp_path: Path):
    old, _, new = change.partition("->")
    assert old in TEXT
    with pytest.raises(ConfigError) as caught:
        read_space(written(tmp_path, TEXT.replace(old, new)))
    assert expected.replace("model.adapter: scale", "model.adapter.search[0].r: scale") in str(caught.value)
    assert len(caught.value.problems) == 1, caught.value.problems


def test_choices_that_contradict_the_rest_are_told(tmp_path: Path):
    text = "data: {reader: movielens}\ntrain: {early_stopping: {metric: {search: [ndcg@10, stars.rmse]}}}\n"
    with pytest.raises(ConfigError, match=r"c.yaml:2: train.early_stopping.metric: no head named 'stars'"):
        read_space(written(tmp_path, text))


def test_check_and_search_say_what_there_is(tmp_path: Path):
    path = written(tmp_path, TEXT.replace("dropout: {search: [0.0, 0.4]", "dropout: {search: [0.0, 1.4]"))
    done = CliRunner().invoke(commands, ["check", str(path)])
    assert done.exit_code == 1
    assert "c.yaml:5: model.dropout" in done.output
    path = written(tmp_path, "data: {reader: movielens}\n")
    done = CliRunner().invoke(commands, ["search", str(path)])
    assert done.exit_code == 1
    assert "nothing is searched" in done.output


def test_a_grid_combines_what_some_choices_have_with_these_alone():
    values = {"model": {"a": {"search": [{"type": "x", "r": {"search": [1, 2]}}, "y"]}, "b": {"search": [True, False]}}}
    space = space_of(Document("f", values))
    points = list(space.grid())
    assert len(points) == space.count() == 6
    assert sum("model.a(x).r" in point for point in points) == 4
    assert len({str(sorted(point.items())) for point in points}) == 6


# Open input: whatever is nested in whatever.

numbers = st.integers(-50, 50) | st.floats(-50, 50, allow_nan=False).map(lambda x: round(x, 3))
leaves = st.booleans() | numbers | st.sampled_from(["lora", "frozen", "x"])


def choices(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inner, min_size=2, max_size=3).map(lambda options: {"search": options})


intervals = st.tuples(st.floats(0.001, 1), st.floats(2, 100), st.sampled_from(["log", "linear"])).map(
    lambda one: {"search": [one[0], one[1]], "scale": one[2]}
)
ladders = st.tuples(st.integers(-9, 9), st.integers(1, 9)).map(
    lambda one: {"search": [one[0], one[0] + 3 * one[1]], "step": one[1]}
)
trees = st.recursive(
    leaves | intervals | ladders,
    lambda inner: (
        choices(inner) | st.dictionaries(st.sampled_from("abc"), inner, max_size=2) | st.lists(inner, max_size=2)
    ),
    max_leaves=12,
)


def spanned(tree: Any) -> tuple[Space, list[str]]:
    document = Document("f", {"model": {"t": tree}})
    return space_of(document), document.problems


@given(trees, st.randoms(use_true_random=False))
def test_every_drawing_is_free_of_searches_and_comes_back_from_what_was_chosen(tree: Any, random: Any):
    space, problems = spanned(tree)

    def ask(one: Interval | Choice) -> Any:
        return random.choice(one.points())

    drawn = space.draw(ask)
    assert "search" not in yaml.safe_dump(drawn.values)
    assert space.of(drawn.chosen).values == drawn.values
    assert set(drawn.chosen) <= set(space.named)
    named = space.named
    for name, value in drawn.chosen.items():
        one = named[name]
        assert one.holds(value) if isinstance(one, Interval) else value in one.labels
        assert all(drawn.chosen[parent] == label for parent, label in one.needs)
    assert problems or len(space.named) == len(space.parameters), "no two parameters are called the same"


@given(trees)
def test_all_choices_and_ends_occur_among_the_variants_and_a_grid_has_as_many_points_as_it_says(tree: Any):
    space, _ = spanned(tree)
    met: dict[str, set[Any]] = {}
    for drawn in space.variants():
        for name, value in drawn.chosen.items():
            met.setdefault(name, set()).add(value)
    for name, one in space.named.items():
        assert set(one.ends()) <= met[name]
    if space.count() <= 500:
        points = [tuple(sorted(point.items())) for point in space.grid()]
        assert len(points) == len(set(points)) == space.count()
