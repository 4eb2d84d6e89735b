"""Places in a text from classes of its tokens, and rows as the template wants them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from finished import finished_texts
from genre.errors import GenreError
from genre.predicting import TextPredictor, spans_of

OFFSETS = [(0, 0), (0, 3), (4, 7), (7, 9), (10, 12), (0, 0)]
"""[CLS], three words of which the second is two tokens, [SEP]."""


@pytest.mark.parametrize(
    ("classes", "spans"),
    [
        ([0, 0, 0, 0, 0, 0], []),
        ([0, 1, 0, 0, 0, 0], [(0, 3, "name")]),
        ([0, 0, 1, 2, 0, 0], [(4, 9, "name")]),
        ([0, 0, 1, 1, 0, 0], [(4, 7, "name"), (7, 9, "name")]),
        ([0, 0, 2, 2, 0, 0], [(4, 9, "name")]),
        ([0, 1, 4, 4, 4, 0], [(0, 3, "name"), (4, 12, "place")]),
        ([1, 0, 3, 4, 1, 1], [(4, 9, "place"), (10, 12, "name")]),
    ],
)
def test_places_are_read_from_classes(classes: list[int], spans: list[tuple[int, int, str]]):
    assert spans_of(np.array(classes, dtype=np.int32), OFFSETS, ["name", "place"]) == spans


def test_what_stands_before_a_text_is_no_place_in_it():
    classes = np.array([0, 1, 1, 2, 0, 0], dtype=np.int32)
    assert spans_of(classes, OFFSETS, ["name"], before=4) == [(0, 5, "name")]


def test_texts_and_columns_are_read_alike():
    asked = TextPredictor.load(finished_texts().folder)
    said = asked.predict(["word1 redcup", {"text": "word1 redcup", "further": 3}])
    assert said[0] == said[1]
    assert list(said[0]["heads"]) == ["stars", "recommended", "colour", "names"]


def test_answers_are_those_of_the_evaluation():
    """But for the bfloat16 in which an evaluation keeps states on disk."""
    run = finished_texts()
    examples = json.loads((run.path("evaluate") / "examples.json").read_text())
    said = TextPredictor.load(run.folder).predict([example["text"] for example in examples])
    for example, answer in zip(examples, said, strict=True):
        assert answer["heads"]["stars"] == pytest.approx(example["heads"]["stars"]["model"], abs=0.01)


def test_a_row_without_any_column_is_refused():
    asked = TextPredictor.load(finished_texts().folder)
    with pytest.raises(GenreError, match="text 2 has nothing for text, which"):
        asked.predict(["word1", {"review": "word2"}])
