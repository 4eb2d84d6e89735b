"""What is asked and answered: the shapes of the API, each field documented; unknown fields are refused."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

Id = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=r"^[^\s\x00](.*[^\s\x00])?$")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=8192)]
Why = Annotated[str, StringConstraints(min_length=1, max_length=1000)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
Finite = Annotated[float, Field(allow_inf_nan=False, ge=-1e15, le=1e15)]
Column = Annotated[str, StringConstraints(min_length=1, max_length=128)]


class Asked(BaseModel):
    """Something that a client sends."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Told(BaseModel):
    """Something that a client gets."""


class ColumnCondition(Asked):
    """What must hold of a column of the items; several of its parts must all hold."""

    column: Column = Field(description="A column of the items table.")
    any_of: list[Annotated[str, StringConstraints(max_length=256)] | Finite] = Field(
        default=[], max_length=100, description="Items with one of these values; a list matches by any of its words."
    )
    none_of: list[Annotated[str, StringConstraints(max_length=256)] | Finite] = Field(
        default=[], max_length=100, description="No item with one of these values."
    )
    low: Finite | None = Field(default=None, description="Items whose number is at least this.")
    high: Finite | None = Field(default=None, description="Items whose number is at most this.")


class RecommendRequest(Asked):
    """For whom: a user, or a history, or a text. With none of them, what suits somebody unknown."""

    user_id: Id | None = Field(default=None, description="Their history is what the store and the model's data hold.")
    history: list[Id] | None = Field(
        default=None, max_length=1000, description="Item ids, oldest first, in place of what is known of the user."
    )
    text: Text | None = Field(default=None, description="What the person says they like; alone, or with the others.")
    k: int = Field(default=10, ge=1, description="Length of the slate; serve.max_k is the most.")
    exclude: list[Id] = Field(default=[], max_length=1000, description="Items not to show.")
    filters: list[ColumnCondition] = Field(default=[], max_length=10, description="What must hold of the items.")
    columns: list[Column] = Field(default=[], max_length=20, description="Columns of the items to send along.")
    explain: bool = Field(default=False, description="Send reasons with each item.")
    language: Literal["en", "zh"] = Field(default="en", description="Language of the reasons.")
    trace: bool = Field(default=False, description="Send what happened on the way.")
    deadline_ms: int | None = Field(
        default=None, ge=1, le=10_000, description="Time for the slate; serve.deadline_ms if none is given."
    )


class ModelName(Told):
    """Which model answered."""

    name: str
    version: str = Field(description="Hash of what its answers depend on.")


class SlateItem(Told):
    """An item of a slate."""

    item_id: str
    rank: int = Field(description="1 is the first.")
    score: float | None = Field(description="The pipeline's score; null for an item that it has not ranked.")
    origin: Literal["ranked", "pinned", "reserve"] = Field(description="Whether the model ranked it.")
    sources: dict[str, int] = Field(description="The sources that proposed it, with its place there.")
    predictions: dict[str, float | None] = Field(description="What each head of the model predicts.")
    columns: dict[str, Any] = Field(default={}, description="The columns asked for.")
    propensity: float | None = Field(
        default=None, description="Where a policy chose: the probability of the item at its place, given those above."
    )
    team: str | None = Field(default=None, description="Where models are interleaved: the arm whose item it is.")
    explanation: dict[str, Any] | None = Field(default=None, description="Reasons, where asked for.")


class Assigned(Told):
    """The experiment that a slate belongs to."""

    name: str
    arm: str


class Trace(Told):
    """What happened on the way of a slate."""

    seconds: dict[str, float] = Field(description="Time by step, for all requests that were answered together.")
    removed: dict[str, int] = Field(description="Candidates that each filter took out.")
    skipped: dict[str, str] = Field(description="Sources that gave nothing, with the reason.")
    from_cache: bool = Field(description="Whether nothing had happened since the same was asked before.")
    milliseconds: float = Field(description="Time in the service.")


