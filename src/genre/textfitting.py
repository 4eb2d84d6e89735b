"""The training loop of the formulations `text` and `cross`: batches of texts, each read once a step."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from genre.clock import timed, timed_each, times
from genre.config import Config
from genre.contrast import pair_loss
from genre.data import Dataset
from genre.errors import GenreError
from genre.fitting import PHASES, Phase
from genre.heads import Examples, Head, LabelFacts
from genre.model import label_facts, language_of
from genre.noise import dealt_noise, padded_to
from genre.parallel import team
from genre.perturbations import Pass, Perturbation, Reading, Said
from genre.sharding import put_in_place
from genre.sharing import TextShare, gathered
from genre.sheets import IGNORED, SOURCE, Rows, SheetMaker
from genre.stepping import Stepper, tables_of
from genre.textencoder import build, load
from genre.textmodel import Read, TextTaskModel, TrainedTexts, read, read_states

LEARNING: tuple[Phase, ...] = ("contrast", "finetune")
"""The phases in which the language model learns."""


class TextFitter:
    """Everything that training holds: heads, text encoder, the sheet of training texts and their hidden states."""

    def __init__(self, config: Config, data: Dataset) -> None:
        torch.manual_seed(config.seed)
        section = config.model
        self.config, self.section, self.train = config, section, config.train
        self.loaded = load(section.backbone)
        self.text, self.tuning = build(section, self.loaded, self.train)
        put_in_place(self.text)
        self.maker = SheetMaker(section, self.loaded, data, config.seed, self.train.shots)
        self.sheet = self.maker.part("train")
        if not len(self.sheet):
            raise GenreError("the training part has no texts; check data.split")
        self._check()
        self.states = self.sheet.states(self.loaded, self.text.stack.taps, self.train.token_budget, self.most_bytes)
        labels = {name: self._facts(name) for name in self.sheet.labels}
        self.model = TextTaskModel(section, labels, self.loaded.hidden_size, language_of(self.loaded))
        self.n_interactions = len(self.sheet)
        self.table: Tensor | None = None
        self.table_of: Phase | None = None
        """The phase that the table was made for."""

    @property
    def most_bytes(self) -> float:
        """Room on disk for the hidden states of a sheet."""
        return self.train.cache_gb * 1e9

    def _facts(self, name: str) -> LabelFacts:
        head = self.section.heads[name]
        if head.predicts == "tokens":
            return LabelFacts(names=tuple(self.maker.names(head.label)))
        return label_facts(self.sheet.labels[name], self.maker.words(head.label))

    def _check(self) -> None:
        """Raise `GenreError` where what is trained on cannot serve a setting."""
        if self.train.temperature is not None and self.sheet.source is None:
            raise GenreError(
                f"train.temperature: the interactions have no column '{SOURCE}' of words; take data.reader: union"
            )
        if self.train.contrastive_start:
            if self.section.formulation.reads != "rows" or self._contrasted() is None:
                raise GenreError(
                    "train.contrastive_start tells classes of texts apart: it needs model.formulation: text and a "
                    "binary or multiclass head"
                )
            if not self.text.trainable:
                raise GenreError("train.contrastive_start: model.adapter opens no weight of the language model")

    def _contrasted(self) -> str | None:
        """The head whose classes a contrastive start tells apart: the first that has any."""
        heads = self.section.heads.items()
        return next((name for name, head in heads if head.predicts in ("binary", "multiclass")), None)

    def phases(self) -> list[Phase]:
        """The phases that have anything to do, in order.

        A contrastive start comes after the warm-up, so that the model kept at its end still has the language model as
        it came; then the heads are trained again on what the start has made of the texts. Training ends with the best
        that came after the start, even where the model before it was better.
        """
        found: list[Phase] = ["warmup"]
        if self.train.contrastive_start:
            found.extend(("contrast", "heads"))
        if self.text.trainable and self.train.epochs > 0:
            found.append("finetune")
        return found

    def most_epochs(self, phase: Phase) -> int:
        """Epochs after which the phase ends at the latest."""
        if phase == "contrast":
            return self.train.contrastive_start
        return self.train.epochs if phase == "finetune" else self.train.warmup_epochs

    def steps_per_epoch(self) -> int:
        """Most steps that an epoch can have."""
        return self.sheet.count(self.train.batch_size, self.train.temperature)

    def steppers(self, phase: Phase) -> dict[str, Stepper]:
        """Optimizers of a phase, by the group of weights that each moves."""
        steps = self.most_epochs(phase) * self.steps_per_epoch()
        rates = self.train.lr
        if phase == "contrast":
            # What an adapter does around the steps, such as shrinking, it plans for the steps of fine-tuning.
            tuning = replace(self.tuning, after_step=None)
            return {"backbone": Stepper.over(self.text.opened(), rates.backbone, steps, self.train, tuning)}
        rest = rates.rest_finetune if phase == "finetune" else rates.rest
        named, tables = self.model.named_parameters(), tables_of(self.model)
        made = {"rest": Stepper.over(named, rest, steps, self.train, tables=tables)}
        if phase == "finetune":
            made["backbone"] = Stepper.over(self.text.opened(), rates.backbone, steps, self.train, self.tuning)
        return made

    def epoch(
        self, phase: Phase, number: int, steppers: dict[str, Stepper], advance: Callable[[int], None]
    ) -> dict[str, float]:
        """Train one epoch; mean losses by head. Its randomness depends on seed, phase and number alone."""
        totals: dict[str, float] = defaultdict(float)
        steps = 0
        for rows in timed_each("batching", self._batches(phase, number)):
            for name, loss in self._backward(rows, phase).items():
                totals[name] += loss
            for stepper in steppers.values():
                stepper.step()
            steps += 1
            advance(1)
        means = team().means({name: total / steps for name, total in totals.items()})
        if phase != "contrast":
            self.model.balance.epoch_done(means)
        return means

    def probe(self, phase: Phase, plain: bool = False) -> float:
        """Seconds that one step takes, from a few batches whose gradients are thrown away.

        ``plain`` leaves ``train.perturb`` out.
        """
        import time

        batches = list(itertools.islice(self._batches(phase, 0), 2))
        started = time.perf_counter()
        for rows in batches:
            self._backward(rows, phase, plain)
        self.model.zero_grad(set_to_none=True)
        self.text.zero_grad(set_to_none=True)
        return (time.perf_counter() - started) / len(batches)

    def costs(self) -> dict[str, dict[str, float]]:
        """Seconds a step of fine-tuning with ``train.perturb`` and without; nothing where it is not set."""
        if self.train.perturb is None or "finetune" not in self.phases():
            return {}
        self.probe("finetune")
        seconds, plain = self.probe("finetune"), self.probe("finetune", plain=True)
        return {"perturb": {"seconds_per_step": seconds, "without": plain, "factor": seconds / plain}}

    def trained(self) -> TrainedTexts:
        """The model as it is now."""
        return TrainedTexts(self.model, self.text, self.loaded, self.train.token_budget)

    def settle(self) -> None:
        """Nothing is kept that depends on the language model's trained weights."""

    def _batches(self, phase: Phase, number: int) -> Iterator[Rows]:
        torch.manual_seed(self.config.seed * 1_000_003 + PHASES.index(phase) * 100_003 + number)
        self.model.train()
        self.text.train(phase in LEARNING)
        if phase not in LEARNING and self.table_of != phase and not self.model.reads_tokens:
            self.table, self.table_of = self._table(), phase
        rng = np.random.default_rng([self.config.seed, PHASES.index(phase), number])
        return self.sheet.epoch(self.train.batch_size, rng, self.train.temperature)

    def _backward(self, rows: Rows, phase: Phase, plain: bool = False) -> dict[str, float]:
        """The gradient of a batch, in pieces of at most ``train.token_budget`` tokens; mean losses by head."""
        if phase == "contrast":
            return self._contrast(rows)
        totals: dict[str, float] = defaultdict(float)
        together = bool((self.sheet.group[rows] >= 0).any())
        still = phase not in LEARNING and self.table is not None
        perturb = self.train.perturb if phase == "finetune" and not plain else None
        budget = self.train.token_budget // (1 if perturb is None else perturb.passes)
        for part in [rows] if still else self.sheet.parts(rows, budget, together):
            share = len(part) / len(rows)
            for name, loss in self._piece(part, phase, perturb, share, together).items():
                totals[name] += share * float(loss.detach())
        return totals

    def _piece(
        self, part: Rows, phase: Phase, perturb: Perturbation | None, share: float, together: bool
    ) -> dict[str, Tensor]:
        """The gradient of a piece that is a ``share`` of its batch, or of what this worker has of it; the losses."""
        mine = None if team().alone else TextShare.of(part, self.sheet, team(), together)
        rows, longest = (part, 0) if mine is None else (mine.rows, mine.longest)
        with nullcontext() if mine is None else dealt_noise(mine.dealt):
            losses = self._perturbed(rows, perturb, longest) if perturb else self._losses(rows, phase, longest)
            if mine is not None:
                losses = team().weighed(losses, mine.counts(self.section.heads, self.model.heads, self.sheet))
            with timed("backward"):
                self.model.balance.backward(losses, self._shared(phase), share)
        return losses

    def _contrast(self, rows: Rows) -> dict[str, float]:
        """The gradient of the pairs of texts within each piece of a batch, and their mean loss."""
        name = self._contrasted()
        assert name is not None
        labels = torch.from_numpy(self.sheet.labels[name])
        known = rows[~np.isnan(self.sheet.labels[name][rows])]
        total = 0.0
        for part in self.sheet.parts(known, self.train.token_budget, together=False) if len(known) else []:
            share = TextShare.of(part, self.sheet, team())
            with nullcontext() if team().alone else dealt_noise(share.dealt):
                vectors = read(self.text, self.states, share.rows, self.sheet, False, share.longest).pooled
                # All see all pairs; what one's own texts have of the gradient is a part of a sum, not of a mean.
                everybody = vectors if team().alone else gathered(vectors, share, team())
                loss = pair_loss(everybody, labels[torch.from_numpy(part)]) * (len(part) / len(known))
                with timed("backward"):
                    (team().size * loss).backward()
            total += float(loss.detach())
        return {"contrast": total}

    def _losses(self, rows: Rows, phase: Phase, longest: int = 0) -> dict[str, Tensor]:
        return self.model.losses(self._made(rows, phase, longest), self.sheet, rows)

    def _made(self, rows: Rows, phase: Phase, longest: int) -> Read:
        """What the language model makes of some rows, with a graph where it learns."""
        if phase == "finetune":
            return read(self.text, self.states, rows, self.sheet, self.model.reads_tokens, longest)
        if self.table is not None:
            return Read(self.table[torch.from_numpy(rows)])
        with torch.no_grad():
            return read(self.text, self.states, rows, self.sheet, self.model.reads_tokens, longest)

    def _perturbed(self, rows: Rows, perturb: Perturbation, longest: int = 0) -> dict[str, Tensor]:
        entering, real = padded_to(*self.states.batch(rows), longest)

        def once(states: Tensor) -> Pass:
            made = read_states(self.text, states, real, rows, self.sheet, self.model.reads_tokens)
            examples = list(self.model.examples(made, self.sheet, rows))
            losses = {name: head.loss(self.model.heads[f"head_{name}"], one) for name, head, one in examples}
            return Pass(losses, lambda: self._said(examples))

        mask = torch.ones(entering.shape[:2], dtype=torch.bool) if real is None else real
        weights = {name: head.weight for name, head in self.section.heads.items()}
        return perturb.losses(Reading(entering, mask, once, weights))

    def _said(self, examples: list[tuple[str, Head, Examples]]) -> dict[str, Said]:
        """What the heads predict of the rows, or tokens, whose label is known."""
        found: dict[str, Said] = {}
        for name, head, one in examples:
            if head.predicts == "nothing":
                continue
            values = head.predict(self.model.heads[f"head_{name}"], one)
            if head.predicts == "tokens":
                assert one.tokens is not None
                values = values[one.tokens.labels != IGNORED]
            else:
                values = values[~one.labels.isnan()]
            if head.predicts == "regression":
                values = values / (self.model.labels[name].std or 1.0)
            found[name] = Said(head.predicts, values)
        return found

    def _shared(self, phase: Phase) -> list[Tensor]:
        opened = [weight for _, weight in self.text.opened()] if phase == "finetune" else []
        return self.model.shared() + opened

    @times("all text vectors", whole=True)
    @torch.no_grad()
    def _table(self) -> Tensor:
        """The vectors of all training texts by the language model as it is."""
        table = torch.zeros(len(self.sheet), self.loaded.hidden_size)
        for part in self.sheet.parts(np.arange(len(self.sheet)), self.train.token_budget, together=False):
            at, weight = team().dealt(len(part))
            made = read(self.text, self.states, part[at], self.sheet, tokens=False)
            table[torch.from_numpy(part[at])] = weight * made.pooled
        return team().sum(table)
