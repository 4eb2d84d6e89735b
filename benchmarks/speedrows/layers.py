"""An epoch of fine-tuning after the first: LoRA on the top layers beside every weight of every layer, in our own loop.

Both train the quickstart's tasks on the same batches. What `full` changes begins at the words, so that nothing below it
can be kept; `lora` on two of six layers reads the states below from the disk.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from genre.component import Slot
from genre.config import Config
from genre.data import Dataset
from genre.fitting import Fitter
from speedrows import table
from speedrows.training import configuration, small_log

WAYS = {
    "LoRA on the top layer": {"type": "lora", "layers": 1},
    "LoRA on the two top layers": {"type": "lora", "layers": 2},
    "the two top layers, every weight": {"type": "top_layers", "layers": 2},
    "LoRA on all layers": {"type": "lora", "layers": 6},
    "full: every weight of all layers": "full",
}


def epoch(data: Dataset, config: Config, adapter: Any) -> Callable[[], float]:
    """Seconds of an epoch of fine-tuning."""
    model = dataclasses.replace(config.model, adapter=Slot("adapters").build(adapter))
    fitter = Fitter(dataclasses.replace(config, model=model), data)
    steppers = fitter.steppers("finetune")
    batches = list(fitter.log.epoch(config.train.batch_size, np.random.default_rng(7)))
    size = config.train.steps_per_round

    def run() -> float:
        fitter.model.train()
        started = time.perf_counter()
        for i in range(0, len(batches), size):
            list(fitter.round(batches[i : i + size], "finetune", steppers))
        return time.perf_counter() - started

    return run


def main(repeats: int, users: int) -> dict[str, Any]:
    """Measure and print; so many ``users`` of the log."""
    data, config = small_log(users), configuration(4)
    rows = table.measure([table.Way(name, epoch(data, config, adapter)) for name, adapter in WAYS.items()], repeats)
    table.show(f"an epoch of fine-tuning on {data.interactions.num_rows:,} interactions", rows)
    return {"rows": rows, "interactions": data.interactions.num_rows}
