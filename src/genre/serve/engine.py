"""From a wish to a slate, in time: by the model, else an earlier or ready one, else what is popular; it says which."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np

from genre.component import name_of
from genre.data import Histories
from genre.errors import GenreError
from genre.serve.arranging import Pin, Shown, arrange
from genre.serve.batching import Ask, Call, Inference
from genre.serve.beliefs import packed
from genre.serve.caches import Cache
from genre.serve.exploring import Explorer
from genre.serve.interleaving import team_draft
from genre.serve.loaded import Loaded
from genre.serve.measures import Measures
from genre.serve.moderated import Moderated, Moderation
from genre.serve.nearline import Nearline
from genre.serve.people import Past, People
from genre.serve.quality import Quality
from genre.serve.slatelog import SlateLog
from genre.serve.wishes import Answer, Found, Known, Ranked, Wish
from genre.servesection import ServeSection
from genre.store import Store
from genre.store.faults import StoreError
from genre.store.records import SlateRow
from genre.types import Bools, Query

LOG = logging.getLogger("genre.serve")
READERS = 4
"""Threads that read the store for requests."""
FOR_NOBODY = 1000
"""Slates for histories and texts alone that are kept: few are asked for twice."""
LOGGED = ("item_id", "score", "sources", "origin", "propensity", "team")
"""What is kept of each item of a slate."""
OF_ONE_SLATE = ("propensity", "team")
"""What is true of an item in one slate only."""
KEEP = 0.1
"""Share of a request's time that is kept for the answer when the store is slow to tell of its user."""


