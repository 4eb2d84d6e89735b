"""The shapes of what is kept: events, items, users, slates."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from genre.serve.shapes import Asked, Told

Object = dict[str, Any]


class EventsRequest(Asked):
    """Events in a batch. Each is judged by itself."""

    events: list[Object] = Field(
        min_length=1,
        description=(
            "Each with user_id, item_id and action, and if there are any: event_id (unique; an event that is sent "
            "again is known by it), value (amount of the action), timestamp (UTC seconds), slate_id, position (0 is "
            "the first), context (an object)."
        ),
        examples=[[{"event_id": "e-1", "user_id": "42", "item_id": "50", "action": "rate", "value": 5}]],
    )


class EventReceipt(Told):
    """What became of one event, once that is durable."""

    event_id: str
    status: Literal["accepted", "duplicate", "rejected"]
    reason: str | None = Field(default=None, description="Why it was rejected.")
    field: str | None = Field(default=None, description="The field to mend.")
    unknown_user: bool = Field(default=False, description="Kept, but nobody has told of this user.")
    unknown_item: bool = Field(default=False, description="Kept, but nobody has told of this item.")


class EventsReply(Told):
    """A receipt for each event, in order."""

    accepted: int
    duplicates: int
    rejected: int
    receipts: list[EventReceipt]


class StoredEvent(Told):
    """An event as it is kept."""

    event_id: str
    user_id: str | None
    item_id: str
    action: str
    value: float | None
    timestamp: float | None = Field(description="By the client's clock.")
    slate_id: str | None
    position: int | None
    context: Object
    seq: int | None = Field(description="Its number in the order in which events became durable.")
    received: float | None = Field(description="By the server's clock.")
    time: float | None = Field(description="What histories are ordered by.")


class EventPage(Told):
    """Some events."""

    rows: list[StoredEvent]
    cursor: str | None


class Withdrawn(Told):
    """How many events are no longer read."""

    events: int


class EntriesRequest(Asked):
    """Items or users in a batch: each an object with item_id (or user_id); the other fields are its columns."""

    rows: list[Object] = Field(min_length=1, examples=[[{"item_id": "50", "title": "Star Wars"}]])


class ColumnsRequest(Asked):
    """The columns of an item or user: title, categories and whatever else is known."""

    columns: Object


class EntryReceipt(Told):
    """What became of one row."""

    id: str
    status: Literal["created", "replaced", "rejected"]
    reason: str | None = None


class EntriesReply(Told):
    """A receipt for each row, in order."""

    created: int
    replaced: int
    rejected: int
    receipts: list[EntryReceipt]


class EntryReply(Told):
    """An item or a user."""

    id: str
    columns: Object
    created: float | None = None
    updated: float | None = None
    origin: Literal["store", "model"] = Field(description="Where it is known from.")
    servable: bool = Field(description="Items: whether the model can recommend it. Users: whether it knows a history.")
    refused: bool = Field(default=False, description="Items: whether it is hidden, blocked or deleted.")


class EntryPage(Told):
    """Some items or users, by id."""

    rows: list[EntryReply]
    cursor: str | None


class Erased(Told):
    """What was erased of a user."""

    rows: dict[str, int]


class SlateRowReply(Told):
    """A slate as it was answered."""

    slate_id: str
    user_id: str | None
    model: str
    items: list[Object]
    created: float
    key_id: str | None
    experiment: str | None
    arm: str | None
    request: Object
    degraded: list[str]


class SlateWithFeedback(SlateRowReply):
    """A slate, and the events that name it."""

    events: list[StoredEvent]


class SlateList(Told):
    """Slates, newest first."""

    rows: list[SlateRowReply]
