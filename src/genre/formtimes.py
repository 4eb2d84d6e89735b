"""How long a form takes to read: one text at a time, and many."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from genre.forms import Served

BATCH = 32
SINGLE, BATCHES = 200, 12
"""Texts that are read one by one, and batches; the times reported are over these."""


def time_of(form: Served, texts: Sequence[str]) -> dict[str, Any]:
    """Milliseconds a text, median and 99th percentile, and texts a second in batches; words are cut up as well."""
    singles = [texts[row % len(texts)] for row in range(SINGLE)]
    batches = [[texts[(start * BATCH + row) % len(texts)] for row in range(BATCH)] for start in range(BATCHES)]
    for warm in (*singles[:5], *singles[:5]):
        form.encode([warm])
    form.encode(batches[0])
    alone = np.array([_seconds(form, [text]) for text in singles]) * 1e3
    together = np.array([_seconds(form, batch) for batch in batches])
    return {
        "median_ms": round(float(np.median(alone)), 3),
        "p99_ms": round(float(np.quantile(alone, 0.99)), 3),
        "texts_per_s": round(BATCH / float(np.median(together)), 1),
    }


def _seconds(form: Served, texts: list[str]) -> float:
    started = time.perf_counter()
    form.encode(texts)
    return time.perf_counter() - started
