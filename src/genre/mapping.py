"""Arrays in files, mapped into memory: what is read of them takes memory, and the system takes it back when it must."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genre.errors import GenreError
from genre.files import cache_folder

MAP_MB = 256.0
"""Megabytes above which an array that is picked from the log lies in a scratch file, unless ``GENRE_MAP_MB`` says."""
TENSORS = {"BOOL": "?", "F16": "<f2"} | {f"{kind.upper()}{8 * n}": f"<{kind}{n}" for kind in "iu" for n in (1, 2, 4, 8)}
TENSORS |= {"F32": "<f4", "F64": "<f8"}
"""NumPy's words for the types of safetensors."""
BLOCK = 1 << 20
"""Elements that are copied at a time."""


def most_bytes() -> float:
    """How large an array of the log, or of histories, may be in memory. Raises `GenreError` for no number."""
    said = os.environ.get("GENRE_MAP_MB") or MAP_MB
    try:
        most = float(said)
    except ValueError:
        most = -1.0
    if not most >= 0:
        raise GenreError(f"GENRE_MAP_MB is '{said}', which is no size; set megabytes, such as 256, or 0 to map all")
    return most * 1e6


def picked(array: NDArray[Any], at: NDArray[Any]) -> NDArray[Any]:
    """``array[at]``, by a mask or by places; in a scratch file where it is larger than `most_bytes`."""
    length = int(np.count_nonzero(at)) if at.dtype == bool else len(at)
    if length * array.itemsize <= most_bytes() or not length:
        return array[at]
    # Written as a file and mapped afterwards: a full disk is then an error and not a signal.
    try:
        folder = cache_folder() / "scratch"
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            for block in _blocks(array, at):
                file.write(np.ascontiguousarray(block).data)
            file.flush()
            return np.asarray(np.memmap(file, dtype=array.dtype, mode="c", shape=(length,)))
    except OSError as error:
        raise GenreError(f"{cache_folder()}: no scratch file could be written ({error.strerror or error})") from error


def _blocks(array: NDArray[Any], at: NDArray[Any]) -> Iterator[NDArray[Any]]:
    for start in range(0, len(at), BLOCK):
        some = at[start : start + BLOCK]
        yield array[start : start + BLOCK][some] if at.dtype == bool else array[some]


def save_array(path: Path, array: NDArray[Any]) -> None:
    """Write an array so that `map_array` finds it."""
    np.save(path, array, allow_pickle=False)


def map_array(path: Path) -> NDArray[Any]:
    """An array of a file; what is written to it stays in memory, the file is never changed."""
    if path.stat().st_size and np.load(path, mmap_mode="r", allow_pickle=False).size:
        return np.asarray(np.load(path, mmap_mode="c", allow_pickle=False))
    return np.load(path, allow_pickle=False)


def map_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of numbers of a safetensors file, likewise."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header: dict[str, Any] = json.loads(file.read(length))
    header.pop("__metadata__", None)
    whole = np.asarray(np.memmap(path, dtype=np.uint8, mode="c", offset=0))[8 + length :]
    found = {}
    for name, facts in header.items():
        start, end = facts["data_offsets"]
        array = whole[start:end].view(TENSORS[facts["dtype"]]).reshape(facts["shape"])
        found[name] = array if array.flags.aligned else array.copy()
    return found
