"""The part of the configuration that says how a recommender explores, is judged from logs, and learns from them."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from genre.component import Slot
from genre.environments import Environment
from genre.estimators import Estimator
from genre.learners import Learner
from genre.policies import Policy
from genre.sections import Share, section, slot

ESTIMATORS = ["ips", "snips", "clipped_ips", "direct", "doubly_robust", "switch_dr", "independent", "cascade_dr"]
POLICIES = ["greedy", "epsilon_greedy", "softmax", "thompson_beta", "thompson_linear", "thompson_neural", "linucb"]


@section
class RewardSection:
    """What an event is worth. The reward of a shown item is the sum of all that apply."""

    events: dict[str, float] = field(default_factory=lambda: {"click": 1.0, "like": 3.0, "skip": -0.2})
    """By action; an action that is not named earns nothing. Larger counts more."""
    columns: dict[str, float] = field(default_factory=dict)
    """By numeric column of the interactions, the weight that it is multiplied by (``read_time: 0.0167`` is a minute's
    reading for 1); a missing number earns nothing."""
    heads: dict[str, float] = field(default_factory=dict)
    """By head of the model, the weight of its label (``like: 3``); a missing label earns nothing."""
    discount: Share = 0.0
    """Share that counts of what the same person's next slate of the session earns, of that after it the square, and so
    on: 0 for each slate by itself, near 1 for what a whole session brings, which is less steady."""
    session_minutes: PositiveFloat = 30.0
    """Minutes without an event that end a session; larger makes longer ones."""


@section
class GateSection:
    """When a learned policy is published: if it is surely better, and no guarded measure is worse."""

    estimator: Annotated[Estimator, Slot("estimators")] = slot("estimators", "doubly_robust")
    """What judges it, on slates that it has not learned from."""
    guards: list[Literal["diversity", "tail", "worst_group"]] = field(default_factory=lambda: ["diversity", "tail"])
    """What may not get worse: how many items are shown in effect; the share of what is shown that goes to the less
    popular half of the items; the value for the group of people that fares worst (``group``)."""
    group: str | None = None
    """Column of the users table whose groups ``worst_group`` compares."""
    tolerance: Share = 0.1
    """Share by which a guarded measure may fall; larger lets more through."""


@section
class SimulateSection:
    """What `genre learn simulate` plays."""

    environment: Annotated[Environment, Slot("environments")] | None = None
    """The world to act in; none is for `genre learn simulate FILE` to refuse, with the names of those there are."""
    policies: dict[str, Annotated[Policy, Slot("policies")]] = field(
        default_factory=lambda: {name: Slot("policies").build(name) for name in POLICIES}
    )
    """By name, the policies that act in it, each from the beginning."""
    rounds: PositiveInt = 2000
    """Slates shown to each policy in each repetition."""
    slate: PositiveInt = 1
    """Places of a slate."""
    seeds: Annotated[int, Field(ge=2)] = 20
    """Repetitions, each with other people; more make narrower intervals."""


@section
class LearnSection:
    """Exploring, judging from logs, learning from logs."""

    policy: Annotated[Policy, Slot("policies")] = slot("policies", "softmax")
    """The policy that serves, and that `genre learn evaluate` judges."""
    reward: RewardSection = field(default_factory=RewardSection)
    """What events are worth."""
    estimators: list[Annotated[Estimator, Slot("estimators")]] = slot("estimators", ESTIMATORS)
    """How a policy's value is estimated."""
    interval: Literal["bootstrap", "normal", "bernstein"] = "bootstrap"
    """How intervals are made: by drawing people anew, which follows skewed weights; by the spread alone; or by a bound
    that holds for any distribution within the range that was seen, and is much wider."""
    level: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """Level of the intervals; larger is wider."""
    propensities: Literal["log", "estimated"] = "log"
    """Whether the log's own propensities are used, or estimated ones: for logs that have none, or wrong ones."""
    items: PositiveInt = 1000
    """Items at most among which a policy is judged, those shown most in the log; a slate with another is left out and
    counted. More take longer."""
    slate: PositiveInt = 10
    """Places of a slate at most that are judged; lower ones are left out."""
    fit: Annotated[Learner, Slot("learners")] = slot("learners", "doubly_robust")
    """How `genre learn fit` learns from the log: a policy over the model's scores, or the weights of the model."""
    gate: GateSection = field(default_factory=GateSection)
    """When it is published."""
    simulate: SimulateSection = field(default_factory=SimulateSection)
    """Playing policies against each other."""
