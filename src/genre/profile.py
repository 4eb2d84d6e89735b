"""Where the time of a run goes: each stage once, on some of the people, its parts beside what the machine can do."""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from genre.breakdown import Rates, bars, breakdown, peaks, rates_of
from genre.clock import Clock, listening, stretch, timed
from genre.component import Slot, describe
from genre.config import Config
from genre.data import Dataset
from genre.datasets import Reading
from genre.errors import GenreError
from genre.evaluate import evaluate
from genre.figures import alone, stacked
from genre.files import replacing_folder, seal, write_json, write_text
from genre.fitting import Fitter
from genre.hidden import states_in
from genre.limits import (
    PROBE_SECONDS,
    Operations,
    Shape,
    bandwidth,
    best_threads,
    cores,
    gemm_peak,
    thread_speeds,
    use_threads,
    wait_policies,
)
from genre.prepare import build, seed_of
from genre.progress import progress
from genre.rank import rank
from genre.run import Run, machine, versions
from genre.sampling import sample
from genre.scaling import Scale, sizes_of
from genre.stack import computes_bfloat16
from genre.textencoder import load
from genre.textfitting import TextFitter
from genre.train import shapes_of, train
from genre.wastes import wastes

FORMAT = 1
"""Version of the folder's layout."""
PILOT = {"items": 3000, "rows": 300, "pairs": 200}
"""Interactions of the first look, by which the sample is made as large as the time allows, by what a text is."""
FEWEST = 100
"""Interactions of the smallest sample."""
FIXED = 10.0
"""Seconds that the stages take besides, however small the sample."""
RANKING = {"items": 0.4, "rows": 0.4, "pairs": 1.5}
"""Seconds of ranking and evaluating for each second of training, as long as they are not measured."""


TABLE = "all text vectors"


@dataclass(frozen=True)
class Pilot:
    """What a first look at a few people says: of how much each step is made, and how long it takes."""

    seconds: dict[str, float]
    """A step, by phase."""
    rows_per_step: float
    reading: float
    """What is done once, such as reading each text by the layers that are not trained: seconds an interaction."""
    rates: Rates
    ranking: float
    """What the stages after training take, for each second of it."""

    def estimate(self, rows: int) -> float:
        """Seconds that the profile of so many interactions takes."""
        steps = rows / self.rows_per_step
        training = steps * sum(self.seconds.values()) + rows * self.reading
        return FIXED + (1 + self.ranking) * training


