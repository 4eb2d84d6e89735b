"""The part of the configuration that `genre serve` reads."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from genre.component import Slot
from genre.policies import Policy
from genre.sections import Share, section, slot
from genre.stores import Database


@section
class ExploreSection:
    """A policy that chooses among what the model ranked, for a share of the users. The others are what it is compared
    with, by what the events on their slates are worth (`learn.reward.events`)."""

    share: Share = 0.0
    """Share of the users, by a hash of their id and ``key``, whose slates the policy chooses; 0 for nobody. Larger
    learns sooner and shows more that is not the best; at 1 nobody is left to compare with, so that a policy that is
    worse is not noticed."""
    key: str = "explore"
    """What the hash of the user is mixed with; another one draws other users."""
    policy: Annotated[Policy, Slot("policies")] | None = None
    """The policy; none takes that of the section `learn`. `learned` is the one that `genre learn fit` has published in
    the run that answers; it serves with the settings that it was judged with."""
    pool: PositiveInt = 50
    """Best items of the model among which it chooses. Larger explores further down and takes longer."""
    learn: bool = False
    """Whether it learns from events that name its slates, each action on an item counting once. It learns from what the
    store holds, so that all processes of a store come to believe the same, and keeps what it has learned in the run
    (`explore/`): a restart goes on from there, or, where that does not fit, learns anew from all slates of the store.
    Off again, it chooses by what it has learned."""
    window_seconds: PositiveFloat = 600.0
    """Time after a slate in which events count as its reward; larger waits longer before anything is learned. With
    another one all slates teach anew."""
    least: Annotated[int, Field(ge=2)] = 200
    """Users on either side before the two are compared. From then on a policy whose reward lies below that of the
    others, beyond the interval, goes back to what it believed when its reward last lay above, and learns no more; if
    it never did, or is worse again, it is stopped. Larger is surer and takes longer to notice."""


@section
class ServeSection:
    """How a run answers over HTTP. Nothing here but `explore` changes what it answers."""

    host: str = "127.0.0.1"
    """Address to listen at; one that others can reach is refused while no key is there (`genre store key`)."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """Port to listen at; 0 takes a free one."""
    store: Annotated[Database, Slot("stores")] = slot("stores", "sqlite")
    """Where events, slates and the rest are kept."""
    deadline_ms: PositiveInt = 300
    """Time for a slate; what is not ready by then is answered from what is: an earlier slate, then what is popular.
    Larger waits longer for the better answer. A request may ask for less or more, up to ten seconds."""
    target_ms: PositiveInt = 250
    """Time within which 95 of 100 slates should come from the model; while they do not, sources propose fewer
    candidates, down to a tenth. Larger thins them out later."""
    source_ms: PositiveInt = 150
    """Longest time that a source may take; the slate is made without one that takes longer. Larger waits longer."""
    queue: PositiveInt = 256
    """Requests that may wait for the inference thread; beyond them the answer is 503. Larger refuses later, and lets
    more wait in vain."""
    block: PositiveInt = 32
    """Most requests that are answered in one pass; larger carries more load, and the first waits for the last."""
    threads: PositiveInt = 1
    """Processor threads of a pass through the model; more are faster while cores are free."""
    cached_users: PositiveInt = 20_000
    """People whose events and latest slates are kept in memory; larger is faster and takes memory."""
    history: PositiveInt = 500
    """Latest events of a user that are read from the store; larger forgets later what was seen, and takes memory."""
    explore: ExploreSection = field(default_factory=ExploreSection)
    """A policy in the path: off unless its share, or an experiment, says so."""
    reserve: NonNegativeInt = 50
    """Popular items looked through to fill a slate that has too few; 0 leaves it short."""
    slates_queue: PositiveInt = 10_000
    """Slates that may wait to be written; beyond them they are lost, and counted. Larger forgives a slow disk."""
    max_k: PositiveInt = 100
    """Longest slate that may be asked for."""
    batch: PositiveInt = 1000
    """Most events, items or users in one request."""
    body_kb: PositiveInt = 2048
    """Largest body of a request, in KiB; a larger one is refused unread."""
    depth: PositiveInt = 20
    """Deepest nesting of JSON in a request."""
    rate: PositiveFloat = 200.0
    """Requests a second of one key, or one address where no key is needed, in the long run."""
    burst: PositiveInt = 400
    """Requests that may come at once before the rate counts."""
    daily: PositiveInt | None = None
    """Requests a day of one key; none sets no limit."""
    gorse: bool = False
    """Whether clients written for Gorse (https://gorse.io) are answered too, under /api; a key may then come as
    X-API-Key."""
    console: bool = True
    """Whether the console is served too, at /console; it needs the extra `console`."""
    previous_models: PositiveInt = 1
    """Models that stay in memory after another took their place, so that one can go back at once."""
    drain_seconds: PositiveFloat = 10.0
    """Time for requests under way to finish when the service is told to stop."""
