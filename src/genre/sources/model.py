"""The fine-tuned model."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from pydantic import PositiveInt

from genre.component import component
from genre.data import Histories, Log
from genre.errors import GenreError
from genre.sources import Resources, Vectors
from genre.types import Floats, Recommender, State


@component
class Model:
    """What the fine-tuned model says comes next: text, order and ids in one score. Needs a head that ranks."""

    top_k: PositiveInt = 300
    """Candidates to retrieve; more miss less and cost time."""
    run: Path | None = None
    """Folder of another run on the same data whose model to ask, as a `cross` model cannot retrieve; none: its own."""
    GRID: ClassVar[dict[str, list[Any]]] = {}

    def fit(self, log: Log, resources: Resources) -> State:
        return {}

    def extend(self, state: State, added: Resources) -> State | None:
        return state if self.run is None else None

    def score(self, state: State, histories: Histories, resources: Resources) -> Floats:
        return self._model(resources).score_next(histories)

    def vectors(self, state: State, resources: Resources) -> Vectors | None:
        model = self._model(resources)
        asking = getattr(model, "asking", None)
        return None if asking is None or model.ranking_head is None else Vectors(model.item_vectors(), asking)

    def _model(self, resources: Resources) -> Recommender:
        model = resources.model
        if self.run is not None and resources.other is not None:
            model = resources.other(self.run)
        if model is None:
            raise GenreError("source 'model': there is no trained model here; run 'genre train' first")
        return model
