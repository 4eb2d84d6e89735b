"""Training a `cross` model on by a loss of lists, from the supervised one and held to it.

The loop is that of `textfitting`. Trainers of libraries (TRL) ask for prompts and generated texts; here what is learned
is the scores of given candidates, of which nothing is generated.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from genre.checkpoint import set_weights, weights_of
from genre.config import Config
from genre.data import Dataset
from genre.errors import GenreError
from genre.fitting import Phase
from genre.heads import Head
from genre.learn.candidatelists import divergence, gains_of, lists_of
from genre.learners import ModelLearner, Say
from genre.sheets import Rows, Sheet
from genre.stepping import averaged
from genre.textfitting import TextFitter
from genre.textmodel import TrainedTexts, load_heads
from genre.types import Floats

SURE = 1e-6
"""How near to 0 and 1 a probability is taken to be at most when it is made a score again."""
MOST_TEXTS = 5000
"""Validation texts at most by which training stops; whole lists, so a few more."""
PLACES = 10


class ListFitter(TextFitter):
    """The loop over pairs, from a trained model on, one head by the loss of a learner and the others by their own."""

    def __init__(self, config: Config, data: Dataset, folder: Path, learner: ModelLearner) -> None:
        super().__init__(_slowed(config, learner), data)
        self.model = load_heads(folder, data, self.loaded)
        self.text.load_state_dict(load_file(folder / "text.safetensors"), strict=False)
        assert config.pipeline.rerank is not None
        self.learner, self.head = learner, config.pipeline.rerank.head
        _check_lists(self.sheet, self.head)
        self.first = torch.from_numpy(scores_of(self.trained(), self.sheet, self.head, self.most_bytes))
        """``[n]``: the supervised scores of all training pairs."""

    @property
    def phase(self) -> Phase:
        """The language model learns where the adapter opened any of it."""
        return "finetune" if self.text.trainable else "warmup"

    def _batches(self, phase: Phase, number: int) -> Iterator[Rows]:
        found = super()._batches(phase, number)
        # What is compared with scores that know no dropout must know none.
        self.model.eval()
        self.text.eval()
        return found

    def _losses(self, rows: Rows, phase: Phase, longest: int = 0) -> dict[str, Tensor]:
        made = self._made(rows, phase, longest)
        losses = self.model.losses(made, self.sheet, rows)
        head = self.section.heads[self.head]
        said = _score(head, self.model.predictions(made, self.sheet, rows)[self.head])
        label = torch.from_numpy(self.sheet.labels[self.head][rows])
        some = ~label.isnan()
        group = torch.from_numpy(self.sheet.group[rows].astype(np.int64))
        first = self.first[torch.from_numpy(rows)]
        losses[self.head] = self.learner.loss(said[some], first[some], label[some], group[some])
        return losses


@dataclass
class ListValidation:
    """How a model orders the lists of the validation part, and how far it is from the supervised one."""

    sheet: Sheet
    head: str
    most_bytes: float
    first: Tensor

    @classmethod
    def of(cls, fitter: ListFitter) -> ListValidation:
        """The lists of the validation part, as the supervised model orders them."""
        sheet = fitter.maker.part("valid")
        group = sheet.group
        lists = np.random.default_rng(fitter.config.seed).permutation(np.unique(group))
        rows = np.bincount(group)[lists].cumsum()
        sheet = sheet.take(np.flatnonzero(np.isin(group, lists[: np.searchsorted(rows, MOST_TEXTS) + 1])))
        _check_lists(sheet, fitter.head)
        first = torch.from_numpy(scores_of(fitter.trained(), sheet, fitter.head, fitter.most_bytes))
        return cls(sheet, fitter.head, fitter.most_bytes, first)

    def measure(self, trained: TrainedTexts) -> dict[str, float]:
        """Mean NDCG@10 of the lists, and the divergence from the supervised softmax over them, in nats."""
        label = torch.from_numpy(self.sheet.labels[self.head])
        some = ~label.isnan()
        said = torch.from_numpy(scores_of(trained, self.sheet, self.head, self.most_bytes))[some]
        label = label[some].clamp(min=0)
        at, filled = lists_of(torch.from_numpy(self.sheet.group.astype(np.int64))[some], label)
        scores, chosen = said[at], label[at] * filled
        # What scores alike stands above what was chosen.
        order = chosen.argsort(dim=1, stable=True)
        lowered = scores.masked_fill(~filled, -torch.inf).gather(1, order)
        order = order.gather(1, lowered.argsort(dim=1, descending=True, stable=True))
        ndcg = gains_of(chosen, order, PLACES)
        apart = divergence(scores, self.first[some][at], filled)
        return {"ndcg": float(ndcg.mean()), "divergence": float(apart.mean())}


def train_on(fitter: ListFitter, validation: ListValidation, say: Say) -> list[dict[str, float]]:
    """Train until validation gets no better; the fitter then holds the best weights. What was measured after each pass.

    Raises `GenreError` where the loss is no longer finite.
    """
    learner, phase = fitter.learner, fitter.phase
    steppers, best = fitter.steppers(phase), weights_of(fitter)
    found = validation.measure(fitter.trained())
    curve, reached, since = [{"epoch": 0, **found}], found["ndcg"], 0
    for epoch in range(1, learner.epochs + 1):
        losses = fitter.epoch(phase, epoch, steppers, lambda done: None)
        if not all(map(math.isfinite, losses.values())):
            raise GenreError(f"the loss is no longer finite in epoch {epoch}; lower learn.fit.rate")
        with averaged(steppers.values()):
            found = validation.measure(fitter.trained())
            curve.append({"epoch": epoch, "loss": losses[fitter.head], **found})
            if found["ndcg"] > reached:
                best, reached, since = weights_of(fitter), found["ndcg"], 0
            else:
                since += 1
        say(f"pass {epoch}: ndcg of valid lists {found['ndcg']:.4f}, divergence {found['divergence']:.4f}")
        if since >= learner.patience:
            break
    set_weights(fitter, best)
    return curve


def scores_of(trained: TrainedTexts, sheet: Sheet, head: str, most_bytes: float) -> Floats:
    """The scores that a head gives the pairs of a sheet: ``[n]``."""
    said = torch.from_numpy(np.array(trained.answers(sheet, most_bytes)[head], dtype=np.float32))
    return _score(trained.heads[head], said).numpy()


def _score(head: Head, said: Tensor) -> Tensor:
    """A prediction as a logit of a softmax over a list: of a probability its own logit."""
    return torch.logit(said, eps=SURE) if head.predicts == "binary" else said


def _check_lists(sheet: Sheet, head: str) -> None:
    """Raise `GenreError` where no list holds both what was chosen and what was not."""
    label = torch.from_numpy(sheet.labels[head])
    some = ~label.isnan()
    if not len(lists_of(torch.from_numpy(sheet.group.astype(np.int64))[some], label[some])[0]):
        raise GenreError(
            f"model.heads.{head}: no list holds both what was chosen and what was passed over, so there is no "
            "preference to learn; set model.formulation.negatives, and the label chosen"
        )


def _slowed(config: Config, learner: ModelLearner) -> Config:
    """The configuration with the steps that a learner takes."""
    rates: Any = config.train.lr
    rates = replace(
        rates,
        backbone=rates.backbone * learner.rate,
        rest=rates.rest * learner.rate,
        rest_finetune=rates.rest_finetune * learner.rate,
    )
    train = replace(
        config.train,
        lr=rates,
        epochs=learner.epochs,
        warmup_epochs=learner.epochs,
        contrastive_start=0,
        perturb=None,
    )
    return replace(config, train=train)
