"""Training and test rows of the formulations `text` and `cross`: token lists, and what each head should say of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from genre.backbones import Loaded
from genre.clock import times
from genre.component import suggest
from genre.config import ModelSection
from genre.data import PARTS, Dataset, Histories, Log
from genre.errors import GenreError
from genre.formulations import Asked, Propose
from genre.heads import Head
from genre.hidden import PassingStates, States, hidden_states
from genre.labels import CHOSEN, Label
from genre.offsets import Offset, offsets_of
from genre.prompts import Prompt, Writer
from genre.ranking import top_lists
from genre.shots import draw_of_each
from genre.sources import Resources
from genre.spans import Span, read_spans
from genre.text import batches_by_length, render
from genre.textencoder import pretrained_items
from genre.types import Floats, Ints

IGNORED = -100
"""Label of a token of which nothing is learned."""
SOURCE = "dataset"
"""The column of the interactions that says which dataset a row is from, where there are several."""
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Sheet:
    """``n`` texts and their labels."""

    prompts: list[Prompt]
    tokens: list[list[int]]
    """Of each prompt, and of the text to be written behind it, if a head writes."""
    labels: dict[str, Floats]
    """``[n]`` by head; NaN where not known."""
    token_labels: dict[str, list[NDArray[np.int64]]] = field(default_factory=dict)
    """For heads that read tokens: a label for each token, or `IGNORED`."""
    asked: Asked | None = None
    source: Ints | None = None
    """``[n]``: number of the dataset that each is from, where the interactions say; -1 where they do not."""
    offsets: dict[str, Floats] = field(default_factory=dict)
    """``[n]`` by head, for those that start from what was counted."""

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def group(self) -> Ints:
        """Number of the list that each stands in; -1 for none."""
        return np.full(len(self), -1, dtype=np.int32) if self.asked is None else self.asked.group

    @property
    def asked_lengths(self) -> Rows:
        """Tokens of each prompt, without what is written behind it."""
        return np.array([len(prompt.tokens) for prompt in self.prompts], dtype=np.int64)

    def take(self, rows: Rows) -> Sheet:
        """Some of the texts, in the order asked for."""
        return Sheet(
            [self.prompts[i] for i in rows],
            [self.tokens[i] for i in rows],
            {name: label[rows] for name, label in self.labels.items()},
            {name: [labels[i] for i in rows] for name, labels in self.token_labels.items()},
            None if self.asked is None else _taken(self.asked, rows),
            None if self.source is None else self.source[rows],
            {name: offset[rows] for name, offset in self.offsets.items()},
        )

    def states(self, loaded: Loaded, taps: tuple[int, ...], budget: int, most_bytes: float) -> States:
        """The states that enter the trained layers: kept on disk if that takes at most ``most_bytes``."""
        size = sum(len(one) for one in self.tokens) * loaded.hidden_size * len(taps) * 2
        if size <= most_bytes:
            return hidden_states(loaded, self.tokens, taps, budget)
        return PassingStates.of(loaded, self.tokens, taps)

    def epoch(self, batch_size: int, rng: np.random.Generator, temperature: float | None = None) -> Iterator[Rows]:
        """Yield batches of about ``batch_size`` rows in random order; rows of one group stay together.

        Every row comes once, or, with a ``temperature``, groups (or rows that stand alone) as often as `evened` says.
        """
        group = np.where(self.group >= 0, self.group, -1 - np.arange(len(self)))
        _, first, number, counts = np.unique(group, return_index=True, return_inverse=True, return_counts=True)
        if temperature is None:
            order = np.argsort(rng.permutation(len(counts)))
        else:
            assert self.source is not None
            order = evened(self.source[first], temperature, rng)
        within = np.lexsort((rng.random(len(self)), number))
        ends = np.cumsum(counts[order])
        starts = (np.cumsum(counts) - counts)[order]
        rows = within[np.arange(ends[-1]) + np.repeat(starts - (ends - counts[order]), counts[order])]
        start = 0
        for stop in _cuts(ends, batch_size):
            yield rows[start:stop]
            start = stop

    def count(self, batch_size: int, temperature: float | None = None) -> int:
        """Most batches that an epoch can have."""
        return sum(1 for _ in self.epoch(batch_size, np.random.default_rng(0), temperature))

    def parts(self, rows: Rows, budget: int, together: bool) -> Iterator[Rows]:
        """A batch as pieces of at most ``budget`` tokens with padding; ``together`` keeps groups whole."""
        lengths = np.array([len(self.tokens[i]) for i in rows], dtype=np.int64)
        if not together:
            yield from (rows[batch.rows] for batch in batches_by_length(lengths, budget))
            return
        start = 0
        for stop in [*(np.flatnonzero(np.diff(self.group[rows])) + 1), len(rows)]:
            following = np.flatnonzero(np.diff(self.group[rows[stop:]]))
            end = stop + (following[0] + 1 if len(following) else len(rows) - stop)
            if stop == len(rows) or lengths[start:end].max() * (end - start) > budget:
                yield rows[start:stop]
                start = stop


def evened(source: Ints, temperature: float, rng: np.random.Generator) -> Rows:
    """Random order of as many draws as there are entries, whose shares by source go with size to ``1 / temperature``.

    A source that is due more draws than it has entries gives each of them equally often, give or take one.
    Devlin et al., multilingual BERT (2018), https://arxiv.org/abs/1810.04805; Raffel et al., T5 (2019),
    https://arxiv.org/abs/1910.10683.
    """
    names, sizes = np.unique(source, return_counts=True)
    shares = sizes ** (1 / temperature)
    due = np.diff(np.round(np.cumsum(shares / shares.sum()) * len(source)), prepend=0).astype(np.int64)
    drawn = []
    for name, size, n in zip(names, sizes, due, strict=True):
        mine = np.flatnonzero(source == name)
        passes = [rng.permutation(mine) for _ in range(-(-n // size))]
        drawn.append(np.concatenate([*passes, mine[:0]])[:n])
    return rng.permutation(np.concatenate(drawn))


def _cuts(ends: Rows, size: int) -> Iterator[int]:
    """Ends of batches that are at least ``size`` rows long, where groups end."""
    last = 0
    for end in ends.tolist():
        if end - last >= size or end == ends[-1]:
            yield end
            last = end


class SheetMaker:
    """Makes the sheets of a dataset's parts; with ``shots`` so few questions of the parts that are trained on."""

    def __init__(
        self, section: ModelSection, loaded: Loaded, data: Dataset, seed: int, shots: int | None = None
    ) -> None:
        self.section, self.loaded, self.data, self.seed, self.shots = section, loaded, data, seed, shots
        self.log = Log.of(data)
        self.writer = Writer(section, loaded, data)

    @cached_property
    def offsets(self) -> dict[str, Offset]:
        """What was counted for the heads; texts alone need none of it."""
        vectors = partial(pretrained_items, self.section, self.data)
        return offsets_of(self.section.heads, self.log, self.data.items.num_rows, vectors)

    @times("write texts")
    def part(self, part: str) -> Sheet:
        """Everything that is asked about a part, or ``shots`` of it if training, validation included, looks at it."""
        asked = section_ask(self, part)
        return self.of(asked if self.shots is None or part == "test" else self._few(asked, part, self.shots))

    def _few(self, asked: Asked, part: str, shots: int) -> Asked:
        """So many texts, or of pairs so many groups, as even over datasets, then over classes, as can be.

        Classes are those of the first head that has a label in the dataset. A group counts by its first question, which
        is one from the log.
        """
        together = (asked.group >= 0) & (self.section.formulation.reads == "pairs")
        number = np.where(together, asked.group, -1 - np.arange(len(asked)))
        _, first, group = np.unique(number, return_index=True, return_inverse=True)
        labels = [self._labels(head, asked)[first] for head in self.section.heads.values() if _by_row(head)]
        source = self._source(asked)
        source = np.zeros(len(asked), dtype=np.int32) if source is None else source
        rng = np.random.default_rng([self.seed, 5, PARTS.index(part)])
        chosen = draw_of_each(labels, source[first], shots, rng)
        return _taken(asked, np.flatnonzero(np.isin(group, chosen)))

    def of(self, asked: Asked) -> Sheet:
        """The sheet of some questions."""
        prompts = self.writer.write(asked)
        labels = {name: self._labels(head, asked) for name, head in self.section.heads.items() if _by_row(head)}
        offsets = {name: one.says(asked, self.log.part) for name, one in self.offsets.items()}
        tokens = [prompt.tokens for prompt in prompts]
        sheet = Sheet(prompts, tokens, labels, {}, asked, self._source(asked), offsets)
        for name, head in self.section.heads.items():
            if head.predicts == "tokens":
                sheet.token_labels[name] = self._spans(head.label, sheet)
                sheet.labels[name] = _any_label(sheet.token_labels[name])
        for name, head in self.section.heads.items():
            if head.predicts == "text":
                sheet = self._written(name, head, sheet)
        return sheet

    def _labels(self, head: Head, asked: Asked) -> Floats:
        """What the log says; of a drawn negative, that it was not chosen."""
        label = Label.parse(head.label)
        values = label.evaluate(self.log)[np.maximum(asked.row, 0)] if len(self.log) else np.zeros(0, dtype=np.float32)
        unknown = 0.0 if label.column == CHOSEN else np.nan
        return np.where(asked.row >= 0, values, unknown).astype(np.float32)

    def _source(self, asked: Asked) -> Ints | None:
        """The dataset of each question; of a drawn negative that of its group."""
        if SOURCE not in self.log.words:
            return None
        row = asked.row.copy()
        drawn = row < 0
        order = np.argsort(asked.group[~drawn], kind="stable")
        known = np.flatnonzero(~drawn)[order]
        row[drawn] = asked.row[known[np.searchsorted(asked.group[known], asked.group[drawn])]]
        return self.log.words[SOURCE].code[row]

    def _spans(self, column: str, sheet: Sheet) -> list[NDArray[np.int64]]:
        """Classes of the tokens, from spans of characters in the text."""
        assert sheet.asked is not None
        spans = self.data.interactions[column].take(sheet.asked.row).to_pylist()
        texts = [prompt.text for prompt in sheet.prompts]
        read = self.loaded.tokenizer(
            texts, truncation=True, max_length=self.section.max_tokens, return_offsets_mapping=True
        )
        names, before = self.names(column), len(self.loaded.reading.query)
        places = zip(read["offset_mapping"], spans, strict=True)
        return [token_classes(offsets, read_spans(one), names, before) for offsets, one in places]

    def names(self, column: str) -> list[str]:
        """The words that the spans of a column are labelled with. Raises `GenreError` without such a column."""
        known = self.data.interactions.column_names
        if column not in known:
            raise GenreError(
                f"label '{column}': the interactions have no such column of spans; {suggest(column, known)}"
            )
        return sorted({span[2] for one in self.data.interactions[column].to_pylist() for span in read_spans(one)})

    def words(self, label: str) -> tuple[str, ...]:
        """The words that a label's values number; empty where they are amounts."""
        column = Label.parse(label).column
        return self.log.words[column].words if column in self.log.words else ()

    def _written(self, name: str, head: Head, sheet: Sheet) -> Sheet:
        """The sheet with a text to be written behind each prompt; each of its tokens is the label of the one before."""
        assert sheet.asked is not None
        template = head.label if "{" in head.label else f"{{{head.label}}}"
        ends = [self.loaded.tokenizer.eos_token_id]
        texts = render(self.writer.joined(template).take(sheet.asked.row), template)
        read = self.loaded.tokenizer(texts, add_special_tokens=False, truncation=True, max_length=WRITTEN)["input_ids"]
        tokens, labels = [], []
        for prompt, written in zip(sheet.tokens, read, strict=True):
            whole = [*prompt, *written, *ends]
            label = np.full(len(whole), IGNORED, dtype=np.int64)
            label[len(prompt) - 1 : -1] = whole[len(prompt) :]
            tokens.append(whole)
            labels.append(label if written else np.full(len(whole), IGNORED, dtype=np.int64))
        others = {
            one: [np.pad(a, (0, len(t) - len(a)), constant_values=IGNORED) for a, t in zip(known, tokens, strict=True)]
            for one, known in sheet.token_labels.items()
        }
        made = replace(sheet, tokens=tokens, token_labels={**others, name: labels})
        made.labels[name] = _any_label(labels)
        return made


