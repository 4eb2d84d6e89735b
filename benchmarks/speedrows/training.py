"""How many interactions a second the step of training learns from.

The textbook loop pads every text to 128 tokens, encodes an item each time it occurs in a batch, and runs every layer in
every step. Each row of the table takes one of these away. All rows train the same model on the same batches,
interleaved within one process; the first and the last also train from the same start, and their validation NDCG stands
beside them. Needs MovieLens 100K (genre data get movielens-100k).
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genre.batches import Batch
from genre.component import Slot
from genre.config import Config, DataSection, ModelSection, TrainSection
from genre.data import Dataset, Log
from genre.fitting import Fitter
from genre.prepare import build
from genre.text import render
from genre.validation import Validation

PADDED = 128
EVENTS = 16
"""Latest events kept of each user, so that the textbook loop ends today."""


def small_log(users: int) -> Dataset:
    """MovieLens 100K with the first ``users`` users and their latest events."""
    section = DataSection(reader=Slot("datasets").build("movielens"))
    reading = section.reader.read()
    table = reading.interactions
    rank = np.lexsort((table["timestamp"].to_numpy().astype(float), table["user_id"].to_numpy().astype(int)))
    ids = table["user_id"].to_numpy().astype(int)[rank]
    latest = np.concatenate([np.flatnonzero(ids == u)[-EVENTS:] for u in range(1, users + 1)])
    reading.interactions = table.take(rank[latest])
    data = build(reading, section, seed=7)
    data.manifest["hash"] = "benchmark"
    return data


def configuration(steps_per_round: int) -> Config:
    """The quickstart's model, small enough for the textbook loop."""
    heads = {"next": {"type": "next_item", "negatives": 64}, "rating": {"type": "regression", "weight": 0.2}}
    return Config(
        data=DataSection(reader=Slot("datasets").build("movielens")),
        model=ModelSection(
            template="{title} ({year}). {categories}", heads=heads, ids=False, dim=64, dropout=0.0, max_history=EVENTS,
            max_tokens=PADDED,
            adapter=Slot("adapters").build({"type": "lora", "layers": 2}),
        ),
        train=TrainSection(batch_size=4, epochs=1, warmup_epochs=0, steps_per_round=steps_per_round),
    )  # fmt: skip


Encode = Callable[["Loop", Batch], Tensor]


class Loop:
    """One way to train: how the text vectors of a batch's rows are made."""

    def __init__(self, data: Dataset, config: Config, encode: Encode | None, each: bool) -> None:
        self.fitter = Fitter(config, data)
        self.encode, self.each = encode, each
        self.steppers = self.fitter.steppers("finetune")
        loaded = config.model.backbone.load()
        self.whole = loaded
        if encode is not None and self.fitter.text is not None:
            # The trained layers are those of the fitter; the layers below are run in every step.
            self.texts = render(data.items, config.model.template)

    def epoch(self, batches: list[Batch]) -> None:
        """Train on the batches once."""
        self.fitter.model.train()
        if self.encode is None:
            size = self.fitter.train.steps_per_round
            for i in range(0, len(batches), size):
                list(self.fitter.round(batches[i : i + size], "finetune", self.steppers))
            return
        for batch in batches:
            used = by_occurrence(batch) if self.each else batch
            vectors = self.fitter.model.items(self.encode(self, used), torch.from_numpy(used.rows))
            self.fitter.model.balance.backward(self.fitter.model.losses(used, vectors), [])
            for stepper in self.steppers.values():
                stepper.step()


def by_occurrence(batch: Batch) -> Batch:
    """The batch with a row for every place in which an item occurs."""
    history, item = batch.rows[batch.history.numpy()], batch.rows[batch.item.numpy()]
    candidates = batch.rows[batch.candidates.numpy()]
    rows = np.concatenate([history.ravel(), item, candidates])
    places = torch.arange(len(rows))
    h, m = history.size, len(item)
    history_places = places[:h].view(batch.history.shape)
    return dataclasses.replace(
        batch, rows=rows, history=history_places, item=places[h : h + m], candidates=places[h + m :]
    )


