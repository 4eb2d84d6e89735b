"""The shapes of Gorse's API, whose names begin with capitals."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from genre.serve.shapes import Id

Text = Annotated[str, Field(max_length=4096)]


class Sent(BaseModel):
    """What a client of Gorse sends; fields of later versions are let pass."""

    model_config = ConfigDict(strict=True, extra="ignore")


class User(Sent):
    """A user."""

    UserId: Id
    Labels: Any = None
    Comment: Text = ""


class Item(Sent):
    """An item."""

    ItemId: Id
    IsHidden: bool = False
    Categories: list[Annotated[str, Field(max_length=256)]] | None = Field(default=None, max_length=100)
    Timestamp: str = Field(default="", max_length=64)
    Labels: Any = None
    Comment: Text = ""


class ItemPatch(Sent):
    """What is to change of an item; null leaves it."""

    IsHidden: bool | None = None
    Categories: list[Annotated[str, Field(max_length=256)]] | None = Field(default=None, max_length=100)
    Timestamp: str | None = Field(default=None, max_length=64)
    Labels: Any = None
    Comment: Text | None = None


class Feedback(Sent):
    """Something that a user did."""

    FeedbackType: Annotated[str, Field(min_length=1, max_length=64)]
    UserId: Id
    ItemId: Id
    Value: float = Field(default=0.0, allow_inf_nan=False)
    Timestamp: str = Field(default="", max_length=64)
    Comment: Text = ""


class Affected(BaseModel):
    """How much was changed."""

    RowAffected: int


class Score(BaseModel):
    """An item with its score."""

    Id: str
    Score: float


class Users(BaseModel):
    """Some users."""

    Cursor: str
    Users: list[User]


class Items(BaseModel):
    """Some items."""

    Cursor: str
    Items: list[Item]


class Feedbacks(BaseModel):
    """Some feedback."""

    Cursor: str
    Feedback: list[Feedback]
