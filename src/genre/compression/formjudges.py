"""What a compressed language model loses, in the measure of the task it was fine-tuned for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import torch

from genre.cases import Cases
from genre.comparisons import Measured, Resamples, compare
from genre.compression.compressed import CompressedModel, CompressedTexts
from genre.compression.forms import Served
from genre.config import Config
from genre.data import Dataset, Log
from genre.errors import GenreError
from genre.model import TrainedModel
from genre.prompts import item_texts
from genre.sheets import SheetMaker
from genre.systems import Catalogue, measure, metric_named, rank_cases
from genre.taskmeasures import measures_of_task
from genre.textmodel import TextTaskModel, TrainedTexts
from genre.textvalidation import groups, judged
from genre.validation import WATCHED, Measure

Part = Literal["valid", "test"]
Outcome = dict[str, tuple[Measured, int]]
"""By measure: its value with what it would have been of other people, and of how many people or texts it is."""


class Judge(Protocol):
    """What measures a form against the model that it was made from."""

    def texts(self) -> list[str]:
        """The texts that a step may learn from, each once."""
        ...

    def count(self) -> int:
        """How many texts are read to measure one form."""
        ...

    def losses(self, form: Served, part: Part) -> dict[str, Any]:
        """Of each measure the model's value, the form's, and the loss as a share, with an interval."""
        ...


@dataclass
class RankingJudge:
    """The ranking of all items by a `two_tower` model, when people and items are read by the form."""

    config: Config
    data: Dataset
    model: TrainedModel
    whole: Served
    """The language model before any step, in the precision in which forms are read: what a loss is measured against."""
    _known: dict[tuple[str, Part], Outcome] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.model.ranking_head is None:
            raise GenreError("this model has no head that ranks, so what compressing loses cannot be measured")
        self.log = Log.of(self.data)
        train = self.log.parts("train")
        counts = np.bincount(train.item[train.positive], minlength=train.n_items).astype(np.int32)
        self.reference = CompressedModel.of(self.model, self.whole, self.data)
        self.catalogue = Catalogue(counts, self.model.item_vectors())

    def texts(self) -> list[str]:
        """See `Judge`."""
        whole: Any = self.whole
        return list(dict.fromkeys(item_texts(self.model.model.section, whole, self.data)))

    def count(self) -> int:
        """See `Judge`: the catalogue, for either part, and once more by its texts alone."""
        return self.data.items.num_rows * 2 * (1 + self.model.model.section.ids)

    def losses(self, form: Served, part: Part) -> dict[str, Any]:
        """See `Judge`. Where items have vectors of their own, the ranking by their texts alone is measured too."""
        compressed = CompressedModel.of(self.model, form, self.data)
        found = {"ndcg@10": (self._outcome("model", self.reference, part), self._measured(compressed, part))}
        if self.model.model.section.ids:
            theirs = self._outcome("text", self._by_text(self.reference), part)
            found["text.ndcg@10"] = theirs, self._measured(self._by_text(compressed), part)
        return {key: loss_of(ours, theirs, larger=True) for key, (theirs, ours) in found.items()}

    def _by_text(self, model: CompressedModel) -> CompressedModel:
        """The model as if every item were new."""
        vectors = torch.from_numpy(model.vectors_of(self.data))
        return model.with_vectors(vectors)

    def _outcome(self, name: str, model: TrainedModel, part: Part) -> tuple[Measured, int]:
        if (name, part) not in self._known:
            self._known[name, part] = {"ndcg@10": self._measured(model, part)}
        return self._known[name, part]["ndcg@10"]

    def _measured(self, model: TrainedModel, part: Part) -> tuple[Measured, int]:
        cases = Cases.of(self.log, part, self.config.evaluate.candidates)
        ranking = rank_cases(lambda block: model.score_next(block.histories), cases, self.catalogue, 10)
        resamples = Resamples.of(cases.user, self.config.evaluate.bootstrap, self.config.seed)
        return resamples.means(measure(ranking, [metric_named("ndcg@10")]))["ndcg@10"], resamples.n_groups


@dataclass
class TextJudge:
    """The main measure of each head of a `text` model."""

    config: Config
    data: Dataset
    model: TextTaskModel
    whole: Served
    """The language model before any step."""
    _known: dict[Part, Outcome] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, head in self.model.section.heads.items():
            if head.predicts == "text" or getattr(head, "words", None):
                raise GenreError(
                    f"head '{name}' asks the language model for words, and a compressed one only makes vectors; "
                    "compress a model without such a head"
                )
        heads = {
            name: WATCHED[head.predicts] for name, head in self.model.section.heads.items() if head.predicts in WATCHED
        }
        self.measures = [Measure.of(f"{name}.{metric}") for name, metric in heads.items()]

    def texts(self) -> list[str]:
        """See `Judge`."""
        return list(dict.fromkeys(prompt.text for prompt in self._sheet(self.whole, "train").prompts))

    def count(self) -> int:
        """See `Judge`: the texts of validation and test."""
        parts = self.data.interactions["part"].to_pylist()
        return parts.count("valid") + parts.count("test")

    def losses(self, form: Served, part: Part) -> dict[str, Any]:
        """See `Judge`."""
        if part not in self._known:
            self._known[part] = self._measured(CompressedTexts.of(self.model, self.whole), part)
        ours, theirs = self._measured(CompressedTexts.of(self.model, form), part), self._known[part]
        return {m.name: loss_of(ours[m.name], theirs[m.name], m.sign > 0) for m in self.measures if m.name in ours}

    def _sheet(self, loaded: Any, part: str) -> Any:
        return SheetMaker(self.config.model, loaded, self.data, self.config.seed, self.config.train.shots).part(part)

    def _measured(self, model: TrainedTexts, part: Part) -> Outcome:
        sheet = self._sheet(model.loaded, part)
        answers, found = model.answers(sheet, self.config.train.cache_gb * 1e9), {}
        for one in self.measures:
            assert one.head is not None
            if one.head not in sheet.labels or np.isnan(sheet.labels[one.head]).all():
                continue
            said = judged(model.heads[one.head], one.head, sheet, answers[one.head], model.model.labels)
            known = ~np.isnan(sheet.labels[one.head])
            # Rows of one person are drawn together; of tokens, those of one text.
            people = sheet.asked.user[known] if len(said.truth) == known.sum() and sheet.asked else said.group
            people = groups(sheet)[known] if people is None else people
            resamples = Resamples.of(people, self.config.evaluate.bootstrap, self.config.seed)
            values = dict(measures_of_task(said, [one.metric], resamples))
            found[one.name] = values[one.key], resamples.n_groups
        return found


def loss_of(ours: tuple[Measured, int], theirs: tuple[Measured, int], larger: bool) -> dict[str, Any]:
    """How much worse a form is, as a share of what the model reaches; below 0 where it is better."""
    (a, units), (b, _) = ours, theirs
    found = compare(a, b, larger)
    if found is None or not b.value:
        return {"model": b.value, "form": a.value, "loss": None, "ci95": None, "units": units, "verdict": None}
    sign = (-1.0 if larger else 1.0) / abs(b.value)
    edges = sorted(sign * edge for edge in found["ci95"])
    return {
        "model": b.value,
        "form": a.value,
        "loss": sign * found["difference"],
        "ci95": edges,
        "units": units,
        "verdict": found["verdict"],
    }
