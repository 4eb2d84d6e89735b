"""The training loop: rounds of a few steps that share one pass through the language model."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genre.batches import Batch, TrainingLog
from genre.clock import timed, timed_each, times
from genre.config import Config
from genre.data import Dataset, Log
from genre.itemtexts import ItemTexts
from genre.model import Facts, MultiTaskModel, TrainedModel, labels_of, language_of
from genre.noise import dealt_noise
from genre.parallel import team
from genre.sharding import put_in_place
from genre.sharing import Share
from genre.stack import Tuning
from genre.stepping import Stepper, tables_of
from genre.textencoder import Followed, TextEncoder, build, load

Phase = Literal["warmup", "finetune", "contrast", "heads"]
PHASES: tuple[Phase, ...] = ("warmup", "finetune", "contrast", "heads")
"""Their place here is a part of the seed of their epochs; their order in a training is the fitter's to say."""


class Fitter:
    """Everything that training holds: model, text encoder, hidden states, batches."""

    def __init__(self, config: Config, data: Dataset) -> None:
        torch.manual_seed(config.seed)
        section = config.model
        self.config, self.section, self.train = config, section, config.train
        log = Log.of(data).parts("train")
        self.text: TextEncoder | None = None
        self.texts: ItemTexts | None = None
        self.tuning = Tuning()
        hidden, language = 0, None
        if section.text:
            loaded = load(section.backbone)
            self.text, self.tuning = build(section, loaded, self.train)
            put_in_place(self.text)
            views = [view for head in section.heads.values() if (view := getattr(head, "view", ""))]
            self.texts = ItemTexts.of(section, loaded, self.text, data, views[:1], self.train)
            hidden, language = loaded.hidden_size, language_of(loaded)
        seen = torch.from_numpy(np.bincount(log.item, minlength=log.n_items) > 0)
        self.model = MultiTaskModel(section, Facts.of(log, section.heads, hidden), seen, language)
        negatives = [n for head in section.heads.values() if (n := getattr(head, "negatives", None))]
        masks = any(getattr(head, "mask_seen", False) for head in section.heads.values())
        labels = labels_of(log, section.heads)
        with timed("batching"):
            self.log = TrainingLog(log, labels, section.max_history, max(negatives, default=None), masks)
        self.n_interactions = len(log)

    def phases(self) -> list[Phase]:
        """The phases that have anything to do."""
        finetune = self.text is not None and self.text.trainable and self.train.epochs > 0
        return ["warmup", "finetune"] if finetune else ["warmup"]

    def most_epochs(self, phase: Phase) -> int:
        """Epochs after which the phase ends at the latest."""
        return self.train.warmup_epochs if phase == "warmup" else self.train.epochs

    def steps_per_epoch(self) -> int:
        """Most steps that an epoch can have."""
        return self.log.count(self.train.batch_size)

    def settle(self) -> None:
        """Bring the items' text vectors up to the language model as it is now."""
        if self.texts is not None:
            self.texts.settle()

    def steppers(self, phase: Phase) -> dict[str, Stepper]:
        """Optimizers of a phase, by the group of weights that each moves."""
        steps = self.most_epochs(phase) * self.steps_per_epoch()
        rates = self.train.lr
        rest = rates.rest if phase == "warmup" else rates.rest_finetune
        named, tables = self.model.named_parameters(), tables_of(self.model)
        made = {"rest": Stepper.over(named, rest, steps, self.train, tables=tables)}
        if phase == "finetune" and self.text is not None:
            rounds = math.ceil(steps / self.train.steps_per_round)
            made["backbone"] = Stepper.over(self.text.opened(), rates.backbone, rounds, self.train, self.tuning)
        return made

    def epoch(
        self, phase: Phase, number: int, steppers: dict[str, Stepper], advance: Callable[[int], None]
    ) -> dict[str, float]:
        """Train one epoch; mean losses by head. Its randomness depends on seed, phase and number alone."""
        self._seed(phase, number)
        self.model.train()
        totals: dict[str, float] = defaultdict(float)
        steps = 0
        for batches in timed_each("batching", self._rounds(phase, number)):
            for losses in self.round(batches, phase, steppers):
                steps += 1
                for name, loss in losses.items():
                    totals[name] += loss
            advance(len(batches))
        means = team().means({name: total / steps for name, total in totals.items()})
        self.model.balance.epoch_done(means)
        return means

    def round(self, batches: list[Batch], phase: Phase, steppers: dict[str, Stepper]) -> Iterator[dict[str, float]]:
        """A step of all but the language model for each batch, then one step of the language model on their mean.

        The distinct items of the round go through the language model once, and the gradient of their vectors is
        carried back once: exact for the language model's weights, which do not move within the round.
        """
        rows = _union(batches)
        leaves = self._moving(rows, phase)
        for batch in batches:
            yield self._backward(batch, rows, leaves)
            steppers["rest"].step()
        if leaves and self.texts is not None:
            self.texts.backward(rows, leaves, len(batches))
            steppers["backbone"].step()

    def probe(self, phase: Phase) -> float:
        """Seconds that one step takes, from one round whose gradients are thrown away."""
        import time

        self._seed(phase, 0)
        self.model.train()
        batches = next(self._rounds(phase, 0))
        started = time.perf_counter()
        rows = _union(batches)
        leaves = self._moving(rows, phase)
        for batch in batches:
            self._backward(batch, rows, leaves)
        if leaves and self.texts is not None and self.text is not None:
            self.texts.backward(rows, leaves, len(batches))
            self.text.zero_grad(set_to_none=True)
        self.model.zero_grad(set_to_none=True)
        return (time.perf_counter() - started) / len(batches)

    @times("all item vectors", whole=True)
    @torch.no_grad()
    def trained(self) -> TrainedModel:
        """The model as it is now, with the vectors of all items."""
        self.model.eval()
        everything = torch.arange(self.model.facts.n_items)
        table = None if self.texts is None else self.texts.tables[0]
        return TrainedModel(self.model, self.model.items(table, everything), self.text)

    def _moving(self, rows: NDArray[np.int64], phase: Phase) -> list[Followed]:
        """Text vectors that collect a gradient; none while the language model is held still."""
        return [] if phase == "warmup" or self.texts is None else self.texts.moving(rows)

    def _backward(self, batch: Batch, rows: NDArray[np.int64], leaves: list[Followed]) -> dict[str, float]:
        """The gradient of a batch; its losses by head."""
        at = torch.from_numpy(np.searchsorted(rows, batch.rows))
        vectors: list[Tensor] = []
        with timed("item vectors"):
            if self.texts is not None:
                vectors = [leaf.vectors[at] for leaf in leaves] if leaves else self.texts.still(batch.rows)
            items = self.model.items(vectors[0] if vectors else None, torch.from_numpy(batch.rows))
            views = self.model.project(vectors[1]) if len(vectors) > 1 else None
        if team().alone:
            return self._learned(self.model.losses(batch, items, views), leaves)
        share = Share.of(batch, team())
        counts = share.counts(self.section.heads, self.model.heads)
        with dealt_noise(share.examples, share.windows):
            losses = self.model.losses(share.batch, items, views)
            return self._learned(team().weighed(losses, counts), leaves)

    def _learned(self, losses: dict[str, Tensor], leaves: list[Followed]) -> dict[str, float]:
        with timed("backward"):
            self.model.balance.backward(losses, [leaf.vectors for leaf in leaves] + self.model.shared())
        return {name: float(loss.detach()) for name, loss in losses.items()}

    def _rounds(self, phase: Phase, number: int) -> Iterator[list[Batch]]:
        rng = np.random.default_rng([self.config.seed, PHASES.index(phase), number])
        batches = self.log.epoch(self.train.batch_size, rng)
        size = self.train.steps_per_round if phase == "finetune" else 1
        while batch := list(itertools.islice(batches, size)):
            yield batch

    def _seed(self, phase: Phase, number: int) -> None:
        torch.manual_seed(self.config.seed * 1_000_003 + PHASES.index(phase) * 100_003 + number)


def _union(batches: list[Batch]) -> NDArray[np.int64]:
    return batches[0].rows if len(batches) == 1 else np.unique(np.concatenate([batch.rows for batch in batches]))
