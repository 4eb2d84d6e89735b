"""The shapes of what is settled and watched: decisions, models, experiments, keys, jobs, audit, health."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from genre.serve.shapes import Asked, Finite, Id, Name, Told, Why

Object = dict[str, Any]
Verb = Literal["hide", "pin", "block"]


class DecideRequest(Asked):
    """Hide or pin an item, or block all items that a rule matches."""

    verdict: Verb
    item_id: Id | None = Field(default=None, description="For hide, pin and block; or a rule, for block.")
    rule: dict[str, list[str | Finite]] | None = Field(
        default=None, description="Columns and the values of which an item must have one in each, to be blocked."
    )
    why: Why
    until: Finite | None = Field(default=None, ge=0, description="UTC seconds; without it, until it is released.")

    @model_validator(mode="after")
    def _item_or_rule(self) -> DecideRequest:
        if (self.item_id is None) == (not self.rule):
            raise ValueError("give item_id or rule")
        if self.rule is not None and self.verdict != "block":
            raise ValueError("a rule blocks; to hide or pin give item_id")
        return self


class WhyRequest(Asked):
    """Why something is done."""

    why: Why


class DecisionReply(Told):
    """What moderation has settled."""

    number: int
    verdict: Verb
    item_id: str | None
    rule: Object | None
    who: str
    why: str
    time: float
    until: float | None
    released: float | None
    released_by: str | None
    released_why: str | None


class DecisionPage(Told):
    """Some decisions."""

    rows: list[DecisionReply]
    cursor: str | None = None


class ReportRequest(Asked):
    """Let somebody look at an item."""

    item_id: Id
    why: Why


class ReviewReply(Told):
    """An item that waits to be looked at, or was."""

    number: int
    item_id: str
    why: str
    who: str
    time: float
    resolved: float | None
    resolved_by: str | None
    outcome: str | None


class ReviewPage(Told):
    """Some reviews."""

    rows: list[ReviewReply]
    cursor: str | None


class OutcomeRequest(Asked):
    """What came of a review; to hide the item is a decision of its own."""

    outcome: Why


class ActivateRequest(Asked):
    """Let a loaded model answer."""

    even_if_worse: bool = Field(default=False, description="Although the gate does not let it pass.")


class GateReply(Told):
    """Whether a model may take over, and why."""

    passed: bool | None
    why: str
    code: str = Field(default="", description="Names the reason for programs; empty for one that has no name.")
    values: Object = Field(default={}, description="What belongs to the code, such as the measure and its values.")


class ModelReply(Told):
    """A model."""

    name: str
    state: Literal["active", "previous", "loaded", "available", "failed"]
    version: str | None
    problem: str | None
    gate: GateReply
    metrics: dict[str, Object] = Field(description="Measures of its evaluation, each beside the best baseline.")


class ModelList(Told):
    """The models that are there."""

    rows: list[ModelReply]


class ArmRequest(Asked):
    """One arm."""

    name: Name
    model: Name | None = Field(default=None, description="A loaded model; none is the one that is active.")
    share: float = Field(gt=0, le=1, description="Share of the users.")
    policy: bool | None = Field(default=None, description="Whether the policy chooses its slates; none as elsewhere.")


class ExperimentRequest(Asked):
    """A comparison. Users are in an arm by a hash of their id and the experiment's name."""

    kind: Literal["split", "interleaving"] = Field(
        default="split",
        description="split: each user has one arm. interleaving: each slate is of both arms (team draft), for the "
        "users of both shares together.",
    )
    arms: Annotated[list[ArmRequest], Field(min_length=2, max_length=8)]
    actions: list[Id] = Field(min_length=1, max_length=20, description="Actions that count as an answer to a slate.")
    note: Annotated[str, Field(max_length=1000)] = ""

    @model_validator(mode="after")
    def _whole(self) -> ExperimentRequest:
        if sum(arm.share for arm in self.arms) > 1 + 1e-9:
            raise ValueError("the shares of the arms are more than 1 together")
        if len({arm.name for arm in self.arms}) != len(self.arms):
            raise ValueError("two arms have one name")
        if self.kind == "interleaving" and (len(self.arms) != 2 or any(arm.policy for arm in self.arms)):
            raise ValueError("interleaving is of two arms, each a model, without the policy")
        return self


class ExperimentReply(Told):
    """An experiment."""

    name: str
    state: Literal["draft", "running", "stopped"]
    settings: Object
    who: str
    created: float
    started: float | None
    stopped: float | None


class ExperimentList(Told):
    """All experiments."""

    rows: list[ExperimentReply]


class ArmReply(Told):
    """How one arm fared."""

    arm: str
    units: int = Field(description="Users.")
    slates: int
    hits: float = Field(description="Slates with at least one event of the actions; or what they earned together.")
    rate: float | None
    ci95: tuple[float, float] | None = Field(description="Bootstrap over users.")


class DifferenceReply(Told):
    """One arm beside the first."""

    arm: str
    beside: str
    difference: float | None
    ci95: tuple[float, float] | None
    verdict: Literal["better", "worse", "no difference"]


class PreferenceReply(Told):
    """Which of two arms people chose from, of slates that were of both."""

    first: str
    second: str
    units: int = Field(description="Users who chose anything.")
    wins: tuple[int, int] = Field(description="Slates in which more was chosen from the one, and from the other.")
    ties: int
    preference: float | None = Field(description="Share of the slates that the second won, ties half, less one half.")
    ci95: tuple[float, float] | None = Field(description="Bootstrap over users.")
    verdict: Literal["better", "worse", "no difference"] = Field(description="Of the second.")


class ExperimentResult(Told):
    """What came of an experiment so far."""

    experiment: ExperimentReply
    arms: list[ArmReply]
    differences: list[DifferenceReply]
    preference: PreferenceReply | None = Field(description="Of interleaving; none for a split.")


class KeyRequest(Asked):
    """A new key."""

    name: Name
    scope: Literal["read", "write", "admin"]
    per_second: Annotated[float, Field(gt=0, le=1e6)] | None = None
    per_day: Annotated[int, Field(gt=0, le=10**12)] | None = None
    expires: Finite | None = Field(default=None, ge=0, description="UTC seconds.")


class KeyReply(Told):
    """A key, without its token."""

    key_id: str
    name: str
    scope: Literal["read", "write", "admin"]
    created: float
    expires: float | None
    revoked: float | None
    limits: dict[str, float]


class NewKey(KeyReply):
    """A key, and its token, which is shown this once."""

    token: str


class KeyList(Told):
    """All keys."""

    rows: list[KeyReply]


class JobReply(Told):
    """Work for a worker."""

    number: int
    kind: str
    payload: Object
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    created: float
    attempts: int
    max_attempts: int
    worker: str | None
    progress: Object
    result: Object | None
    error: str | None
    finished: float | None


class JobPage(Told):
    """Some jobs."""

    rows: list[JobReply]
    cursor: str | None


class DeedReply(Told):
    """Who did what to what, and when."""

    number: int
    time: float
    who: str
    action: str
    target: str
    detail: Object


class DeedPage(Told):
    """Some of the audit, newest first."""

    rows: list[DeedReply]
    cursor: str | None


class Live(Told):
    """The process answers."""

    live: Literal[True] = True


class Ready(Told):
    """Whether requests can be answered, and by what."""

    ready: bool
    model: str
    version: str
    store: str | None = Field(description="What is wrong with the store; null if nothing is.")
    moderation: str | None = Field(description="Why moderation could not be read; null if it was.")
    draining: bool
    waiting: int = Field(description="Requests that wait for the model.")
    up_seconds: float