class SlateReply(Told):
    """A slate."""

    slate_id: str = Field(description="To be sent along with events on its items.")
    user_id: str | None
    model: ModelName
    items: list[SlateItem]
    rung: Literal["full", "cached", "nearline", "popular", "static"] = Field(
        description="full: by the model; cached: an earlier slate; nearline: a list made ahead; popular, static: what "
        "most people choose."
    )
    degraded: list[str] = Field(description="What the slate had to go without; empty for a whole one.")
    unknown_items: list[str] = Field(description="Items of the history that the model does not know.")
    experiment: Assigned | None = None
    trace: Trace | None = None


class SimilarReply(Told):
    """The nearest items."""

    model: ModelName
    items: list[ScoredItem]


class ScoredItem(Told):
    """An item with a score."""

    item_id: str
    score: float
    columns: dict[str, Any] = {}


class RerankRequest(Asked):
    """Texts to put in order for a query: the shape that rerank clients send."""

    query: Text | None = Field(default=None, description="What is looked for.")
    user_id: Id | None = Field(default=None, description="Or: for whom.")
    documents: list[Text] = Field(
        min_length=1, max_length=1000, description="Texts, or ids of items where `items` is true."
    )
    items: bool = Field(default=False, description="Whether the documents are ids of items.")
    top_n: int | None = Field(default=None, ge=1, description="How many to send back; all if none.")
    return_documents: bool = Field(default=True, description="Send the texts along.")
    model: Annotated[str, StringConstraints(max_length=256)] | None = Field(
        default=None, description="Not read: the model that is active answers."
    )

    @model_validator(mode="after")
    def _somebody(self) -> RerankRequest:
        if self.query is None and self.user_id is None:
            raise ValueError("give a query, a user_id, or both")
        return self


class RerankDocument(Told):
    """A text."""

    text: str


class RerankResult(Told):
    """A document in its place."""

    index: int = Field(description="Its number among those sent, from 0.")
    relevance_score: float
    document: RerankDocument | None = None


class Usage(Told):
    """What was read."""

    documents: int


class RerankReply(Told):
    """The documents in order, best first."""

    model: str
    results: list[RerankResult]
    usage: Usage


class PredictRequest(Asked):
    """Texts for the heads of a `text` model, or items for those of a recommending one."""

    texts: list[Text | dict[Column, Annotated[str, StringConstraints(max_length=8192)]]] | None = Field(
        default=None, min_length=1, max_length=256, description="Texts, or the columns that model.template names."
    )
    user_id: Id | None = Field(default=None, description="For a recommending model: of whom the heads are asked.")
    history: list[Id] | None = Field(default=None, max_length=1000, description="In place of a user.")
    items: list[Id] | None = Field(default=None, min_length=1, max_length=1000, description="And of which items.")

    @model_validator(mode="after")
    def _one_of_both(self) -> PredictRequest:
        if (self.texts is None) == (self.items is None):
            raise ValueError("give texts (for a model that reads texts) or items (for one that recommends)")
        return self


class Prediction(Told):
    """What the heads say."""

    text: str | None = Field(default=None, description="What was read.")
    item_id: str | None = None
    heads: dict[str, Any] = Field(description="An amount, a probability, one of each class, or places in the text.")


class PredictReply(Told):
    """In the order asked."""

    model: ModelName
    predictions: list[Prediction]
    unknown_items: list[str] = []


class EmbedRequest(Asked):
    """Texts to make vectors of, or items whose vectors are asked for."""

    texts: list[Text] = Field(default=[], max_length=256)
    items: list[Id] = Field(default=[], max_length=1000)

    @model_validator(mode="after")
    def _something(self) -> EmbedRequest:
        if bool(self.texts) == bool(self.items):
            raise ValueError("give texts or items")
        return self


class EmbedReply(Told):
    """Vectors in the order asked."""

    model: ModelName
    vectors: list[list[float]]
    unknown_items: list[str] = []


SimilarReply.model_rebuild()
