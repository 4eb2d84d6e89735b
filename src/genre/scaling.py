"""From a sample to the whole: how many times longer each part of a run takes there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from genre.clock import Part
from genre.config import Config
from genre.datasets import Reading

CATALOGUE = ("all item vectors", "write texts", "tokenise", "find states", "write states", "frozen layers")
"""Parts that grow with the texts of the catalogue, where the model reads items."""
ONCE = ("load", "read", "write", "estimate", "few-events curve")
"""Parts that do not grow with the log."""
STILL = ("warmup", "heads")
"""Phases in which the language model is held still, so that texts are read once in all their epochs."""
PASSES = {"trained layers": 2, "read states": 2, "backward, layers": 1}
"""How often a round reads each of its distinct items in a part, where the model reads items."""
MOST_WATCHED = 5000
"""People that validation asks at most."""


def sizes_of(reading: Reading, max_history: int) -> dict[str, int]:
    """How many interactions, people and items there are, and windows of people's histories to train on."""
    log = reading.interactions
    items = 0 if "item_id" not in log.column_names else len(log["item_id"].unique())
    if reading.items is not None:
        items = reading.items.num_rows
    counts = np.ones(log.num_rows, dtype=np.int64)
    if "user_id" in log.column_names:
        counts = log["user_id"].value_counts().field("counts").to_numpy()
    windows = np.ceil(counts / max_history) + (counts > max_history)
    return {"interactions": log.num_rows, "people": len(counts), "items": items, "windows": int(windows.sum())}


@dataclass(frozen=True)
class Scale:
    """How many times longer than on the sample a part takes in the whole run: at most, as some things level off."""

    rows: float
    """Interactions of the whole, for each of the sample's."""
    items: float
    catalogue: int
    """Items of the whole."""
    watched: float
    """People of the whole that validation asks, for each of the sample's."""
    steps: int
    """Of an epoch of the whole."""
    rounds: int
    epochs: dict[str, int]
    """Most epochs of each phase."""
    by_item: bool
    """Whether the language model reads items, and not rows or pairs."""

    @classmethod
    def of(cls, config: Config, sizes: dict[str, dict[str, int]]) -> Scale:
        """From the sizes of sample and whole."""
        few, all_ = sizes["sample"], sizes["whole"]
        train = config.train
        epochs = {"warmup": train.warmup_epochs, "heads": train.warmup_epochs}
        epochs |= {"finetune": train.epochs, "contrast": train.contrastive_start}
        rows, items, people = (all_[name] / max(1, few[name]) for name in ("interactions", "items", "people"))
        steps = -(-all_["windows"] // train.batch_size)
        return cls(
            rows=rows,
            items=items,
            catalogue=all_["items"],
            watched=min(people, max(1.0, MOST_WATCHED / max(1, few["people"]))),
            steps=steps,
            rounds=-(-steps // train.steps_per_round),
            epochs=epochs,
            by_item=config.model.formulation.reads == "items",
        )

    def factor(self, stretch: str, name: str, part: Part) -> float:
        """For one part of a stretch."""
        epochs = self.epochs.get(stretch, 1)
        if name in ONCE:
            return 1.0
        if name == "checkpoint":
            return epochs
        if not self.by_item:
            once = stretch in STILL and name in ("validation", "all text vectors")
            return self.rows * (1 if once else epochs)
        if name == "validation":
            return self.watched * epochs
        return self._of_items(stretch, name, part) * epochs

    def _of_items(self, stretch: str, name: str, part: Part) -> float:
        """For a part of an epoch where the language model reads items."""
        if name in CATALOGUE:
            return self.items
        if stretch not in self.epochs:
            return self.rows
        if name == "optimizer":
            return (self.steps + (self.rounds if stretch == "finetune" else 0)) / part.calls
        if name in PASSES and part.amounts.get("texts"):
            # A round reads each of its items once, however often it occurs: no more than there are.
            return min(self.rows, PASSES[name] * self.rounds * self.catalogue / part.amounts["texts"])
        return self.rows
