"""Stage: fine-tune the model on the training part; writes ``before/`` and ``finetuned/``, curves and costs."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import TypeAdapter
from torch import Tensor

from genre import checkpoint
from genre.checkpoint import Progress, set_weights, weights_of
from genre.clock import stretch, timed, times
from genre.config import Config, TrainSection
from genre.curves import Curves, Watch
from genre.data import PARTS, Dataset, Log
from genre.errors import GenreError
from genre.files import digest, write_json
from genre.fitting import Fitter, Phase
from genre.heads import Head
from genre.labels import CHOSEN
from genre.limits import Shape, step_shapes, use_threads
from genre.model import labels_of
from genre.parallel import team
from genre.progress import progress as progress_bar
from genre.refresh.warmstart import Start, facts_of
from genre.run import Run
from genre.stack import computes_bfloat16
from genre.stepping import averaged
from genre.textencoder import load
from genre.textfitting import TextFitter
from genre.textvalidation import TextValidation
from genre.tracking import pace, started
from genre.types import Floats
from genre.validation import Measure, Validation


def train(config: Config, run: Run, watch: Watch | None = None) -> None:
    """Train the model of ``config`` on the run's data; a training that was cut short goes on where it stopped.

    ``watch`` hears every epoch and may end the training by raising, which leaves the stage undone.

    Raises `GenreError` when there is nothing to learn from, or the loss is no longer finite.
    """
    data = Dataset.load(run.path("data"))
    sections = TypeAdapter(Config).dump_python(config, mode="json")
    # How many threads compute is no part of what is made.
    settings = {name: value for name, value in sections["train"].items() if name != "threads"}
    inputs = {"data": data.hash, "model": sections["model"], "train": settings, "seed": config.seed}
    if config.refresh.start is not None:
        inputs["start"] = facts_of(config)
    key, executor = digest(inputs), config.executor
    if watch is not None and not executor.here:
        # What hears it and may end it is in this process.
        print("executor: a training that is watched, as by a search, is done by one worker")

    def work(folder: Path) -> None:
        if watch is not None or executor.here:
            Training(config, data, folder, key, watch).run()
        else:
            executor.run(train_in_team, config, run.path("data").absolute(), folder.absolute(), key)

    run.do("model", inputs, work)


def train_in_team(config: Config, data: Path, folder: Path, key: str) -> None:
    """What each of several workers does."""
    Training(config, Dataset.load(data), folder, key).run()


class Training:
    """One training: its phases, early stopping, checkpoints."""

    def __init__(self, config: Config, data: Dataset, folder: Path, key: str, watch: Watch | None = None) -> None:
        self.start = None if config.refresh.start is None else Start.of(config, data)
        data = data if self.start is None else self.start.replayed
        self.config, self.data, self.folder, self.key, self.watch = config, data, folder, key, watch
        log = Log.of(data)
        _check(log)
        self.measure = Measure.of(config.train.early_stopping.metric)
        self.fitter: Fitter | TextFitter
        self.validation: Any
        self.saved = folder / "checkpoint"
        with stretch("set-up"):
            self._set_up(log)

    def _set_up(self, log: Log) -> None:
        config, data = self.config, self.data
        heads, reads = config.model.heads, config.model.formulation.reads
        # Of a cross model the negatives are drawn later, and with them the zeros of what was chosen.
        early = {name: head for name, head in heads.items() if reads != "pairs" or head.label != CHOSEN}
        _check_labels(heads, labels_of(log.parts("train"), early))
        if reads == "items":
            _refuse_text_settings(config.train)
        use_threads(config.train.threads, shapes_of(config), print)
        if reads == "items":
            self.fitter = Fitter(config, data)
            self.validation = Validation(log, heads, self.measure.name, seed=config.seed)
        else:
            self.fitter = TextFitter(config, data)
            _check_labels(heads, self.fitter.sheet.labels)
            valid, room = self.fitter.maker.part("valid"), self.fitter.most_bytes
            self.validation = TextValidation(valid, heads, self.measure.name, room, config.seed)
        if self.start is not None:
            self.start.into(self.fitter)

    def run(self) -> None:
        """All phases, then the files that later stages read."""
        if self.config.train.precision == "bfloat16" and not computes_bfloat16():
            print("train.precision: this processor has no bfloat16 instructions, so float32 would be faster")
        stood = self._stood()
        progress = stood or Progress()
        sessions = started(self.config, self.folder.parent, len(progress.curves)) if team().leads else []
        with Curves(self.folder, progress.curves, sessions, self.watch) as curves:
            phases = self.fitter.phases()
            for phase in phases:
                if stood is None:
                    progress.phase, progress.epoch, progress.best_epoch, progress.best = phase, 0, 0, None
                elif phases.index(phase) < phases.index(progress.phase):
                    continue
                with stretch(phase):
                    self._phase(progress, curves, resume=stood is not None and stood.phase == phase)
                    stood = None
                    if phase == "warmup":
                        self._save("before")
        self._save("finetuned")
        self._report(progress)

    def _stood(self) -> Progress | None:
        """Where the training stands, which is the same to all workers."""
        stood = checkpoint.load_progress(self.saved, self.key)
        if len(set(team().joined((stood.phase, stood.epoch) if stood else None))) > 1:
            raise GenreError(f"{self.saved}: workers do not see the same files here; put the run on shared storage")
        return stood

    @times("write", whole=True)
    def _save(self, version: str) -> None:
        trained = self.fitter.trained()
        if team().leads:
            trained.save(self.folder / version, self.data.hash)
        elif trained.text is not None:
            trained.text.trained_state()  # Whoever holds a part of it has to hand it over.

    def _phase(self, progress: Progress, curves: Curves, resume: bool) -> None:
        phase = progress.phase
        steppers = self.fitter.steppers(phase)
        if resume:
            best = checkpoint.restore(self.saved, self.fitter, steppers)
            print(f"{phase}: going on after epoch {progress.epoch}")
        else:
            best = weights_of(self.fitter)
            self._estimate(phase)
            counts = any(getattr(head, "offset", ()) for head in self.config.model.heads.values())
            if phase == "finetune" or self.start is not None or counts:
                # What was fine-tuned before, or counted, is worth keeping where training makes it no better.
                progress.best = self._signed(self._measured())
        patience = self.config.train.early_stopping.patience
        while progress.epoch < self.fitter.most_epochs(phase) and progress.epoch - progress.best_epoch < patience:
            best = self._epoch(progress, curves, steppers, best)
            if progress.epoch % self.config.train.checkpoint_every == 0:
                with timed("checkpoint"):
                    checkpoint.save(self.saved, self.fitter, steppers, progress, best, self.key)
        set_weights(self.fitter, best)
        if phase == "finetune":
            self.fitter.settle()

    def _epoch(
        self, progress: Progress, curves: Curves, steppers: dict[str, Any], best: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        began = time.perf_counter()
        progress.epoch += 1
        steps = self.fitter.steps_per_epoch()
        with progress_bar(f"{progress.phase} epoch {progress.epoch}", steps) as advance:
            losses = self.fitter.epoch(progress.phase, progress.epoch, steppers, advance)
        if not all(math.isfinite(loss) for loss in losses.values()):
            raise GenreError(f"the loss is no longer finite in epoch {progress.epoch} ({losses}); lower train.lr")
        with averaged(steppers.values()):
            if progress.phase == "finetune":
                self.fitter.settle()
            found = {f"loss/{name}": loss for name, loss in losses.items()}
            found |= pace(steppers, self.fitter, time.perf_counter() - began)
            return self._judged(progress, curves, found, best, began)

    def _judged(
        self,
        progress: Progress,
        curves: Curves,
        found: dict[str, float],
        best: dict[str, Tensor],
        began: float,
    ) -> dict[str, Tensor]:
        """Measure an epoch that was trained, of which ``found`` is known; the best weights so far."""
        # The heads cannot answer yet from what a contrastive start makes of the texts, so nothing is chosen there.
        judged = progress.phase != "contrast"
        results = self._measured() if judged else {}
        progress.seconds += time.perf_counter() - began
        row = {"phase": progress.phase, "epoch": progress.epoch, "seconds": round(progress.seconds, 3)}
        row |= found
        row |= {f"valid/{name}": value for name, value in results.items()}
        curves.add(row)
        if not judged:
            progress.best_epoch = progress.epoch
            return weights_of(self.fitter)
        signed = self._signed(results)
        if progress.best is None or signed > progress.best:
            progress.best, progress.best_epoch = signed, progress.epoch
            return weights_of(self.fitter)
        return best

    def _measured(self) -> dict[str, float]:
        trained = self.fitter.trained()
        with timed("validation", whole=True):
            return self.validation.measure(trained)

    def _signed(self, results: dict[str, float]) -> float:
        value = results[self.measure.name]
        return -math.inf if math.isnan(value) else value * self.measure.sign

    def _estimate(self, phase: Phase) -> None:
        epochs = self.fitter.most_epochs(phase)
        if not epochs:
            return
        steps = self.fitter.steps_per_epoch()
        with timed("estimate", whole=True):
            minutes = self.fitter.probe(phase) * steps * epochs / 60
        print(f"{phase}: up to {epochs} epochs of {steps} steps, about {minutes:.1f} minutes, less if it stops early")

    def _report(self, progress: Progress) -> None:
        fitter = self.fitter
        modules = [m for m in (fitter.model, fitter.text) if m is not None]
        opened = [p for p in fitter.text.parameters() if p.requires_grad] if fitter.text is not None else []
        rest = sum(p.numel() for p in fitter.model.parameters())
        facts = {
            "seconds": round(progress.seconds, 2),
            "epochs": {phase: sum(row["phase"] == phase for row in progress.curves) for phase in fitter.phases()},
            "best_epoch": progress.best_epoch,
            "metric": self.measure.name,
            "trainable_parameters": rest + sum(p.numel() for p in opened),
            "trainable_backbone_parameters": sum(p.numel() for p in opened),
            "parameters_in_graph": sum(p.numel() for m in modules for p in m.parameters()),
            "interactions": fitter.n_interactions,
            "threads": torch.get_num_threads(),
            "workers": team().size,
            **(fitter.costs() if isinstance(fitter, TextFitter) else {}),
        }
        if team().leads:
            write_json(self.folder / "training.json", facts)


def shapes_of(config: Config) -> list[Shape]:
    """The products of matrices that a training step of ``config`` is made of."""
    model, train = config.model, config.train
    reads_text = model.text or model.formulation.reads != "items"
    hidden = load(model.backbone).hidden_size if reads_text else 0
    return step_shapes(hidden, model.dim, train.token_budget, train.batch_size * model.max_history)


def _refuse_text_settings(train: TrainSection) -> None:
    """Raise `GenreError` for a setting that is about texts which are read row by row."""
    settings = ("shots", "contrastive_start", "perturb", "temperature")
    if given := [name for name in settings if getattr(train, name)]:
        raise GenreError(
            f"train.{given[0]} works on the texts of rows or pairs, and model.formulation is two_tower, which reads "
            "items; take text or cross, or leave it out"
        )


def _check(log: Log) -> None:
    if not log.parts("train").positive.any():
        raise GenreError("the training part has no interactions (skips aside); check data.split")
    if not (log.part == PARTS.index("valid")).any():
        raise GenreError("the validation part is empty, so training cannot tell when to stop; check data.split")


def _check_labels(heads: dict[str, Head], labels: dict[str, Floats]) -> None:
    """Raise `GenreError` for a head whose label teaches nothing."""
    for name, values in labels.items():
        head, known = heads[name], values[~np.isnan(values)]
        if not len(known):
            raise GenreError(f"model.heads.{name}: no training row has a value for '{head.label}'")
        if head.predicts in ("tokens", "text"):
            continue
        if head.predicts == "binary" and not np.isin(known, (0, 1)).all():
            odd = known[~np.isin(known, (0, 1))][0]
            what = f"'{head.label}' is {odd:g} in some rows, and a yes or no is 0 or 1"
            raise GenreError(f"model.heads.{name}: {what}; write a comparison, such as {head.label} >= {odd:g}")
        if known.min() == known.max():
            what = f"'{head.label}' is {known[0]:g} in all {len(known)} training rows"
            raise GenreError(
                f"model.heads.{name}: {what}; there is nothing to learn, remove the head or change its label"
            )
