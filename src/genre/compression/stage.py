"""The stage that makes a finished run's language model smaller and faster, and measures what that costs."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from genre.backbones import Shape
from genre.component import describe, name_of, names, suggest
from genre.compression.budgets import Budget, cheapest
from genre.compression.compressed import FORMAT, CompressedModel, original
from genre.compression.formjudges import Judge, RankingJudge, TextJudge
from genre.compression.forms import Served, runtime_of, size_of
from genre.compression.formsteps import WHOLE, checked, shape_of_network
from genre.compression.formtimes import BATCH, BATCHES, ROUNDS, SINGLE, times_of
from genre.compression.pairjudge import PairJudge
from genre.compressors import Compressor, Material
from genre.config import Config
from genre.data import Dataset
from genre.errors import ConfigError, GenreError, RunError
from genre.figures import alone, costs
from genre.files import digest, replacing_folder, seal, unseal, write_json, write_text
from genre.model import TrainedModel
from genre.resources import hash_of
from genre.run import Run
from genre.states import save_state
from genre.textmodel import load_heads

HELD_OUT = 0.1
"""Share of the run's texts that no step learns from: on them it is seen how a form reads a text that is new to it."""
MOST_HELD_OUT = 2000


@dataclass
class Compression:
    """One compressing of a run."""

    config: Config
    run: Run
    say: Callable[[str], None]

    def __post_init__(self) -> None:
        self.folder = self.run.path("model") / "finetuned"
        reads = self.config.model.formulation.reads
        if not self.folder.exists():
            raise RunError(f"{self.folder}: not there; make it with 'genre train {self.run.folder}'")
        if reads == "items" and not self.config.model.text:
            raise GenreError("model.text is false, so there is no language model to compress")
        self.data = Dataset.load(self.run.path("data"))
        self.whole, self.encoder = original(self.folder, self.config.model)
        self.judge: Judge
        if reads == "items":
            model = TrainedModel.load(self.folder, self.data)
            self.judge = RankingJudge(self.config, self.data, model, self.whole)
        else:
            heads = load_heads(self.folder, self.data, self.whole)
            self.judge = (
                PairJudge(self.config, self.run, self.data, heads, self.whole)
                if reads == "pairs"
                else TextJudge(self.config, self.data, heads, self.whole)
            )
        everything = self.judge.texts()
        held = np.random.default_rng([self.config.seed, 9]).random(len(everything)) < HELD_OUT
        held[:1], held[1:2] = False, True
        self.texts = [text for text, out in zip(everything, held, strict=True) if not out]
        self.held_out = [text for text, out in zip(everything, held, strict=True) if out] or self.texts
        self.model_hash = hash_of(self.run, "finetuned")
        self._vectors: Any = None

    def make(self, forms: dict[str, list[Compressor]]) -> dict[str, dict[str, Any]]:
        """Make and measure each form that is not there yet from equal steps and an equal model."""
        found = {}
        for number, (name, steps) in enumerate(forms.items(), 1):
            key = self._key(steps)
            known = self._finished(self._target(name), key)
            if known is None:
                started = time.perf_counter()
                known = self._form(name, steps, key)
                self.say(f"{number}/{len(forms)} {name}: made and measured in {time.perf_counter() - started:.1f} s")
            else:
                self.say(f"{number}/{len(forms)} {name}: there already")
            found[name] = known
        return self._timed(found)

    def _timed(self, found: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """The forms with the times that they take to read, one beside the other."""
        times = times_of({name: Served.load(self._target(name)) for name in found}, self.texts)
        return {name: {**form, **times[name]} for name, form in found.items()}

    def estimate(self, forms: dict[str, list[Compressor]]) -> float:
        """Minutes that making and measuring the forms takes at most, from how fast the whole model reads."""
        some = self.texts[:64]
        started = time.perf_counter()
        self.whole.encode(some)
        reading = (time.perf_counter() - started) / len(some)
        todo = [steps for name, steps in forms.items() if not self._finished(self._target(name), self._key(steps))]
        # A text that is learned from is read, and twice as much is done to carry its gradient back; the whole model is
        # measured too, and read once more to compare with.
        learned = sum(3 * getattr(step, "epochs", 0) for steps in todo for step in steps)
        read = learned * len(self.texts) + (len(todo) + 2) * self.judge.count()
        timed = ROUNDS * (SINGLE + BATCHES * BATCH) * (len(forms) + 1)
        return max(1.0, ((read + timed) * reading + 5 * len(todo)) / 60)

    def _target(self, name: str) -> Path:
        return self.run.path("compress") / name

    def _key(self, steps: Sequence[Compressor]) -> str:
        said = [describe(step) for step in steps]
        return digest([FORMAT, said, self.model_hash, self.data.hash, self.config.seed, self.config.evaluate.bootstrap])

    def _finished(self, target: Path, key: str) -> dict[str, Any] | None:
        if not (target / "manifest.json").exists():
            return None
        try:
            manifest = unseal(target, FORMAT, "genre compress")
        except RunError:
            return None
        return manifest["measured"] if manifest["key"] == key else None

    def _form(self, name: str, steps: Sequence[Compressor], key: str) -> dict[str, Any]:
        with replacing_folder(self._target(name)) as aside:
            with tempfile.TemporaryDirectory(prefix="genre-compress-") as scratch:
                made = self._stepped(steps, Path(scratch))
                made.save(aside)
            # What is measured is what was written, as it will be read.
            served = Served.load(aside)
            mb = size_of(aside) / 1e6
            if isinstance(self.judge, RankingJudge):
                self._save_items(served, aside)
            measured = {
                "steps": [describe(step) for step in steps],
                "runtime": runtime_of(served.form.runner),
                "mb": round(mb, 2),
                "vectors_mb": round(_size(aside / "items.safetensors") / 1e6, 3),
                "cosine": round(self._likeness(served), 4),
                "valid": self.judge.losses(served, "valid"),
                "test": self.judge.losses(served, "test"),
            }
            facts = {"run": self.config.name, "model": self.model_hash, "data": self.data.hash}
            seal(aside, FORMAT, **facts, key=key, measured=measured)
        return measured

    def _stepped(self, steps: Sequence[Compressor], scratch: Path) -> Served:
        form = self.whole.form
        for number, step in enumerate(steps):
            folder = scratch / str(number)
            folder.mkdir()
            torch.manual_seed(self.config.seed)
            form = step.compress(form, self._material(folder))
        return replace(self.whole, form=form)

    def _material(self, folder: Path) -> Material:
        section = self.config.model
        pooled = self.encoder.pooled
        return Material(self.texts, self._teacher, pooled, section.max_tokens, folder, self.config.seed)

    def _teacher(self) -> Any:
        if self._vectors is None:
            self._vectors = self.whole.encode(self.texts)
        return self._vectors

    def _likeness(self, served: Served) -> float:
        """Mean cosine with the vectors of the whole model, over texts that no step has learned from."""
        texts = self.held_out[:MOST_HELD_OUT]
        ours, theirs = served.encode(texts), self.whole.encode(texts)
        lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
        return float(((ours * theirs).sum(1) / np.maximum(lengths, 1e-12)).mean())

    def _save_items(self, served: Served, aside: Path) -> None:
        """The catalogue's vectors as this form makes them: what is compared with a person's vector is of one kind."""
        assert isinstance(self.judge, RankingJudge)
        save_state(aside / "items.safetensors", CompressedModel.of(self.judge.model, served, self.data).kept)


def compress(
    config: Config, run: Run, asked: Sequence[str] = (), budget: str | None = None, say: Callable[[str], None] = print
) -> dict[str, Any]:
    """Make the forms that are ``asked`` for, by the configuration's names or by steps, or else all of it.

    Writes ``compress/`` of the run. Which form is chosen is decided on validation; what is told of it is of the test.
    """
    wanted = config.compress.budget if budget is None else budget
    limits = Budget.parse(wanted) if wanted else None
    forms = forms_of(config, asked)
    work = Compression(config, run, say)
    fitting = _fitting(
        forms, shape_of_network(work.whole.form.runner), config.model.formulation.reads, bool(asked), say
    )
    say(f"{len(fitting)} forms, {len(work.texts)} texts to learn from; {work.estimate(fitting):.0f} minutes at most")
    found = work.make({WHOLE: [], **fitting})
    result: dict[str, Any] = {"run": config.name, "model": work.model_hash, "data": work.data.hash, "forms": found}
    if limits is not None:
        result["budget"] = limits.limits
        result["broken"] = {name: limits.broken(form) for name, form in found.items()}
        result["chosen"] = cheapest(limits, found)
    write_json(run.path("compress") / "compress.json", result)
    write_text(run.path("compress") / "compress.svg", alone(costs(found)))
    return result


def forms_of(config: Config, asked: Sequence[str]) -> dict[str, list[Compressor]]:
    """Steps by name. What is asked for is a form of the configuration, or steps with ``+`` between them."""
    if not asked:
        return dict(config.compress.forms)
    return {one.replace("+", "_"): _named(config, one) for one in asked}


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _named(config: Config, asked: str) -> list[Compressor]:
    from genre.component import Slot

    if asked in config.compress.forms:
        return list(config.compress.forms[asked])
    steps = [step.strip() for step in asked.split("+")]
    for step in steps:
        if step not in names("compressors"):
            near = suggest(step, [*config.compress.forms, *names("compressors")])
            raise ConfigError([f"--with: no form and no step is named '{step}'; {near}"])
    return [Slot("compressors").build(step) for step in steps]


def _fitting(
    forms: dict[str, list[Compressor]], shape: Shape, reads: str, insist: bool, say: Callable[[str], None]
) -> dict[str, list[Compressor]]:
    """The forms that the language model allows. Raises `ConfigError` for another if one ``insist``s."""
    fitting = {}
    for name, steps in forms.items():
        try:
            checked(steps, shape, reads)
        except ValueError as error:
            if insist:
                raise ConfigError([f"--with {'+'.join(map(name_of, steps))}: {error}"]) from error
            say(f"{name}: left out, as {error}")
        else:
            fitting[name] = steps
    return fitting
