"""The service as one thing: store, model, guard, engine; and the watch that lets it know what others changed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from genre.data import Histories
from genre.errors import GenreError
from genre.serve.batching import Call
from genre.serve.engine import Answer, Engine, Wish
from genre.serve.experiments import arm_for, arms_of, interleaves
from genre.serve.exploring import PAGES, POLICY, Explorer
from genre.serve.guard import Guard
from genre.serve.interleaving import MIXED
from genre.serve.loaded import Loaded
from genre.serve.measures import Measures
from genre.serve.models import Models
from genre.serve.moderated import Moderation
from genre.serve.nearline import Nearline
from genre.serve.quality import Quality
from genre.serve.slatelog import SlateLog
from genre.servesection import ServeSection
from genre.store import Store
from genre.store.faults import StoreError
from genre.store.records import Event, Experiment, Receipt

LOG = logging.getLogger("genre.serve")
T = TypeVar("T")
JUDGE = 300.0
"""Seconds between two looks at what a policy earns."""
AGAIN = 30.0
"""Seconds after which a model is tried again that another server activated and this one cannot load."""
WATCH = 0.5
"""Seconds between two looks at what other processes changed."""
PAGE = 1000
PATIENCE = 30.0
"""Seconds that work beside slates may take: predictions, vectors, writing."""


@dataclass(frozen=True)
class Answering:
    """Who answers a wish, and the experiment and arm that say so."""

    model: Loaded
    assigned: dict[str, str] = field(default_factory=dict)
    explore: bool = False
    """Whether the policy chooses."""
    pair: tuple[Loaded, Loaded] | None = None
    """Both models of an interleaving, instead of the one."""
    names: tuple[str, str] = ("", "")


class Service:
    """Everything that answers requests; one to a process."""

    def __init__(self, folder: Path, settings: ServeSection, store: Store, form: str | None = None) -> None:
        self.settings, self.store, self.given = settings, store, folder.resolve().name
        self.started, self.draining = time.time(), False
        self.measures = Measures()
        self.guard = Guard(settings, self.measures)
        self.moderation = Moderation(store)
        self.experiments: tuple[Experiment, ...] = ()
        self.settled: dict[str, dict[str, Any]] = {}
        self.store_problem: str | None = None
        self._version = -1
        self._changing = threading.Lock()
        # What is not read of moderation is not known to be allowed, so that a store that is not there stops the start.
        self._read_settled()
        self.guard.insist_on_keys(len(self.guard.ring.keys))
        self._seq = store.events.last_seq()
        self.quality, self.nearline = Quality(settings.target_ms / 1000), Nearline(folder)
        load = partial(Loaded.load, form=form, threads=settings.threads, quality=self.quality)
        active = self._first(folder, load)
        # Of the model that was activated the folder may have changed since, such as by added items: it is what it is.
        asked = self._activated()
        self._found = asked if asked and asked[0] == active.folder.name else None
        learn = active.config.learn
        self.explorer = Explorer(settings.explore, settings.explore.policy or learn.policy, learn.reward, store)
        self.explorer.settled(self.settled)
        if settings.explore.share:
            self.explorer.insist(active)
            self.explorer.learn()
        self.slates = SlateLog(store, settings.slates_queue, self.measures)
        self.explorer.waiting = self.slates.oldest
        parts = (self.slates, self.explorer, self.nearline, self.quality)
        self.engine = Engine(settings, store, self.moderation, self.measures, *parts)
        self.models = Models(active, load, self._warm, settings.previous_models)
        self._threads = ThreadPoolExecutor(8, "work")
        self._loading = ThreadPoolExecutor(1, "loading")
        self._following: Future[None] | None = None
        self._judged = -math.inf
        self._tried: tuple[tuple[str, str] | None, float] = (None, 0.0)
        self._watch_values()

    def _first(self, folder: Path, load: Callable[[Path], Loaded]) -> Loaded:
        """The model that answered last of those beside the run that is served, else the run itself."""
        name = self.settled.get(f"model:{self.given}", {}).get("name", self.given)
        other = folder.resolve().parent / name
        if name != self.given and other.parent == folder.resolve().parent:
            try:
                return load(other)
            except GenreError as error:
                LOG.warning("model %s, which was activated, cannot be loaded; %s answers: %s", name, self.given, error)
                self.measures.loads.labels("failed").inc()
        return load(folder)

    def _warm(self, model: Loaded) -> int:
        """Get a model ready to answer, and the policy to choose among its items."""
        if self.settings.explore.share or any(arm.policy for one in self.experiments for arm in arms_of(one.settings)):
            self.explorer.ready(model)
        return self.engine.warm(model)

    def _watch_values(self) -> None:
        watch = self.measures.watch
        watch("genre_inference_waiting", "Requests that wait for the model", lambda: len(self.engine.inference))
        watch("genre_slates_waiting", "Slates that wait to be written", lambda: len(self.slates))
        watch("genre_moderation_stale", "Moderation could not be read", lambda: float(bool(self.moderation.problem)))
        watch("genre_store_ok", "The store answers", lambda: float(self.store_problem is None))
        watch("genre_inference_blocks", "Blocks answered", lambda: self.engine.inference.blocks)
        watch("genre_model_loaded_at", "When the model was loaded", lambda: self.models.active.loaded_at)
        watch("genre_model_behind", "Another model was activated than answers", lambda: float(bool(self.behind())))
        watch("genre_quality", "Share of the candidates that sources are asked for", lambda: self.quality.share)
        watch("genre_model_p95_seconds", "95th percentile of the model's time, late", lambda: self.quality.p95)
        watch("genre_policy_on", "The policy may choose", lambda: float(self.explorer.on))
        watch("genre_policy_learned", "Slates that the policy learned from", lambda: self.explorer.learned)
        watch("genre_policy_forgotten", "Slates that it could not learn from", lambda: self.explorer.forgotten)
        watch("genre_nearline_lists", "Lists that were made ahead", lambda: len(self.nearline))

    # What is read of the store, and anew when it changes.

    def _read_settled(self) -> None:
        """Moderation, keys, experiments, model and policy. Raises `StoreError`; what was read before then holds."""
        version = self.store.version()
        if version == self._version and not self.moderation.due():
            return
        self.moderation.read()
        ring = self.store.keys.ring()
        # A revoked key stays in the ring: once there was one, one is needed.
        self.guard.ring, self.guard.needed = ring, bool(ring.keys)
        self.experiments = tuple(one for one in self.store.experiments.list() if one.state == "running")
        with self._changing:
            # Not between a change of the model here and its being written.
            self.settled = self.store.settled.all()
        self._version = version

    def _read_events(self) -> None:
        """Forget what is in memory of users with whom something happened, in this process or another."""
        while events := self.store.events.since(self._seq, PAGE):
            self.engine.people.forget(event.user_id for event in events)
            self._seq = max(event.seq or 0 for event in events)
            if len(events) < PAGE:
                return

    def look(self) -> None:
        """Read what has changed; a store that does not answer is noted, and asked again."""
        try:
            self._read_settled()
            self.explorer.settled(self.settled)
            self._read_events()
            self.store_problem = None
        except GenreError as error:
            if self.store_problem is None:
                LOG.warning("store: %s", error)
            self.store_problem = str(error)
            self.moderation.problem = self.moderation.problem or str(error)

    async def watch(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(WATCH)
            try:
                await self.in_thread(self.look)
                await self.in_thread(self.tend)
            except Exception:
                LOG.exception("watching the store")

    def tend(self) -> None:
        """What is done now and then: candidates, lists made ahead, the policy, and the model that others activated."""
        self.quality.adjust()
        self.nearline.look()
        if self.store_problem is None:
            self._learn(pages=PAGES)
        now = time.monotonic()
        if now - self._judged > JUDGE and self.store_problem is None:
            self._judged = now
            self.judge()
        wanted, (tried, when) = self.behind(), self._tried
        idle = self._following is None or self._following.done()
        if wanted and idle and (wanted != tried or now - when > AGAIN):
            self._tried = wanted, now
            self._following = self._loading.submit(self.follow)

    # What servers of one store agree on.

    def behind(self) -> tuple[str, str] | None:
        """Name and version of the model that was activated, where another one answers."""
        wanted, active = self._activated(), self.models.active
        return None if wanted in (None, self._found, (active.folder.name, active.version)) else wanted

    def _activated(self) -> tuple[str, str] | None:
        value = self.settled.get(f"model:{self.given}")
        return None if value is None else (str(value["name"]), str(value["version"]))

    def follow(self) -> None:
        """Let the model answer that another server has activated; where that fails it is told, and tried again."""
        wanted = self.behind()
        if wanted is None:
            return
        try:
            self.models.follow(*wanted)
            self._found = None
            self.measures.loads.labels("loaded").inc()
        except (GenreError, OSError, ValueError) as error:
            LOG.warning("model %s@%s was activated and does not answer here: %s", *wanted, error)
            self.measures.loads.labels("failed").inc()

    def change(self, work: Callable[[], Loaded], who: str) -> Loaded:
        """Change the model that answers, here and in the store, so that other servers follow; in both or in none."""
        with self._changing:
            before, made = self.models.active, work()
            value = {"name": made.folder.name, "version": made.version, "who": who, "time": time.time()}
            try:
                self.store.settled.put(f"model:{self.given}", value)
            except BaseException:
                self.models.put_back(before)
                raise
            self.settled, self._found = {**self.settled, f"model:{self.given}": value}, None
            return made

    def switch(self, on: bool, why: str, who: str, held: dict[str, float] | None = None) -> None:
        """Let the policy choose, or no more, on every server of the store; ``held`` to what it knew by those times."""
        now = time.time()
        since = now if on else self.explorer.since
        said = {"on": on, "why": why, "who": who, "time": now, "since": since, "held": held}
        self.store.settled.put("policy", said)

    def judge(self) -> None:
        """Remember what the policy believes where its slates earn more than those of the others, beyond the interval.

        Where they earn less it goes back to that, and is stopped where there is nothing to go back to.
        """
        explorer = self.explorer
        if not (explorer.on and explorer.section.share):
            return
        found = explorer.judged()
        why, good = explorer.is_worse(found), explorer.goodness(found)
        if good is not None:
            self.store.settled.put("policy:good", good)
        elif why is not None:
            back = explorer.way_back(self.models.active)
            LOG.warning("the policy is %s: %s", "stopped" if back is None else "taken back", why)
            self.switch(back is not None, why, "this service", back)
            action = "policy.stop" if back is None else "policy.return"
            self.store.audit.add("this service", action, explorer.name, {"why": why})
        else:
            return
        self.look()
        self._learn()

    def _learn(self, to_keep: bool = False, pages: float = math.inf) -> None:
        """Let the policy learn from the slates whose time is over."""
        try:
            self.explorer.learn(to_keep=to_keep, pages=pages)
        except GenreError as error:
            LOG.warning("the policy does not learn: %s", error)

    async def in_thread(self, work: Callable[..., T], *given: Any) -> T:
        """Do something that waits, such as for the store, beside the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(work, *given))

    async def settle(self, who: str, action: str, target: str, work: Callable[[], T], **detail: Any) -> T:
        """Something that an administrator does: done, written into the audit, and in force at once."""

        def done() -> T:
            made = work()
            self.store.audit.add(who, action, target, detail)
            self.look()
            return made

        return await self.in_thread(done)

    # What requests ask for.

    def answering(self, wish: Wish) -> Answering:
        """Who answers a wish; without a user nobody is in an experiment, and no policy chooses."""
        active = self.models.active
        if wish.user_id is None:
            return Answering(active)
        chosen_for = self.explorer.arm(wish.user_id)
        for experiment in self.experiments:
            arm = arm_for(experiment, wish.user_id)
            if arm is None:
                continue
            arms = arms_of(experiment.settings) if interleaves(experiment) else [arm]
            found = [active if not one.model else self.models.get(one.model) for one in arms]
            models = [one for one in found if one is not None and one.pipeline is not None]
            if len(models) < len(arms) or (arm.policy and not self.explorer.on):
                # An arm whose model is gone, or whose policy is stopped, must not be counted as if it had answered.
                self.measures.degraded.labels("experiment_arm_missing").inc()
                continue
            if interleaves(experiment):
                pair, names = (models[0], models[1]), (arms[0].name, arms[1].name)
                return Answering(active, {"experiment": experiment.name, "arm": MIXED}, False, pair, names)
            explore = chosen_for == POLICY if arm.policy is None else arm.policy
            return Answering(models[0], {"experiment": experiment.name, "arm": arm.name}, explore)
        return Answering(active, explore=chosen_for == POLICY)

    async def recommend(self, wish: Wish, key_id: str | None) -> tuple[Answer, dict[str, str]]:
        """A slate, which will be written; and the experiment and arm that it belongs to."""
        who, until = self.answering(wish), time.monotonic() + wish.seconds
        answer = None
        if who.pair is not None:
            answer = await self.engine.mixed(wish, who.pair, who.names)
            if answer is None:
                # Of one model alone it says nothing of the two.
                who, wish = Answering(self.models.active), replace(wish, seconds=max(0.0, until - time.monotonic()))
        if answer is None:
            answer = await self.engine.answer(wish, who.model, who.explore)
        facts = who.assigned
        if not facts and wish.user_id is not None and (arm := self.explorer.arm(wish.user_id)) is not None:
            facts = {"experiment": self.explorer.name, "arm": arm}
        self.engine.log(wish, answer, key_id=key_id, **facts)
        return answer, who.assigned

    async def history(self, wish: Wish, model: Loaded) -> Histories:
        """The history of the person of a wish as it is now."""
        return (await self.engine.known(wish, model, time.monotonic() + PATIENCE)).person.history

    async def compute(self, work: Callable[[], T], seconds: float = PATIENCE) -> T:
        """Something on the inference thread. Raises `Full`, `TimeoutError`, and what the work raises."""
        future = self.engine.inference.submit(Call(work, time.monotonic() + seconds))
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), seconds)
        except asyncio.CancelledError:
            if not future.cancelled():
                raise
            raise TimeoutError from None

    async def take(self, events: Sequence[Event]) -> list[Receipt]:
        """Keep events; returns when they are durable, and their users' next slates know of them."""
        receipts = await asyncio.wrap_future(self.store.events.submit(list(events)))
        self.engine.people.forget({event.user_id for event in events})
        return receipts

    async def load(self, name: str, who: str) -> Loaded:
        """Load a model beside the one that answers; one at a time."""

        def work() -> Loaded:
            try:
                made = self.models.load(name)
            except GenreError:
                self.measures.loads.labels("failed").inc()
                raise
            self.measures.loads.labels("loaded").inc()
            with contextlib.suppress(StoreError):
                self.store.audit.add(who, "model.load", name, {"version": made.version})
            return made

        return await asyncio.get_running_loop().run_in_executor(self._loading, work)

    def close(self) -> None:
        """Finish what is under way and write what waits. The store is its owner's to close."""
        self.draining = True
        self.engine.close()
        self.slates.close(self.settings.drain_seconds)
        self._learn(to_keep=True)
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._loading.shutdown(wait=False, cancel_futures=True)