WRITTEN = 64
"""Most tokens of a text that is learned to be written."""


def token_classes(offsets: list[tuple[int, int]], spans: list[Span], names: list[str], before: int) -> Rows:
    """Class of each token, by the characters that it stands for: 0 outside, 1 + 2k first, 2 + 2k inside a ``names[k]``.

    The text begins after ``before`` characters. Tokens that stand for no character, such as [CLS], have none.
    """
    classes = np.array([0 if end > max(start, before) else IGNORED for start, end in offsets], dtype=np.int64)
    for start, end, name in spans:
        covered = [i for i, (a, b) in enumerate(offsets) if b > a and a - before < end and b - before > start]
        classes[covered] = 2 + 2 * names.index(name)
        classes[covered[:1]] = 1 + 2 * names.index(name)
    return classes


def _taken(asked: Asked, rows: Rows) -> Asked:
    """Some of the questions, in the order asked for."""
    names = ("row", "user", "item", "group", "person")
    return replace(asked, **{name: getattr(asked, name)[rows] for name in names})


def _by_row(head: Head) -> bool:
    return bool(head.label) and head.predicts not in ("tokens", "text")


def _any_label(labels: list[NDArray[np.int64]]) -> Floats:
    """1 for texts of which a token has a label, else unknown."""
    return np.array([1.0 if (one != IGNORED).any() else np.nan for one in labels], dtype=np.float32)


def section_ask(maker: SheetMaker, part: str) -> Asked:
    """The questions of a part; negatives are drawn from what the formulation's source, fitted on training, proposes."""
    formulation = maker.section.formulation
    return formulation.ask(maker.log, part, maker.seed, _propose(maker))


def _propose(maker: SheetMaker) -> Propose:
    source = getattr(maker.section.formulation, "source", None)

    def propose(histories: Histories, k: int) -> Ints:
        assert source is not None
        train = maker.log.where(maker.log.part == PARTS.index("train"))
        resources = Resources(maker.data.items, _no_text, _no_text, None)
        state = source.fit(train, resources)
        lists = []
        for i in range(0, len(histories), 1024):
            some = histories.take(slice(i, i + 1024))
            scores = source.score(state, some, resources)
            lists.append(top_lists(scores, some.matrix(maker.log.n_items).toarray() == 0, k))
        return np.concatenate(lists)

    return propose


def _no_text(*args: object) -> Floats:
    raise GenreError("model.formulation.source: negatives are drawn by a source that counts, not by one that reads")
