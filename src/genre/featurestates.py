"""The features of a pipeline: fitted once, asked of every candidate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from genre.candidates import Candidates
from genre.clock import times
from genre.data import Histories, Log
from genre.features import Feature
from genre.sources import Resources
from genre.types import Floats, State


@times("fit features")
def fit_features(features: dict[str, Feature], log: Log, resources: Resources) -> dict[str, State]:
    """What each feature needs of ``log``, by name."""
    return {name: feature.fit(log, resources) for name, feature in features.items()}


def with_features(
    candidates: Candidates,
    features: dict[str, Feature],
    states: dict[str, State],
    histories: Histories,
    resources: Resources,
) -> Candidates:
    """The candidates with all columns. What is not finite becomes NaN: not known."""
    columns: dict[str, Floats] = {}
    for name, feature in features.items():
        for column, values in feature.values(states[name], candidates, histories, resources).items():
            columns[column] = np.where(np.isfinite(values), values, np.nan).astype(np.float32)
    return replace(candidates, features=columns)
