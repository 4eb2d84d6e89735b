"""A prompt that tells apart what a person liked and disliked: order, budgets, and what has no amount."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genre.data import Histories
from genre.prompts import Prompt, Writer
from genre.textencoder import load
from toyworld import circle, dataset, text_config, tiny_backbone

BOTH = "{liked} yes {disliked} no {item}"


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    return tiny_backbone(tmp_path_factory.mktemp("bert"))


def writer(backbone: dict[str, Any], prompt: str, tokens: int = 64, **formulation: Any) -> Writer:
    """Titles are two tokens each, and of word0 to word19."""
    form = {"type": "cross", "prompt": prompt, **formulation}
    heads = {"like": "binary"}
    stop = {"early_stopping": {"metric": "like.label_auc"}}
    model = {"formulation": form, "template": "{title}", "max_tokens": tokens, "heads": heads}
    section = text_config(backbone, model=model, train=stop).model
    return Writer(section, load(section.backbone), dataset(circle()))


def written(made: Writer, items: list[int], values: list[float], item: int = 19) -> Prompt:
    history = Histories.of_items([items])
    history = Histories(history.offsets, history.item, np.array(values, np.float32), history.action, history.texts)
    return made.pairs(history, np.zeros(1, dtype=int), np.array([item], dtype=np.int32))[0]


def films(made: Writer, text: str) -> list[int]:
    """Rows of the items of a piece of a prompt, in order."""
    known = {title: row for row, title in enumerate(made.data.items["title"].to_pylist())}
    return [known[one] for one in re.findall(r"\w+ word\d+", text)]


def places(made: Writer, prompt: Prompt) -> tuple[list[int], list[int]]:
    liked, rest = prompt.text.split("yes")
    return films(made, liked), films(made, rest.split(" no ")[0])


def test_what_was_liked_and_disliked_stands_in_its_place_oldest_first(backbone):
    made = writer(backbone, BOTH)
    prompt = written(made, [3, 1, 4, 15, 9], [5, 1, 4, 2, 5])
    assert places(made, prompt) == ([3, 4, 9], [1, 15])
    assert films(made, prompt.text.split(" no ")[1]) == [19]
    assert prompt.dropped == 0
    strict = writer(backbone, BOTH, liked="value >= 5")
    assert places(strict, written(strict, [3, 1, 4], [5, 1, 4])) == ([3], [1, 4])


def test_an_event_without_an_amount_was_chosen_and_counts_as_liked(backbone):
    made = writer(backbone, BOTH)
    assert places(made, written(made, [3, 1, 4], [np.nan, 1, np.nan])) == ([3, 4], [1])


def test_a_prompt_with_one_place_reads_nothing_of_the_other(backbone):
    made = writer(backbone, "{liked} yes {item}")
    prompt = written(made, [3, 1, 4], [5, 1, 4])
    assert films(made, prompt.text) == [3, 4, 19]
    assert prompt.dropped == 0


def test_a_place_whose_budget_is_used_up_leaves_room_to_the_other(backbone):
    made = writer(backbone, "{liked:10} yes {disliked} no {item}")
    values = [5.0, 1, 5, 1, 5, 1, 5, 1, 5, 1]
    prompt = written(made, list(range(10)), values)
    liked, disliked = places(made, prompt)
    assert liked == [6, 8], "two titles and what joins them"
    assert disliked == [1, 3, 5, 7, 9]
    assert prompt.dropped == 3


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 19), st.sampled_from([1.0, 5.0, float("nan")])), max_size=25), st.integers(12, 48)
)
def test_within_any_budget_the_latest_are_kept_and_all_are_accounted_for(backbone, events, tokens):
    made = writer(backbone, BOTH, tokens)
    items, values = [item for item, _ in events], [value for _, value in events]
    prompt = written(made, items, values)
    liked, disliked = places(made, prompt)
    kept = len(liked) + len(disliked)
    assert len(prompt.tokens) <= tokens
    assert kept + prompt.dropped == len(events)
    latest = list(zip(items, values, strict=True))[len(events) - kept :]
    assert liked == [item for item, value in latest if value != 1]
    assert disliked == [item for item, value in latest if value == 1]
    assert films(made, prompt.text)[-1] == 19


def test_a_plain_history_is_written_as_before(backbone):
    made = writer(backbone, "{history} [SEP] {item}")
    assert films(made, written(made, [3, 1, 4], [5, 1, np.nan]).text) == [3, 1, 4, 19]
