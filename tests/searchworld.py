"""Trials that need no training: what is best is known, and some end as trials should not."""

from __future__ import annotations

import math
import os
import signal
import time
from pathlib import Path
from typing import Any


def known(values: dict[str, Any], folder: str, objectives: list[str], watch: Any) -> dict[str, Any]:
    """Best at a rate of 1e-3 and a dropout of 0.2: 1; worse by how far the values lie from there."""
    far = abs(math.log10(values["train"]["lr"]["backbone"]) + 3) + 2 * abs(values["model"]["dropout"] - 0.2)
    return _result(1 - far, objectives)


def _result(value: float, objectives: list[str], epochs: int = 1) -> dict[str, Any]:
    values = {name: value if "@" in name else 10 * value * value + 1 for name in objectives}
    return {"values": values, "epochs": epochs, "train_seconds": 1.0}


def slow(values: dict[str, Any], folder: str, objectives: list[str], watch: Any) -> dict[str, Any]:
    """The same after a while, in which every beginning is noted in a file."""
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    with (place / "begun").open("a") as file:
        file.write(f"{os.getpid()}\n")
    time.sleep(0.25)
    return known(values, folder, objectives, watch)


def watched(values: dict[str, Any], folder: str, objectives: list[str], watch: Any) -> dict[str, Any]:
    """Ten epochs on the way to what `known` says; each is noted in a file."""
    best = known(values, folder, objectives, watch)["values"]["ndcg@10"]
    Path(folder).mkdir(parents=True, exist_ok=True)
    for epoch in range(1, 11):
        with (Path(folder) / "epochs").open("a") as file:
            file.write("x")
        watch(epoch, {"valid/ndcg@10": best + epoch / 10 - 1})
    return _result(best, objectives, epochs=10)


def troubled(values: dict[str, Any], folder: str, objectives: list[str], watch: Any) -> dict[str, Any]:
    """Ends as the number of its trial says, the first and those from the sixth on well."""
    number, place = int(Path(folder).name), Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    before = (place / "begun").exists()
    (place / "begun").touch()
    if number == 1:
        raise MemoryError
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 3 and not before:
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 4:
        return {"values": dict.fromkeys(objectives), "epochs": 1, "train_seconds": 1.0}
    if number == 5:
        raise ValueError("an odd thing")
    return known(values, folder, objectives, watch)


def hungry(values: dict[str, Any], folder: str, objectives: list[str], watch: Any) -> dict[str, Any]:
    """The second trial asks numpy for more memory than there is, the third torch."""
    number = int(Path(folder).name)
    if number == 1:
        import numpy as np

        np.ones(1 << 45)
    if number == 2:
        import torch

        torch.ones(1 << 45)
    return known(values, folder, objectives, watch)


def full(values: dict[str, Any], folder: str, objectives: list[str], watch: Any) -> dict[str, Any]:
    """The third trial writes more than a device takes which is full, until a file says that it is not."""
    if int(Path(folder).name) == 2 and not (Path(folder).parents[1] / "freed").exists():
        with Path("/dev/full").open("w") as file:
            file.write("weights")
    return known(values, folder, objectives, watch)