class Profile:
    """One profile of a configuration."""

    def __init__(self, config: Config, run: Run, seconds: float, say: Callable[[str], None]) -> None:
        self.config, self.run, self.seconds, self.say = config, run, seconds, say
        once = {"warmup_epochs": 1, "epochs": 1, "contrastive_start": 1}
        fewer = {name: min(most, getattr(config.train, name)) for name, most in once.items()}
        # A clock hears its own process alone.
        here = Slot("executors").build("local")
        self.short = replace(config, name="sample", train=replace(config.train, **fewer), executor=here)
        self.clock = Clock()

    def measure(self) -> dict[str, Any]:
        """The whole profile, and what the run's ``profile/`` holds."""
        self.started = time.perf_counter()
        shapes = shapes_of(self.config)
        use_threads(self.config.train.threads, shapes, self.say)
        limits = self._limits(shapes)
        with tempfile.TemporaryDirectory(prefix="genre-profile-") as folder, peaks(self.clock) as highest:
            self.scratch = Path(folder)
            with listening(self.clock), stretch("prepare"), timed("read"):
                reading = self.config.data.reader.read()
            rows, pilot = self._first_look(reading)
            about, total = pilot.estimate(rows), reading.interactions.num_rows
            self.say(f"{rows} of {total} interactions, one epoch a phase: about {about:.0f} seconds")
            few = sample(reading, rows, self.config.seed)
            with listening(self.clock):
                self._stages(few)
        longest = self.config.model.max_history
        sizes = {"sample": sizes_of(few, longest), "whole": sizes_of(reading, longest)}
        found = {
            "run": self.config.name,
            "machine": {**machine(), "threads": torch.get_num_threads(), "usable_cores": cores()},
            "versions": versions(),
            "limits": limits,
            "sizes": sizes,
            "fills_a_batch": sizes["sample"]["windows"] >= min(self.config.train.batch_size, sizes["whole"]["windows"]),
            "stretches": breakdown(self.clock, pilot.rates, Scale.of(self.config, sizes), self._peak(limits), highest),
            "seconds": round(time.perf_counter() - self.started, 1),
        }
        return {**found, "wastes": wastes(found, self.config)}

    def _limits(self, shapes: list[Shape]) -> dict[str, Any]:
        """What the machine can do, and with how many threads."""
        # A short profile has short probes.
        some = min(1.0, self.seconds / 60)
        found: dict[str, Any] = {"flops": gemm_peak(shapes, some), "bytes_per_s": bandwidth(0.5 * some)}
        if computes_bfloat16():
            found["bfloat16_flops"] = gemm_peak(shapes, some, torch.bfloat16)
        speeds = thread_speeds(shapes, cores(), PROBE_SECONDS * some)
        found |= {"threads": speeds, "best_threads": best_threads(speeds)}
        if found["best_threads"] > 1:
            found["wait_policy"] = wait_policies(shapes, found["best_threads"])
        return found

    def _peak(self, limits: dict[str, Any]) -> tuple[float, float]:
        short = self.config.train.precision == "bfloat16"
        return limits["flops"], limits.get("bfloat16_flops", limits["flops"]) if short else limits["flops"]

    def _first_look(self, reading: Reading) -> tuple[int, Pilot]:
        """How many interactions the time allows for, and what each part of a step is made of."""
        total, rows = reading.interactions.num_rows, PILOT[self.config.model.formulation.reads]
        while True:
            try:
                with redirect_stdout(io.StringIO()):
                    pilot = self._pilot(sample(reading, rows, self.config.seed))
                break
            except GenreError:
                # So few people may lack a class of a label, or a validation part.
                if rows >= total:
                    raise
                rows *= 4
        left = self.seconds - (time.perf_counter() - self.started)
        if pilot.estimate(total) <= left:
            return total, pilot
        low, high = min(FEWEST, total), total
        while high - low > max(1, low // 20):
            middle = (low + high) // 2
            low, high = (middle, high) if pilot.estimate(middle) <= left else (low, middle)
        return low, pilot

    def _pilot(self, reading: Reading) -> Pilot:
        self._prepare(reading, "pilot")
        data = Dataset.load(self.scratch / "pilot")
        operations = Operations()
        counting = Clock(lambda: operations.total)
        with states_in(self.scratch / "pilot-states"), listening(counting), operations:
            with stretch("set-up"):
                items = self.config.model.formulation.reads == "items"
                fitter = Fitter(self.short, data) if items else TextFitter(self.short, data)
            for phase in fitter.phases():
                with stretch(phase):
                    fitter.probe(phase)
        seconds = {phase: fitter.probe(phase) for phase in fitter.phases()}
        once = [part.seconds for name, part in counting.stretches["set-up"].items() if name != "load"]
        once += [parts[TABLE].seconds for parts in counting.stretches.values() if TABLE in parts]
        rows = reading.interactions.num_rows
        ranking = RANKING[self.config.model.formulation.reads]
        return Pilot(seconds, rows / fitter.steps_per_epoch(), sum(once) / rows, rates_of(counting), ranking)

    def _stages(self, reading: Reading) -> None:
        """Every stage in order on a sample."""
        # What the first look has read into memory is read again, as a run would.
        load.cache_clear()
        run = Run.create(self.short, self.scratch)
        stages: dict[str, Callable[[], object]] = {
            "prepare": lambda: self._prepare(reading, "sample/data"),
            "set-up": lambda: train(self.short, run),
            "rank": lambda: rank(self.short, run),
            "evaluate": lambda: evaluate(self.short, run),
        }
        if self.config.model.formulation.reads == "rows":
            del stages["rank"]
        operations = Operations()
        self.clock.counter = lambda: operations.total
        with states_in(self.scratch / "states"), progress("profile", len(stages)) as advance:
            for name, stage in stages.items():
                # Steps of small matrices would be slowed by the counting; theirs are counted in the first look.
                counted = operations if name in ("rank", "evaluate") else nullcontext()
                with redirect_stdout(io.StringIO()), stretch(name), counted:
                    stage()
                advance(1)

    def _prepare(self, reading: Reading, folder: str) -> None:
        with timed("check and split"):
            data = build(reading, self.config.data, seed_of(self.config))
        with timed("write"):
            data.save(self.scratch / folder)


def profile(config: Config, run: Run, seconds: float = 90.0, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Run each stage of ``config`` once on as many people as about ``seconds`` allow; writes ``profile/`` of the run.

    Raises `GenreError` where a stage does. Nothing else of the run is touched.
    """
    found = Profile(config, run, seconds, say).measure()
    with replacing_folder(run.path("profile")) as aside:
        write_json(aside / "profile.json", found)
        write_text(aside / "profile.svg", alone(stacked("profile", bars(found["stretches"]), "seconds on the sample")))
        seal(aside, FORMAT, run=config.name, reader=describe(config.data.reader))
    return found