class Engine:
    """Answers wishes; lives on the event loop, computes on the inference thread."""

    def __init__(
        self,
        settings: ServeSection,
        store: Store,
        moderation: Moderation,
        measures: Measures,
        slates: SlateLog,
        explorer: Explorer,
        nearline: Nearline,
        quality: Quality,
    ) -> None:
        self.settings, self.moderation, self.measures, self.slates = settings, moderation, measures, slates
        self.explorer, self.nearline, self.quality = explorer, nearline, quality
        self.people = People(store, settings.cached_users, settings.history)
        seconds = settings.source_ms / 1000
        self.inference = Inference(settings.queue, settings.block, seconds, settings.threads)
        self._ranked: Cache[Any, Ranked] = Cache(settings.cached_users)
        self._ranked_for_nobody: Cache[Any, Ranked] = Cache(FOR_NOBODY)
        self._last: Cache[str, list[Shown]] = Cache(settings.cached_users)
        self._readers = ThreadPoolExecutor(READERS, "store reader")
        self.recent: Cache[Any, Wish] = Cache(64)
        """Wishes of late, by which a new model is warmed up."""

    async def answer(self, wish: Wish, model: Loaded, explore: bool = False) -> Answer:
        """A slate within the time of the wish; with ``explore`` the policy chooses among what the model ranked.

        Raises `GenreError` for a condition on a column that the items do not have, and `Full`.
        """
        k = max(wish.k, self.settings.explore.pool) if explore else wish.k
        found = await self._found(wish, model, time.monotonic() + wish.seconds, k, explore)
        return self._made(found, explore and found.ranked is not None)

    async def mixed(self, wish: Wish, models: tuple[Loaded, Loaded], names: tuple[str, str]) -> Answer | None:
        """A slate of two models, each item with the ``team`` that it came from; None where one could not answer."""
        until = time.monotonic() + wish.seconds
        first, second = await asyncio.gather(*(self._found(wish, one, until, wish.k) for one in models))
        if first.ranked is None or second.ranked is None:
            return None
        drafted = team_draft(first.ranked.items, second.ranked.items, names, wish.k)
        first.problems += [one for one in second.problems if one not in first.problems]
        return self._made(replace(first, ranked=replace(first.ranked, items=drafted)), False)

    async def _found(self, wish: Wish, model: Loaded, until: float, k: int, explore: bool = False) -> Found:
        moderated = self.moderation.now
        wanted = model.mask(model.rows_of(wish.exclude)[0], moderated.columns(model).mask(wish.conditions))
        known = await self.known(wish, model, until)
        found = Found(known, moderated, wanted, None, list(known.problems), False)
        if self.moderation.problem is not None:
            found.problems.append("moderation_stale")
        key = (*_key(wish, model, known.past, moderated), k, explore)
        kept = self._ranked_for_nobody if wish.user_id is None else self._ranked
        earlier = kept.get(key) if known.in_time else None
        # What was made in haste is made anew as soon as there is time.
        if earlier is not None and not (earlier.reduced and not self.quality.reduced):
            found.ranked, found.cached = earlier, True
        elif known.in_time:
            found.ranked = await self._ranked_by_model(found, until, k, explore)
            if found.ranked is not None and not found.problems:
                kept.put(key, found.ranked)
        if found.ranked is not None and found.ranked.reduced:
            found.problems.append("fewer_candidates")
        return found

    async def known(self, wish: Wish, model: Loaded, until: float) -> Known:
        """What is known of the person of a wish, as far as it can be found out in time."""
        if wish.history is not None or wish.user_id is None:
            return Known(wish, model)
        past = self.people.known(wish.user_id)
        if past is not None:
            return Known(wish, model, past)
        reading = asyncio.get_running_loop().run_in_executor(self._readers, self.people.read, wish.user_id)
        try:
            past = await asyncio.wait_for(reading, max((until - time.monotonic()) * (1 - KEEP), 0))
        except TimeoutError:
            return Known(wish, model, in_time=False, problems=["store_timeout"])
        except StoreError:
            return Known(wish, model, problems=["store_unavailable"])
        return Known(wish, model, past)

    async def _ranked_by_model(self, found: Found, until: float, k: int, explore: bool) -> Ranked | None:
        known, problems, started = found.known, found.problems, time.monotonic()
        wish, model, reduced = known.wish, known.model, self.quality.reduced
        query = Query(user_id=wish.user_id, history=wish.history, text=wish.text, k=k)
        passes = found.moderated.passes(model)
        waiting = self.inference.submit(Ask(model, known.person.history, query, passes, found.wanted, until))
        try:
            slate = await asyncio.wait_for(asyncio.wrap_future(waiting), max(0.0, until - time.monotonic()))
        except TimeoutError:
            problems.append("model_timeout")
            return None
        except asyncio.CancelledError:
            if not waiting.cancelled():
                raise
            problems.append("model_timeout")
            return None
        except Exception as error:
            # Whatever it is, the person gets a slate; what nobody foresaw is told in the log.
            LOG.warning("model %s failed: %s", model.name, error, exc_info=not isinstance(error, GenreError))
            problems.append("model_failed")
            return None
        finally:
            self.quality.took(time.monotonic() - started)
        for stage, seconds in slate.seconds.items():
            self.measures.stages.labels(stage).inc(seconds)
        problems.extend(f"source_failed:{name}" for name, why in slate.skipped.items() if why.startswith("failed"))
        self.recent.put((wish.user_id, wish.history, wish.text), wish)
        ranked = Ranked.of(slate, known.person.unknown, reduced)
        if explore and self.explorer.needs_contexts():
            return await self._with_about(ranked, known, until, problems)
        return ranked

    async def _with_about(self, ranked: Ranked, known: Known, until: float, problems: list[str]) -> Ranked:
        """The same with what the policy chooses by; without it the order stays the model's, and that is told."""
        model, history, items = known.model, known.person.history, [one["item_id"] for one in ranked.items]
        asked = Call(lambda: self.explorer.about(model, history, items), until)
        try:
            waiting = asyncio.wrap_future(self.inference.submit(asked))
            return replace(ranked, about=await asyncio.wait_for(waiting, max(0.0, until - time.monotonic())))
        except asyncio.CancelledError:
            if not asked.future.cancelled():
                raise
        except Exception as error:
            LOG.warning(
                "the policy cannot choose: %s", error, exc_info=not isinstance(error, (GenreError, TimeoutError))
            )
        problems.append("policy_failed")
        return ranked

    def _made(self, found: Found, explore: bool) -> Answer:
        """The slate of the highest rung that there is, arranged."""
        known, ranked, problems, allowed = found.known, found.ranked, found.problems, found.allowed
        wish, model, slate_id = known.wish, known.model, f"{random.getrandbits(128):032x}"
        pins = [pin for pin in found.moderated.pins if _may_pin(pin, wish, model, allowed)]
        policy: str | None = None
        if ranked is not None:
            rung, items = "full", ranked.items
            chosen = self._chosen(found, ranked, pins, slate_id) if explore else None
            if chosen is not None:
                items, policy = chosen, name_of(self.explorer.policy)
            if wish.user_id is not None:
                self._last.put(wish.user_id, items)
        else:
            rung, items = self._lower(known, allowed)
        most = self.settings.reserve if items else max(wish.k, self.settings.reserve)
        made = arrange(items, pins, _reserve(known, allowed, most), wish.k)
        self.measures.filled.inc(made.filled if rung in ("full", "cached", "nearline") else 0)
        self._count(rung, model, problems)
        answer = Answer(slate_id, model, made.items, rung, problems, from_cache=found.cached, policy=policy)
        if ranked is not None:
            answer.removed, answer.skipped = ranked.removed, ranked.skipped
            answer.seconds, answer.unknown = ranked.seconds, ranked.unknown
            answer.about = ranked.about if policy else None
        return answer

    def _chosen(self, found: Found, ranked: Ranked, pins: Sequence[Pin], slate_id: str) -> list[Shown] | None:
        """What the policy takes of what was ranked, for the places that no pinned item has; None where it fails."""
        wish, problems = found.known.wish, found.problems
        if "policy_failed" in problems:
            return None
        pinned = {pin.item_id for pin in pins if pin.place <= wish.k}
        free = [place for place, one in enumerate(ranked.items) if one["item_id"] not in pinned]
        about = None if ranked.about is None else ranked.about.of(free)
        items, k = [ranked.items[place] for place in free], max(0, wish.k - len(pinned))
        try:
            chosen = self.explorer.choose(found.known.model, items, about, k, slate_id)
        except Exception as error:
            LOG.warning("the policy cannot choose: %s", error, exc_info=not isinstance(error, GenreError))
            problems.append("policy_failed")
            return None
        self.measures.explored.inc()
        return [*chosen, *(one for one in ranked.items if one["item_id"] in pinned)]

    def _lower(self, known: Known, allowed: Bools) -> tuple[str, list[Shown]]:
        """The next best to the model's answer: an earlier slate of the same user, else a list made ahead, else none."""
        user_id = known.wish.user_id
        earlier = [] if user_id is None else self._last.get(user_id) or []
        for rung, items in (("cached", earlier), ("nearline", self.nearline.of(user_id))):
            if still := self._still(known, allowed, items):
                return rung, still
        return "popular" if known.in_time else "static", []

    def _still(self, known: Known, allowed: Bools, items: Sequence[Shown]) -> list[Shown]:
        """What of some items may still be shown; by what chance they once were says nothing of this slate."""
        model = known.model
        rows = np.array([model.rows.get(one["item_id"], -1) for one in items], dtype=np.int32)
        good = (rows >= 0) & allowed[rows] & model.passes(_history(known), rows)
        kept = [one for one, fine in zip(items, good.tolist(), strict=True) if fine]
        return [{name: value for name, value in one.items() if name not in OF_ONE_SLATE} for one in kept]

    def _count(self, rung: str, model: Loaded, problems: Sequence[str]) -> None:
        self.measures.slates.labels(rung, model.name).inc()
        for problem in problems:
            self.measures.degraded.labels(problem).inc()

    def log(self, wish: Wish, answer: Answer, **facts: Any) -> None:
        """Let the slate be written, once it is answered."""
        items = [{name: one[name] for name in LOGGED if name in one} for one in answer.items]
        request: dict[str, Any] = {"k": wish.k, "rung": answer.rung, "has_text": bool(wish.text)}
        if answer.policy is not None:
            request["policy"] = answer.policy
        if answer.about is not None and len(answer.about.person):
            # By it, the items and their scores it is known for ever what the policy saw.
            request["person"] = packed(answer.about.person)
        if wish.history is not None:
            request["history"] = list(wish.history)
        model = f"{answer.model.name}@{answer.model.version}"
        degraded = [*answer.degraded, *([answer.rung] if answer.rung != "full" else [])]
        self.slates.put(
            SlateRow(
                answer.slate_id, wish.user_id, model, items, time.time(), request=request, degraded=degraded, **facts
            )
        )

    def forget(self, user_id: str) -> None:
        """Let go of all that is in memory of a user who was erased."""
        self._last.drop(user_id)
        self._ranked.clear()
        self.recent.clear()

    def warm(self, model: Loaded) -> int:
        """Answer wishes of late by a model that is to take over; how many there were."""
        wishes = list(self.recent.values())
        moderated = self.moderation.now
        everything = np.ones(len(model.item_ids), dtype=bool)
        for wish in wishes:
            person = model.person(wish.user_id, ()) if wish.history is None else model.of_items(wish.history)
            query = Query(user_id=wish.user_id, history=wish.history, text=wish.text, k=wish.k)
            soon = time.monotonic() + 10
            self.inference.slates([Ask(model, person.history, query, moderated.passes(model), everything, soon)])
        return len(wishes)

    def close(self) -> None:
        """Let the threads end."""
        self.inference.close()
        self._readers.shutdown(wait=False, cancel_futures=True)


