"""How long forms take to read, one text at a time and many; in turn, so that what slows the machine hits all alike."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from genre.compression.forms import Served

ROUNDS = 5
"""How often each form has its turn; what is told is the median of its turns, and the least and the most."""
BATCH = 32
SINGLE, BATCHES = 100, 3
"""Texts that are read one by one in a turn, and batches."""
WARM = 3
"""Texts that are read at the start of a turn and not counted."""


def times_of(forms: Mapping[str, Served], texts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """By form, milliseconds a text, median and 99th percentile, and texts a second in batches, with ``ranges``.

    Words are cut up as well.
    """
    singles = [texts[row % len(texts)] for row in range(SINGLE)]
    batches = [[texts[(start * BATCH + row) % len(texts)] for row in range(BATCH)] for start in range(BATCHES)]
    turns: dict[str, list[dict[str, float]]] = {name: [] for name in forms}
    for form in forms.values():
        form.encode(batches[0])
    for name in _in_turn(list(forms)):
        turns[name].append(_turn(forms[name], singles, batches))
    return {name: _told(found) for name, found in turns.items()}


def _in_turn(names: list[str]) -> Iterator[str]:
    """All names in every round, each time another one first."""
    for number in range(ROUNDS):
        first = number % len(names)
        yield from names[first:] + names[:first]


def _turn(form: Served, singles: Sequence[str], batches: Sequence[list[str]]) -> dict[str, float]:
    for text in singles[:WARM]:
        form.encode([text])
    alone = np.array([_seconds(form, [text]) for text in singles]) * 1e3
    together = np.array([_seconds(form, batch) for batch in batches])
    return {
        "median_ms": float(np.median(alone)),
        "p99_ms": float(np.quantile(alone, 0.99)),
        "texts_per_s": BATCH / float(np.median(together)),
    }


def _told(turns: list[dict[str, float]]) -> dict[str, Any]:
    digits = {"median_ms": 3, "p99_ms": 3, "texts_per_s": 1}
    columns = {name: [round(turn[name], places) for turn in turns] for name, places in digits.items()}
    ranges = {name: [min(values), max(values)] for name, values in columns.items()}
    medians = {name: round(float(np.median(values)), digits[name]) for name, values in columns.items()}
    return {**medians, "ranges": ranges, "rounds": len(turns)}


def _seconds(form: Served, texts: list[str]) -> float:
    started = time.perf_counter()
    form.encode(texts)
    return time.perf_counter() - started
