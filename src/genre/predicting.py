"""Answers about texts that are not in the data: what each head of a `text` model says of them, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from genre.data import Dataset, Log
from genre.errors import GenreError, RunError
from genre.heads import Head
from genre.hidden import tokenize
from genre.offsets import Offset, offsets_of
from genre.prompts import Prompt, cutter
from genre.run import Run
from genre.sheets import Sheet
from genre.spans import Span
from genre.text import columns_of, render
from genre.textmodel import TrainedTexts
from genre.types import Floats, Ints

Answer = float | dict[str, float] | list[dict[str, Any]]
"""A probability or an amount, a probability of each class, or places in the text with their labels."""


@dataclass(frozen=True)
class TextPredictor:
    """A trained `text` model that is asked about texts of yours."""

    trained: TrainedTexts
    offsets: Mapping[str, Offset] = field(default_factory=dict)
    """What was counted for heads that start from it; of a text alone nothing is known, so that is the overall mean."""

    @classmethod
    def load(cls, folder: Path | str, form: str | None = None) -> TextPredictor:
        """The model of a run, or a ``form`` of it that `genre compress` made.

        Raises `GenreError` where it reads no texts of rows, or is not trained.
        """
        run = Run.open(folder)
        formulation = run.config.model.formulation
        if formulation.reads != "rows":
            raise GenreError(
                f"{folder}: only a model with model.formulation: text answers about a text alone, and this one reads "
                f"{formulation.reads}; ask it with 'genre recommend {folder}'"
            )
        path = run.path("model") / "finetuned"
        if not path.exists():
            raise RunError(f"{path}: not there; make it with 'genre train {folder}'")
        data = Dataset.load(run.path("data"))
        offsets = offsets_of(run.config.model.heads, Log.of(data), data.items.num_rows)
        if form is not None:
            from genre.compression.compressed import load_compressed

            return cls(load_compressed(path, run.path("compress") / form, data), offsets)  # type: ignore[arg-type]
        return cls(TrainedTexts.load(path, data), offsets)

    @property
    def heads(self) -> dict[str, Head]:
        """The heads that answer: all but those whose answer is the likelihood of a text to be written."""
        return {n: head for n, head in self.trained.heads.items() if head.predicts not in ("text", "nothing")}

    def predict(self, rows: Sequence[str | Mapping[str, Any]]) -> list[dict[str, Any]]:
        """For each text what was read (``text``) and every head's answer (``heads``).

        A row is the text itself, or the values of the columns that ``model.template`` names. Raises `GenreError` for a
        row with none of them.
        """
        texts = self.texts(rows)
        sheet = self._sheet(texts)
        said = self.trained.answers(sheet)
        before = len(self.trained.loaded.reading.query)
        return [
            {
                "text": text[before:],
                "heads": {name: self._worded(name, head, said[name][i], text) for name, head in self.heads.items()},
            }
            for i, text in enumerate(texts)
        ]

    def texts(self, rows: Sequence[str | Mapping[str, Any]]) -> list[str]:
        """What is read of each row, with what the language model wants in front."""
        section, loaded = self.trained.model.section, self.trained.loaded
        columns = list(dict.fromkeys(columns_of(section.template)))
        as_is = any(head.predicts == "tokens" for head in section.heads.values())
        written = []
        for number, row in enumerate(rows, 1):
            if isinstance(row, str) and len(columns) > 1:
                # It has no parts to put in the template's places.
                written.append(row if as_is else " ".join(row.split()))
                continue
            given = {columns[0]: row} if isinstance(row, str) else row
            if not any(given.get(column) for column in columns):
                wanted = " or ".join(columns)
                raise GenreError(f"text {number} has nothing for {wanted}, which model.template names")
            written += render(_table(given, columns), section.template, cutter(loaded), as_is)
        return [loaded.reading.query + text for text in written]

    def _sheet(self, texts: list[str]) -> Sheet:
        tokens = tokenize(self.trained.loaded, texts, self.trained.model.section.max_tokens)
        unknown = {name: np.full(len(texts), np.nan, dtype=np.float32) for name in self.trained.heads}
        prompts = [Prompt(text, one) for text, one in zip(texts, tokens, strict=True)]
        overall = {n: np.full(len(texts), one.overall, dtype=np.float32) for n, one in self.offsets.items()}
        return Sheet(prompts, tokens, unknown, offsets=overall)

    def _worded(self, name: str, head: Head, said: Floats, text: str) -> Answer:
        facts = self.trained.model.labels[name]
        if head.predicts == "multiclass":
            classes = facts.names or tuple(f"{value:g}" for value in facts.classes)
            return {one: round(float(value), 4) for one, value in zip(classes, said, strict=True)}
        if head.predicts == "tokens":
            return self._places(said, facts.names, text)
        return round(float(said), 4)

    def _places(self, said: Floats, names: tuple[str, ...], text: str) -> list[dict[str, Any]]:
        loaded, longest = self.trained.loaded, self.trained.model.section.max_tokens
        read = loaded.tokenizer(text, truncation=True, max_length=longest, return_offsets_mapping=True)
        offsets, before = read["offset_mapping"], len(loaded.reading.query)
        found = spans_of(said[: len(offsets)].argmax(-1).astype(np.int32), offsets, names, before)
        return [{"start": a, "end": b, "label": label, "text": text[before:][a:b]} for a, b, label in found]


def _table(row: Mapping[str, Any], columns: list[str]) -> Any:
    import pyarrow as pa

    return pa.table({column: [row.get(column)] for column in columns})


def spans_of(classes: Ints, offsets: Sequence[tuple[int, int]], names: Sequence[str], before: int = 0) -> list[Span]:
    """Places that classes of tokens mark, 0 outside, 1 + 2k first and 2 + 2k inside a ``names[k]``.

    A token inside that follows none of its own label begins a place. The text begins after ``before`` characters.
    """
    found: list[Span] = []
    last = -1
    for one, (start, end) in zip(classes.tolist(), offsets, strict=True):
        if end <= max(start, before):
            continue
        label = (one - 1) // 2 if one > 0 else -1
        if label >= 0 and one % 2 == 0 and label == last:
            found[-1] = (found[-1][0], end - before, names[label])
        elif label >= 0:
            found.append((max(start - before, 0), end - before, names[label]))
        last = label
    return found
