"""What the fine-tuned model's heads say."""

from __future__ import annotations

from genre.candidates import Candidates
from genre.component import component
from genre.data import Histories, Log
from genre.sources import Resources
from genre.types import Floats, State

ASKED = ("binary", "regression")


@component
class Predictions:
    """The prediction of every head that says a yes or no or an amount (a click, a like, stars) of a candidate.

    What comes next is the `model` source's score; this adds what is thought of it. Nothing without a `two_tower` model:
    a `cross` model reads the top again instead (``pipeline.rerank``), as reading every candidate would take too long.
    """

    def fit(self, log: Log, resources: Resources) -> State:
        return {}

    def values(
        self, state: State, candidates: Candidates, histories: Histories, resources: Resources
    ) -> dict[str, Floats]:
        model = resources.model
        if model is None or model.ranking_head is None:
            return {}
        asked = [name for name, head in model.heads.items() if head.predicts in ASKED]
        owner = candidates.owner.astype("int32")
        return {f"predictions.{name}": model.predict(name, histories, candidates.item, owner) for name in asked}
