"""What the store holds, as values: events, items and users, slates, decisions, keys, experiments, jobs, audit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

T = TypeVar("T")
Scope = Literal["read", "write", "admin"]
SCOPES: tuple[Scope, ...] = ("read", "write", "admin")
"""What a key may do; each may also do what the ones before it may."""
Verdict = Literal["hide", "pin", "block"]
JobState = Literal["queued", "running", "done", "failed", "cancelled"]
ExperimentState = Literal["draft", "running", "stopped"]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that a user did with an item. `genre.store.checking` makes one from what a client sent."""

    event_id: str
    """The client's own, unique: an event that is sent again is known by it."""
    user_id: str | None
    """None once the user was erased."""
    item_id: str
    action: str
    value: float | None = None
    timestamp: float | None = None
    """When it happened by the client's clock, in UTC seconds; as sent, however wrong."""
    slate_id: str | None = None
    """The slate in which the item was shown."""
    position: int | None = None
    """Its place there, 0 is the first."""
    context: dict[str, Any] = field(default_factory=dict)
    seq: int | None = None
    """Number in the order in which events became durable; None until stored."""
    received: float | None = None
    """When the store took it, by the server's clock."""
    time: float | None = None
    """What histories are ordered by: ``timestamp`` unless it lies in the future, else ``received``; 0 is unknown."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """An event or entry that cannot be used, and why."""

    reason: str
    field: str | None = None
    """The field to mend; None where it is the whole."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of one event or entry, once that is durable."""

    id: str
    status: Literal["accepted", "duplicate", "rejected", "created", "replaced"]
    """Events are accepted, duplicate or rejected; items and users created or replaced."""
    reason: str | None = None
    """Why it was rejected."""
    unknown_user: bool = False
    """The event is kept, but nobody has told of this user."""
    unknown_item: bool = False
    """The event is kept, but nobody has told of this item."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An item or a user of the catalogue."""

    id: str
    columns: dict[str, Any] = field(default_factory=dict)
    """Title, categories and whatever else is known, as JSON."""
    created: float | None = None
    updated: float | None = None
    change: int | None = None
    """Number of the change that made it what it is; larger is later."""
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some rows of a list, and where the next ones begin."""

    rows: list[T]
    cursor: str | None
    """To be given for the next page; None at the end."""


@dataclass(frozen=True, slots=True)
class SlateRow:
    """A slate as it was answered, with what is needed to learn from it."""

    slate_id: str
    user_id: str | None
    model: str
    items: list[dict[str, Any]]
    """In order, each ``item_id`` and what there is of ``score propensity sources``."""
    created: float
    key_id: str | None = None
    experiment: str | None = None
    arm: str | None = None
    request: dict[str, Any] = field(default_factory=dict)
    degraded: list[str] = field(default_factory=list)
    """What was left out to answer in time; empty for a whole answer."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one unit of an experiment fared in one arm."""

    unit: str
    """The user; of a slate for nobody in particular, the slate."""
    arm: str
    slates: int
    hits: float
    """Slates with at least one event of the actions asked for; or what their events are worth together."""


@dataclass(frozen=True, slots=True)
class Rate:
    """How many slates of one model, experiment and arm were answered to."""

    model: str
    experiment: str | None
    arm: str | None
    slates: int
    hits: int
    degraded: int


@dataclass(frozen=True, slots=True)
class Decision:
    """Something a moderator has settled; it stands until released or past ``until``."""

    number: int
    verdict: Verdict
    item_id: str | None
    """The item; None for a rule."""
    rule: dict[str, Any] | None
    """Which items: columns and the values that they match."""
    who: str
    why: str
    time: float
    until: float | None = None
    released: float | None = None
    released_by: str | None = None
    released_why: str | None = None


@dataclass(frozen=True, slots=True)
class Review:
    """An item that somebody should look at."""

    number: int
    item_id: str
    why: str
    who: str
    time: float
    resolved: float | None = None
    resolved_by: str | None = None
    outcome: str | None = None


@dataclass(frozen=True, slots=True)
class Key:
    """A key as the store knows it; the token itself is shown once and kept nowhere."""

    key_id: str
    name: str
    scope: Scope
    hash: str = field(repr=False)
    created: float = 0.0
    expires: float | None = None
    revoked: float | None = None
    limits: dict[str, float] = field(default_factory=dict)
    """``per_second``, ``per_day``: what the server allows it."""

    def allows(self, scope: Scope) -> bool:
        """Whether it may do what needs ``scope``."""
        return SCOPES.index(self.scope) >= SCOPES.index(scope)


@dataclass(frozen=True, slots=True)
class Experiment:
    """A comparison of arms; what the settings mean is the server's."""

    name: str
    state: ExperimentState
    settings: dict[str, Any]
    who: str
    created: float
    started: float | None = None
    stopped: float | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """Work for a worker, with the lease of the one that has it."""

    number: int
    kind: str
    payload: dict[str, Any]
    state: JobState
    created: float
    key: str | None = None
    """Of open jobs with one key there is only one."""
    priority: int = 0
    after: float = 0.0
    """Not before this time."""
    attempts: int = 0
    max_attempts: int = 3
    worker: str | None = None
    lease: str | None = None
    """Token of the lease: only who holds it may report on the job."""
    lease_until: float | None = None
    lease_seconds: float | None = None
    progress: dict[str, Any] = field(default_factory=dict)
    result: dict[str, Any] | None = None
    error: str | None = None
    finished: float | None = None


@dataclass(frozen=True, slots=True)
class Deed:
    """A line of the audit: who did what to what, and when."""

    number: int
    time: float
    who: str
    action: str
    target: str
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Health:
    """How the store is doing."""

    ok: bool
    problem: str | None
    """What is wrong, in words; None if nothing is."""
    address: str
    """Where it is, without any password."""
    waiting: int
    """Rows that wait for the writer."""
    capacity: int
    """How many may wait."""
    groups: int
    """Groups committed since it was opened."""
    rows: int
    """Rows committed since it was opened."""
