"""What a request asks for, what is found for it, and what it gets."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from genre.serve.allowing import Condition
from genre.serve.arranging import Shown, shown
from genre.serve.beliefs import About
from genre.serve.loaded import Loaded, Person
from genre.serve.moderated import Moderated
from genre.serve.people import Past
from genre.types import Bools, Slate


@dataclass(frozen=True)
class Wish:
    """What a request asks for."""

    user_id: str | None = None
    history: tuple[str, ...] | None = None
    text: str | None = None
    k: int = 10
    exclude: tuple[str, ...] = ()
    conditions: tuple[Condition, ...] = ()
    seconds: float = 0.3


@dataclass
class Answer:
    """What a request gets."""

    slate_id: str
    model: Loaded
    items: list[Shown]
    rung: str
    """``full``, ``cached``, ``nearline``, ``popular`` or ``static``."""
    degraded: list[str] = field(default_factory=list)
    removed: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    """Items of the history that the model does not know."""
    from_cache: bool = False
    """A whole answer that was made before, of what is still so."""
    policy: str | None = None
    """Name of the policy that chose; None where the order is the model's."""
    about: About | None = None
    """What it was told of the person."""


@dataclass(frozen=True)
class Ranked:
    """A slate as the model made it, before it was arranged."""

    items: list[Shown]
    removed: dict[str, int]
    skipped: dict[str, str]
    seconds: dict[str, float]
    unknown: tuple[str, ...]
    reduced: bool = False
    """From fewer candidates than there could be."""
    about: About | None = None
    """What a policy needs to know of the person and each item, where it asks."""

    @classmethod
    def of(cls, slate: Slate, unknown: tuple[str, ...], reduced: bool) -> Ranked:
        """What a reply needs of a slate."""
        return cls([shown(one) for one in slate.items], slate.removed, slate.skipped, slate.seconds, unknown, reduced)


@dataclass
class Known:
    """What is known of the person of a wish."""

    wish: Wish
    model: Loaded
    past: Past | None = None
    """What the store knows; None for people whom it was not asked of, and while it does not answer."""
    in_time: bool = True
    """False where there was no time to ask."""
    problems: list[str] = field(default_factory=list)

    @cached_property
    def person(self) -> Person:
        """Their history as it is now."""
        if self.wish.history is not None:
            return self.model.of_items(self.wish.history)
        return self.model.person(self.wish.user_id, () if self.past is None else self.past.events)


@dataclass
class Found:
    """All that a slate is made of."""

    known: Known
    moderated: Moderated
    wanted: Bools | None
    ranked: Ranked | None
    problems: list[str]
    cached: bool

    @property
    def allowed(self) -> Bools:
        """``[items]``: what may be shown."""
        passes = self.moderated.passes(self.known.model)
        return passes if self.wanted is None else passes & self.wanted
