"""GENRE: recommendations from fine-tuned language models. `docs/architecture.md` shows the whole.

The public names are here; each is imported when it is first asked for, so that ``import genre`` costs nothing::

    from genre import Query, load

    pipeline = load("runs/quickstart")
    [slate] = pipeline.recommend([Query(user_id="42", k=10)])
    for candidate in slate.items:
        print(candidate.item_id, candidate.score, candidate.predictions)
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genre.component import component
    from genre.config import Config
    from genre.data import Dataset
    from genre.errors import GenreError
    from genre.explaining import explain
    from genre.pipeline import Pipeline
    from genre.run import Run
    from genre.types import Candidate, Explanation, Query, Slate

_HOMES = {
    "Candidate": "types",
    "Config": "config",
    "Dataset": "data",
    "Explanation": "types",
    "GenreError": "errors",
    "Pipeline": "pipeline",
    "Query": "types",
    "Run": "run",
    "Slate": "types",
    "component": "component",
    "explain": "explaining",
}

__all__ = [  # noqa: RUF022  # functions first
    "load",
    "run",
    "explain",
    "Candidate",
    "Config",
    "Dataset",
    "Explanation",
    "GenreError",
    "Pipeline",
    "Query",
    "Run",
    "Slate",
    "component",
]


def load(folder: Path | str) -> Pipeline:
    """The recommender in a run folder, ready to answer. Raises `RunError` when a stage is missing or damaged."""
    from genre.pipeline import Pipeline

    return Pipeline.load(folder)


def run(config: Path | str, overrides: Sequence[str] = (), root: Path | str = "runs") -> Run:
    """Do every stage of a configuration file, with ``overrides`` such as ``train.epochs=3``; gives its run folder.

    A stage whose inputs are unchanged is not done again; of a model of texts there is nothing to rank. Raises
    `ConfigError` with every mistake at once.
    """
    from genre.configfile import load as read
    from genre.run import STAGES, Run

    settings = read(config, overrides)
    made = Run.create(settings, Path(root))
    verbs = {"data": "prepare", "model": "train"}
    recommends = settings.model.formulation.reads != "rows"
    for stage in STAGES if recommends else [one for one in STAGES if one != "rank"]:
        verb = verbs.get(stage, stage)
        getattr(importlib.import_module(f"genre.{verb}"), verb)(settings, made)
    return made


class _Package(ModuleType):
    """This package: ``component`` and ``run`` are both modules of it and public names, and the public names win.

    Importing a module binds it in its package, which would hide the function of the same name.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in ("component", "run") and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'genre' has no attribute '{name}'")
    return getattr(importlib.import_module(f"genre.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