def _may_pin(pin: Pin, wish: Wish, model: Loaded, allowed: Bools) -> bool:
    """Whether a pinned item suits the wish; of one that the model does not know no condition can be judged."""
    row = model.rows.get(pin.item_id)
    suits = not wish.conditions if row is None else bool(allowed[row])
    return suits and pin.item_id not in wish.exclude


def _reserve(known: Known, allowed: Bools, most: int) -> Iterator[str]:
    """The ``most`` most popular items that may be shown to a person, looked for only as far as they are asked for."""
    model, found = known.model, 0
    rows = model.popular[allowed[model.popular]]
    for start in range(0, len(rows), max(most, 1)):
        some = rows[start : start + most]
        for row in some[model.passes(_history(known), some)].tolist():
            if found == most:
                return
            found += 1
            yield model.item_ids[row]


def _history(known: Known) -> Histories:
    return known.person.history if known.in_time else known.model.of_items(()).history


def _key(wish: Wish, model: Loaded, past: Past | None, moderated: Moderated) -> Any:
    """All that a slate depends on."""
    happened = None if past is None else past.serial
    who = (wish.user_id, happened, wish.history, wish.text)
    told = moderated.change if wish.conditions else 0
    return (model.version, *who, wish.exclude, wish.conditions, moderated.number, told)
