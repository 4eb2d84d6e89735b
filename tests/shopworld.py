"""A shop that explored: slates of a known softmax, and people whose clicks follow known chances."""

from __future__ import annotations

import functools
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from genre.component import Slot
from genre.datasets import Reading
from genre.learn.deciding import choose
from genre.policies import Arms
from genre.run import Run
from toyworld import WORDS, config, dataset, tiny_backbone

ITEMS, PEOPLE, SLATES, K = 10, 150, 16, 2
LIKED, ELSE = 0.8, 0.15


def logging_policy() -> Any:
    return Slot("policies").build({"type": "softmax", "temperature": 1.0})


def chance(person: Any, item: Any) -> Any:
    """People of one kind click items of their kind; item 0 nobody."""
    return np.where(np.asarray(item) == 0, 0.02, np.where(np.asarray(person) % 2 == np.asarray(item) % 2, LIKED, ELSE))


def shop() -> Reading:
    """What a softmax over scores that know nothing of people showed, and what was clicked."""
    rng = np.random.default_rng(0)
    scores = np.linspace(1, -1, ITEMS)
    arms = Arms(np.arange(ITEMS, dtype=np.int32), scores, np.zeros((ITEMS, 1)))
    columns: dict[str, list[Any]] = {
        name: [] for name in ("user_id", "item_id", "action", "timestamp", "impression_id")
    }
    columns |= {name: [] for name in ("position", "propensity", "part")}
    for person in range(PEOPLE):
        for slate in range(SLATES):
            chosen = choose(logging_policy(), {}, arms, K, rng)
            part = "train" if slate < 8 else "valid" if slate < 11 else "test"
            for place, (item, said) in enumerate(
                zip(chosen.places.tolist(), chosen.propensities.tolist(), strict=True)
            ):
                clicked = rng.random() < chance(person, item)
                row = (f"u{person}", f"i{item}", "click" if clicked else "skip", 1e6 + slate * 100, f"{person}-{slate}")
                for name, cell in zip(columns, (*row, place + 1, said, part), strict=True):
                    columns[name].append(cell)
    n = len(columns["user_id"])
    items = pa.table(
        {"item_id": [f"i{i}" for i in range(ITEMS)], "title": [f"{WORDS[i]} word{i}" for i in range(ITEMS)]}
    )
    users = pa.table({"user_id": [f"u{u}" for u in range(PEOPLE)], "side": ["ab"[u % 2] for u in range(PEOPLE)]})
    return Reading(
        pa.table({**columns, "file": ["shop"] * n, "line": list(range(1, n + 1))}), items, users, name="shop"
    )


@functools.cache
def learned_shop() -> Run:
    """A trained run of the shop."""
    from genre.train import train

    folder = Path(tempfile.mkdtemp(prefix="genre-test-"))
    os.environ["GENRE_CACHE"] = str(folder / "cache")
    heads = {"next": "next_item", "click": {"type": "binary", "label": "action == 'click'", "weight": 0.5}}
    learn = {
        "policy": {"type": "softmax", "temperature": 0.3, "explore": 0.02},
        "reward": {"events": {"click": 1.0, "skip": 0.0}},
        "fit": {"type": "doubly_robust", "leash": 0.01, "epochs": 30},
        "gate": {"guards": ["diversity", "tail", "worst_group"], "group": "side", "tolerance": 0.95},
    }
    conf = config(
        tiny_backbone(folder / "bert"),
        name="shop",
        model={"heads": heads},
        train={"warmup_epochs": 6, "epochs": 1},
        learn=learn,
    )
    run = Run.create(conf, folder)
    dataset(shop(), "given").save(run.path("data"))
    train(conf, run)
    return run
