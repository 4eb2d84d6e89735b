"""The training loop of the formulations `text` and `cross`: batches of texts, each read once a step."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from genre.config import Config
from genre.data import Dataset
from genre.errors import GenreError
from genre.fitting import PHASES, Phase, Stepper
from genre.heads import LabelFacts
from genre.model import label_facts, language_of
from genre.sheets import Rows, SheetMaker
from genre.textencoder import build, load
from genre.textmodel import Read, TextTaskModel, TrainedTexts, read


class TextFitter:
    """Everything that training holds: heads, text encoder, the sheet of training texts and their hidden states."""

    def __init__(self, config: Config, data: Dataset) -> None:
        torch.manual_seed(config.seed)
        section = config.model
        self.config, self.section, self.train = config, section, config.train
        self.loaded = load(section.backbone)
        self.text, self.tuning = build(section, self.loaded)
        self.maker = SheetMaker(section, self.loaded, data, config.seed)
        self.sheet = self.maker.part("train")
        if not len(self.sheet):
            raise GenreError("the training part has no texts; check data.split")
        self.states = self.sheet.states(self.loaded, self.text.stack.taps, self.train.token_budget, self.most_bytes)
        labels = {name: self._facts(name) for name in self.sheet.labels}
        self.model = TextTaskModel(section, labels, self.loaded.hidden_size, language_of(self.loaded))
        self.n_interactions = len(self.sheet)
        self.table: Tensor | None = None

    @property
    def most_bytes(self) -> float:
        """Room on disk for the hidden states of a sheet."""
        return self.train.cache_gb * 1e9

    def _facts(self, name: str) -> LabelFacts:
        head = self.section.heads[name]
        if head.predicts == "tokens":
            return LabelFacts(names=tuple(self.maker.names(head.label)))
        return label_facts(self.sheet.labels[name], self.maker.words(head.label))

    def phases(self) -> list[Phase]:
        """The phases that have anything to do."""
        return ["warmup", "finetune"] if self.text.trainable and self.train.epochs > 0 else ["warmup"]

    def most_epochs(self, phase: Phase) -> int:
        """Epochs after which the phase ends at the latest."""
        return self.train.warmup_epochs if phase == "warmup" else self.train.epochs

    def steps_per_epoch(self) -> int:
        """Most steps that an epoch can have."""
        return self.sheet.count(self.train.batch_size)

    def steppers(self, phase: Phase) -> dict[str, Stepper]:
        """Optimizers of a phase, by the group of weights that each moves."""
        steps = self.most_epochs(phase) * self.steps_per_epoch()
        rates = self.train.lr
        rest = rates.rest if phase == "warmup" else rates.rest_finetune
        made = {"rest": Stepper.over(self.model.named_parameters(), rest, steps, self.train)}
        if phase == "finetune":
            made["backbone"] = Stepper.over(self.text.opened(), rates.backbone, steps, self.train, self.tuning)
        return made

    def epoch(
        self, phase: Phase, number: int, steppers: dict[str, Stepper], advance: Callable[[int], None]
    ) -> dict[str, float]:
        """Train one epoch; mean losses by head. Its randomness depends on seed, phase and number alone."""
        totals: dict[str, float] = defaultdict(float)
        steps = 0
        for rows in self._batches(phase, number):
            for name, loss in self._backward(rows, phase).items():
                totals[name] += loss
            for stepper in steppers.values():
                stepper.step()
            steps += 1
            advance(1)
        means = {name: total / steps for name, total in totals.items()}
        self.model.balance.epoch_done(means)
        return means

    def probe(self, phase: Phase) -> float:
        """Seconds that one step takes, from a few batches whose gradients are thrown away."""
        import time

        batches = list(itertools.islice(self._batches(phase, 0), 2))
        started = time.perf_counter()
        for rows in batches:
            self._backward(rows, phase)
        self.model.zero_grad(set_to_none=True)
        self.text.zero_grad(set_to_none=True)
        return (time.perf_counter() - started) / len(batches)

    def trained(self) -> TrainedTexts:
        """The model as it is now."""
        return TrainedTexts(self.model, self.text, self.loaded, self.train.token_budget)

    def settle(self) -> None:
        """Nothing is kept that depends on the language model's trained weights."""

    def _batches(self, phase: Phase, number: int) -> Iterator[Rows]:
        torch.manual_seed(self.config.seed * 1_000_003 + PHASES.index(phase) * 100_003 + number)
        self.model.train()
        self.text.train(phase == "finetune")
        if phase == "warmup" and self.table is None and not self.model.reads_tokens:
            self.table = self._table()
        rng = np.random.default_rng([self.config.seed, PHASES.index(phase), number])
        return self.sheet.epoch(self.train.batch_size, rng)

    def _backward(self, rows: Rows, phase: Phase) -> dict[str, float]:
        """The gradient of a batch, in pieces of at most ``train.token_budget`` tokens; mean losses by head."""
        totals: dict[str, float] = defaultdict(float)
        together = bool((self.sheet.group[rows] >= 0).any())
        still = phase == "warmup" and self.table is not None
        for part in [rows] if still else self.sheet.parts(rows, self.train.token_budget, together):
            share = len(part) / len(rows)
            losses = self.model.losses(self._read(part, phase), self.sheet, part)
            self.model.balance.backward({name: loss * share for name, loss in losses.items()}, self._shared(phase))
            for name, loss in losses.items():
                totals[name] += share * float(loss.detach())
        return totals

    def _read(self, rows: Rows, phase: Phase) -> Read:
        if phase == "finetune":
            return read(self.text, self.states, rows, self.sheet, self.model.reads_tokens)
        if self.table is not None:
            return Read(self.table[torch.from_numpy(rows)])
        with torch.no_grad():
            return read(self.text, self.states, rows, self.sheet, self.model.reads_tokens)

    def _shared(self, phase: Phase) -> list[Tensor]:
        opened = [weight for _, weight in self.text.opened()] if phase == "finetune" else []
        return self.model.shared() + opened

    @torch.no_grad()
    def _table(self) -> Tensor:
        """The vectors of all training texts by the language model as it came."""
        table = torch.empty(len(self.sheet), self.loaded.hidden_size)
        for rows in self.sheet.parts(np.arange(len(self.sheet)), self.train.token_budget, together=False):
            table[torch.from_numpy(rows)] = read(self.text, self.states, rows, self.sheet, tokens=False).pooled
        return table