def whole_model(pad: bool) -> Encode:
    """All layers for every row of the batch, padded to 128 tokens or to the longest of a bucket of like length."""

    def encode(loop: Loop, batch: Batch) -> Tensor:
        text = loop.fitter.text
        assert text is not None
        texts = [loop.texts[i] for i in batch.rows]
        tokens = loop.whole.tokenizer(texts, truncation=True, max_length=PADDED)["input_ids"]
        order = np.argsort([len(t) for t in tokens], kind="stable")
        size = len(order) if pad else 64
        parts = []
        for i in range(0, len(order), size):
            longest = PADDED if pad else max(len(tokens[j]) for j in order[i : i + size])
            ids = torch.tensor([tokens[j] + [0] * (longest - len(tokens[j])) for j in order[i : i + size]])
            real = ids != 0
            states = loop.whole.anatomy.embed(ids)
            of = loop.whole.anatomy.inputs(states, real, 0)
            for layer in loop.whole.layers[: text.stack.first]:
                states = layer(states, **of(layer))
            parts.append(text(states, real))
        back = torch.from_numpy(np.argsort(order))
        return torch.cat(parts)[back]

    return encode


Row = tuple[str, Encode | None, bool, int]
ROWS: list[Row] = [
    ("textbook: padded to 128, every occurrence, all layers", whole_model(pad=True), True, 1),
    ("distinct items once a batch", whole_model(pad=True), False, 1),
    ("and batches of like length", whole_model(pad=False), False, 1),
    ("and layers below the trained ones from the cache", None, False, 1),
    ("and four steps a round (what ships)", None, False, 4),
]


def main(repeats: int, users: int) -> dict[str, Any]:
    """Measure and print; so many ``users`` of the log."""
    data = small_log(users)
    loops = [Loop(data, configuration(size), encode, each) for _, encode, each, size in ROWS]
    batches = list(loops[0].fitter.log.epoch(4, np.random.default_rng(7)))
    quality = {i: train_and_measure(data, ROWS[i], batches) for i in (0, len(ROWS) - 1)}
    seconds: list[list[float]] = [[] for _ in ROWS]
    for _ in range(repeats):
        for loop, times in zip(loops, seconds, strict=True):
            some = batches[:4] if loop.encode else batches
            started = time.perf_counter()
            loop.epoch(some)
            times.append((time.perf_counter() - started) / sum(len(b.item) for b in some))
    return report(seconds, quality)


def train_and_measure(data: Dataset, row: Row, batches: list[Batch]) -> float:
    """Validation NDCG@10 after one epoch from the same start."""
    _, encode, each, _ = row
    loop = Loop(data, configuration(1), encode, each)
    torch.manual_seed(7)
    loop.epoch(batches)
    loop.fitter.settle()
    validation = Validation(Log.of(data), loop.fitter.section.heads, "ndcg@10")
    return validation.measure(loop.fitter.trained())["ndcg@10"]


def report(seconds: list[list[float]], quality: dict[int, float]) -> dict[str, Any]:
    """Print the table of the training step, and give it back."""
    first = statistics.median(seconds[0])
    rows = []
    print(f"{'interactions/s':>15} {'range':>19} {'ratio':>8}  {'NDCG@10':>8}  loop")
    for i, (times, (name, *_)) in enumerate(zip(seconds, ROWS, strict=True)):
        rates = sorted(1 / t for t in times)
        ratio = first / statistics.median(times)
        found = quality.get(i)
        rows.append({"loop": name, "interactions_per_second": rates, "ratio": ratio, "valid_ndcg@10": found})
        low_high = f"{rates[0]:.1f} - {rates[-1]:.1f}"
        shown = f"{found:.4f}" if found is not None else ""
        print(f"{statistics.median(rates):15.1f} {low_high:>19} {ratio:7.1f}x  {shown:>8}  {name}")
    return {"rows": rows}
