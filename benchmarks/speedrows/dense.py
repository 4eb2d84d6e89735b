"""How much of what this machine can multiply the trained layers do while the quickstart is fine-tuned.

The limit is the fastest product of matrices of the step's own shapes, or of a large square (`limits.gemm_peak`),
measured right before each of the repeats. Operations are those of products and of attention, counted by torch in a
round of its own, as counting takes time; what else a layer does (norms, activations, adding) counts as time without
operations. The dense part is the trained layers on the way in and back: towers, heads, loss and optimizer are the rest
of the step, whose share of the time stands beside. Needs MovieLens 100K (genre data get movielens-100k).
"""

from __future__ import annotations

import itertools
import statistics
from pathlib import Path
from typing import Any

import numpy as np

from genre.batches import Batch
from genre.clock import Clock, listening, stretch
from genre.configfile import load
from genre.fitting import Fitter
from genre.limits import Operations, gemm_peak
from genre.train import shapes_of
from speedrows.training import small_log

CONFIG = Path(__file__).parent.parent.parent / "configs" / "quickstart.yaml"
ROUNDS = 3
"""Rounds of steps in a repeat."""
PARTS = {"trained layers": "the trained layers, forward", "backward, layers": "the trained layers, backward"}
STEP = "step"


def heard(fitter: Fitter, rounds: list[list[Batch]], clock: Clock) -> dict[str, tuple[float, float]]:
    """Seconds and operations of each part of some rounds of fine-tuning, and of all together."""
    steppers = fitter.steppers("finetune")
    fitter.model.train()
    with listening(clock), stretch(STEP):
        for batches in rounds:
            list(fitter.round(batches, "finetune", steppers))
    parts = {name: (part.seconds, part.counted) for name, part in clock.stretches[STEP].items()}
    return {**parts, STEP: (sum(s for s, _ in parts.values()), sum(n for _, n in parts.values()))}


def main(repeats: int, users: int, changes: list[str] | None = None) -> dict[str, Any]:
    """Measure and print; so many ``users`` of the log, and ``changes`` to the configuration."""
    data, config = small_log(users), load(CONFIG, changes or [])
    fitter, shapes, size = Fitter(config, data), shapes_of(config), config.train.steps_per_round
    drawn = fitter.log.epoch(config.train.batch_size, np.random.default_rng(7))
    rounds = [some for _ in range(ROUNDS) if (some := list(itertools.islice(drawn, size)))]
    operations = Operations()
    with operations:
        counted = heard(fitter, rounds, Clock(lambda: operations.total))
    peaks, speeds, times = list[float](), dict[str, list[float]](), list[float]()
    for repeat in range(repeats + 1):
        peak, found = gemm_peak(shapes, 1.0), heard(fitter, rounds, Clock())
        # The first time fills what is kept between steps.
        if repeat == 0:
            continue
        peaks.append(peak)
        seconds = {name: found[part][0] for part, name in PARTS.items()}
        done = {name: counted[part][1] for part, name in PARTS.items()}
        for name, spent in seconds.items():
            speeds.setdefault(name, []).append(done[name] / spent)
        speeds.setdefault("both: the step's dense part", []).append(sum(done.values()) / sum(seconds.values()))
        times.append(sum(seconds.values()) / found[STEP][0])
    rows = [row("the fastest product of matrices: the limit", peaks, peaks)]
    rows += [row(name, one, peaks) for name, one in speeds.items()]
    show(rows, statistics.median(times))
    return {"rows": rows, "of_the_step": statistics.median(times), "interactions": data.interactions.num_rows}


def row(part: str, speeds: list[float], peaks: list[float]) -> dict[str, Any]:
    """A row of the table; shares are those of the peak measured right before."""
    shares = [speed / peak for speed, peak in zip(speeds, peaks, strict=True)]
    return {
        "part": part,
        "gflops": statistics.median(speeds) / 1e9,
        "range": [min(speeds) / 1e9, max(speeds) / 1e9],
        "share": statistics.median(shares),
        "share_range": [min(shares), max(shares)],
    }


def show(rows: list[dict[str, Any]], of_the_step: float) -> None:
    """Print the table."""
    print(f"the step's dense part, {of_the_step:.0%} of the step's time\n{'GFLOP/s':>10} {'share':>7} {'range':>15}")
    for one in rows:
        low, high = one["share_range"]
        print(f"{one['gflops']:10.1f} {one['share']:7.1%} {f'{low:.1%} - {high:.1%}':>15}  {one['part']}")
