"""Fine-tuning MiniLM on Amazon Beauty for an epoch: ours in whole, and the textbook loop by a sample of its steps.

Both make the same updates: the configuration `configs/beauty.yaml` without ids, one step of the language model a batch
(``steps_per_round: 1``), which the gradient tests hold to one graph over the whole batch. So the validation NDCG at the
end is the same, and what is compared is the time to it. Ours is measured in whole, the states below the trained layer
included. An epoch of the textbook loop, padded to 128 tokens, every occurrence, all layers, would take most of a day: a
few parts of its steps, one in `PART` of the people and of the negatives of each, are timed and multiplied.
"""

from __future__ import annotations

import itertools
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from genre.configfile import load
from genre.data import Log
from genre.errors import GenreError
from genre.fitting import Fitter
from genre.hidden import states_in
from genre.prepare import build
from genre.validation import Validation
from speedrows import table
from speedrows.training import Loop, whole_model

CONFIG = Path(__file__).parent.parent.parent / "configs" / "beauty.yaml"
PART = 32
"""One in so many people of a batch is in a timed part of it, with as small a share of the negatives."""
NEGATIVES = 1024
CHANGES = ["model.ids=false", "train.warmup_epochs=4", f"model.heads.next.negatives={NEGATIVES}"]
"""To the configuration; the measured epoch starts where the fine-tuning of a run starts, after the warm-up."""


def main(repeats: int) -> dict[str, Any]:
    """Measure and print. Raises `SystemExit` where the data are not there."""
    config = load(CONFIG, CHANGES)
    size = config.train.batch_size
    try:
        data = build(config.data.reader.read(), config.data, seed=config.seed)
    except GenreError as error:
        raise SystemExit(f"Amazon Beauty is needed: {error}") from error
    data.manifest["hash"] = "benchmark"
    rng = np.random.default_rng(7)
    with tempfile.TemporaryDirectory() as folder, states_in(Path(folder)):
        started = time.perf_counter()
        fitter = Fitter(config, data)
        reading = time.perf_counter() - started
        measure = Validation(Log.of(data), config.model.heads, "ndcg@10")
        steppers = fitter.steppers("warmup")
        for number in range(1, config.train.warmup_epochs + 1):
            fitter.epoch("warmup", number, steppers, lambda done: None)
        before = measure.measure(fitter.trained())["ndcg@10"]
        batches = list(fitter.log.epoch(size, rng))
        steppers = fitter.steppers("finetune")
        fitter.model.train()
        started = time.perf_counter()
        for batch in batches:
            list(fitter.round([batch], "finetune", steppers))
        seconds = time.perf_counter() - started
        fitter.settle()
        after = measure.measure(fitter.trained())["ndcg@10"]
        del fitter, steppers
        small = load(
            CONFIG, [*CHANGES, f"train.batch_size={size // PART}", f"model.heads.next.negatives={1024 // PART}"]
        )
        loop = Loop(data, small, whole_model(pad=True), each=True)
    times = []
    for part in itertools.islice(loop.fitter.log.epoch(size // PART, rng), repeats):
        started = time.perf_counter()
        loop.epoch([part])
        times.append((time.perf_counter() - started) * PART * len(batches))
    rows = [
        row("ours, the epoch", [seconds]),
        row("ours, the epoch and the states below the trained layer", [seconds + reading]),
        row(f"textbook (from {len(times)} parts of steps, one in {PART} people, multiplied)", times),
    ]
    table.show(f"an epoch of {len(batches)} steps on Amazon Beauty", rows)
    print(f"validation NDCG@10: {before:.4f} before the epoch, {after:.4f} after it")
    return {"rows": rows, "steps": len(batches), "before": before, "after": after}


def row(way: str, seconds: list[float]) -> dict[str, Any]:
    """A row of the table."""
    return {
        "way": way,
        "seconds": float(np.median(seconds)),
        "range": [min(seconds), max(seconds)],
        "times": len(seconds),
    }
