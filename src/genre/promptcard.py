"""``genre text show``: what the language model reads of a few rows, pairs or items, and what each head learns of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from genre.backbones import Loaded
from genre.component import name_of
from genre.config import Config
from genre.data import PARTS, Dataset, Log
from genre.errors import DataError
from genre.formulations import Asked
from genre.hidden import tokenize
from genre.predicting import spans_of
from genre.prompts import Prompt, item_texts
from genre.sheets import Rows, Sheet, SheetMaker, section_ask
from genre.text import render
from genre.textencoder import load

MOST_MEASURED = 1000
"""Texts drawn to say how long they are."""


@dataclass(frozen=True)
class PromptCard:
    """Looks at what a part of the data is read as."""

    config: Config
    data: Dataset
    loaded: Loaded
    part: str

    @classmethod
    def of(cls, config: Config, data: Dataset, part: str) -> PromptCard:
        """Load the language model, whose tokens count."""
        return cls(config, data, load(config.model.backbone), part)

    def lines(self, n: int) -> Iterator[str]:
        """The card: how long texts are, then ``n`` of them, drawn by the seed."""
        model, reads = self.config.model, self.config.model.formulation.reads
        written = model.formulation.prompt if reads == "pairs" else model.template  # type: ignore[attr-defined]
        yield f"{name_of(model.formulation)}: a text is of {WHAT[reads]}, written by {written!r}"
        yield from self._items(n) if reads == "items" else self._asked(n)

    def _items(self, n: int) -> Iterator[str]:
        log = Log.of(self.data).parts(self.part)
        rows = _drawn(np.unique(log.item), MOST_MEASURED, self.config.seed)
        _some(rows, self.part)
        section = self.config.model
        few = replace(self.data, items=self.data.items.take(rows))
        texts = item_texts(section, self.loaded, few)
        prompts = [Prompt(t, k) for t, k in zip(texts, tokenize(self.loaded, texts, section.max_tokens), strict=True)]
        yield self._lengths(prompts)
        whole = [self.loaded.reading.passage + text for text in render(few.items, section.template)]
        ids = few.items["item_id"].to_pylist()
        for i, prompt in enumerate(prompts[:n]):
            yield from self._text(f"item {ids[i]}", prompt, whole[i])
        yield "\nlabels are of interactions, not of items: each head is asked about a person's state and an item"

    def _asked(self, n: int) -> Iterator[str]:
        maker = SheetMaker(self.config.model, self.loaded, self.data, self.config.seed)
        asked = section_ask(maker, self.part)
        _some(asked.row, self.part)
        sheet = maker.of(_few(asked, MOST_MEASURED, self.config.seed))
        yield self._lengths(sheet.prompts)
        assert sheet.asked is not None
        users, items = (self.data.users["user_id"].to_pylist(), self.data.items["item_id"].to_pylist())
        for i in range(min(n, len(sheet))):
            row, user, item = (int(one[i]) for one in (sheet.asked.row, sheet.asked.user, sheet.asked.item))
            drawn = " (drawn: not chosen)" if row < 0 else ""
            yield from self._text(
                f"user {users[user]}, item {items[item]}{drawn}", sheet.prompts[i], self._whole(maker, row)
            )
            yield from (f"   {name}: {said}" for name, said in self._labels(maker, sheet, i))

    def _whole(self, maker: SheetMaker, row: int) -> str | None:
        """A row's text without the budgets of its template; None for pairs, which drop items instead."""
        if self.config.model.formulation.reads != "rows":
            return None
        template = self.config.model.template
        return self.loaded.reading.query + render(maker.writer.joined(template).slice(row, 1), template)[0]

    def _lengths(self, prompts: list[Prompt]) -> str:
        lengths = np.array([len(prompt.tokens) for prompt in prompts])
        longest = self.config.model.max_tokens
        cut = np.mean([self._rest(prompt) != "" for prompt in prompts])
        median, most = np.quantile(lengths, [0.5, 0.9], method="nearest")
        line = f"{len(prompts):,} of {self.part}: {median} tokens in the median, {most} in the longest tenth"
        line += f"; {cut:.1%} are cut at model.max_tokens, {longest}"
        if dropped := [prompt.dropped for prompt in prompts if prompt.dropped]:
            line += (
                f"; {len(dropped) / len(prompts):.1%} drop the oldest of their history, {np.mean(dropped):.1f} items"
            )
        return line

    def _text(self, title: str, prompt: Prompt, whole: str | None) -> Iterator[str]:
        yield f"\n{title}"
        rest = self._rest(prompt)
        yield "   " + (prompt.text[: len(prompt.text) - len(rest)] if rest else prompt.text).replace("\n", "\n   ")
        yield f"   {len(prompt.tokens)} tokens of at most {self.config.model.max_tokens}"
        if rest:
            yield f"   cut: {_short(rest)}"
        if whole is not None and len(whole) > len(prompt.text):
            yield f"   cut by the template's own budgets: {len(whole) - len(prompt.text)} characters"
        if prompt.dropped:
            yield f"   dropped: the {prompt.dropped} oldest items of the history"

    def _rest(self, prompt: Prompt) -> str:
        """What is not read, at the end of a text."""
        if len(prompt.tokens) < self.config.model.max_tokens:
            return ""
        read = self.loaded.tokenizer(
            prompt.text, truncation=True, max_length=self.config.model.max_tokens, return_offsets_mapping=True
        )
        end = max((stop for _, stop in read["offset_mapping"]), default=0)
        return prompt.text[end:] if prompt.text[end:].strip() else ""

    def _labels(self, maker: SheetMaker, sheet: Sheet, i: int) -> Iterator[tuple[str, str]]:
        prompt = sheet.prompts[i]
        for name, head in self.config.model.heads.items():
            value = sheet.labels[name][i]
            if np.isnan(value):
                yield name, "not known"
            elif head.predicts == "tokens":
                yield name, self._places(maker, head.label, prompt, sheet.token_labels[name][i])
            elif head.predicts == "text":
                yield name, repr(self.loaded.tokenizer.decode(sheet.tokens[i][len(prompt.tokens) :]))
            else:
                words = maker.words(head.label) if "=" not in head.label else ()
                yield name, words[int(value)] if words else f"{value:g}"

    def _places(self, maker: SheetMaker, column: str, prompt: Prompt, classes: Rows) -> str:
        longest, before = self.config.model.max_tokens, len(self.loaded.reading.query)
        read = self.loaded.tokenizer(prompt.text, truncation=True, max_length=longest, return_offsets_mapping=True)
        offsets = read["offset_mapping"]
        found = spans_of(classes[: len(offsets)].astype(np.int32), offsets, maker.names(column), before)
        return ", ".join(f"{prompt.text[before:][a:b]} [{label}]" for a, b, label in found) or "none"


WHAT = {"items": "an item", "rows": "a row of the interactions", "pairs": "a history and an item"}


def _some(rows: Any, part: str) -> None:
    if not len(rows):
        raise DataError(f"the part '{part}' has no rows to read; it is one of {', '.join(PARTS)}, see data.split")


def _drawn(rows: Any, n: int, seed: int) -> Any:
    return np.random.default_rng(seed).permutation(rows)[:n]


def _few(asked: Asked, n: int, seed: int) -> Asked:
    """About ``n`` questions, drawn by group, so that those that compete stay together."""
    number = np.where(asked.group >= 0, asked.group, -1 - np.arange(len(asked)))
    groups, place = np.unique(number, return_inverse=True)
    rows = np.argsort(np.random.default_rng(seed).permutation(len(groups))[place], kind="stable")[:n]
    return replace(asked, **{name: getattr(asked, name)[rows] for name in ("row", "user", "item", "group", "person")})


def _short(text: str, most: int = 200) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[: most - 1]}…"
