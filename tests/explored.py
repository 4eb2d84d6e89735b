"""A service whose policy chooses: asked, answered to, and told that the time of its slates is over."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from genre.component import Slot
from genre.learnsection import RewardSection
from genre.serve.beliefs import Beliefs
from genre.serve.exploring import GRACE, Explorer
from genre.serve.service import Service
from genre.serve.wishes import Answer, Wish
from genre.servesection import ExploreSection
from genre.store.checking import checked
from genre.store.records import Event

SOFTMAX = Slot("policies").build({"type": "softmax", "temperature": 2.0})


def section(**fields: Any) -> ExploreSection:
    return ExploreSection(**{"share": 0.5, "policy": SOFTMAX, "pool": 6, "least": 2, **fields})


def recommended(made: Service, user: str, **wish: Any) -> tuple[Answer, dict[str, str]]:
    return asyncio.run(made.recommend(Wish(user_id=user, **{"k": 3, "seconds": 5.0, **wish}), None))


def ids(answer: Answer) -> list[str]:
    return [one["item_id"] for one in answer.items]


def settled(made: Service) -> None:
    """Wait until all slates are written."""
    until = time.monotonic() + 10
    while len(made.slates) and time.monotonic() < until:
        time.sleep(0.02)


def touch(made: Service, slate_id: str, user: str, item: str, action: str = "click") -> None:
    """An event on an item of a slate."""
    event = checked({"user_id": user, "item_id": item, "action": action, "slate_id": slate_id})
    assert isinstance(event, Event)
    made.store.events.append([event])


def users_of(made: Service, arm: str, n: int) -> list[str]:
    """Users for whom the policy chooses, or the others."""
    names = (f"{arm}{i}" for i in range(10_000))
    return [next(one for one in names if made.explorer.arm(one) == arm) for _ in range(n)]


def beliefs(explorer: Explorer) -> Beliefs:
    """What is believed of the one model."""
    [one] = explorer._taught.values()
    assert isinstance(one, Beliefs)
    return one


def learning(made: Service, policy: Any, **fields: Any) -> Explorer:
    """Let a policy choose for all, and learn."""
    reward = RewardSection(events={"like": 1})
    explorer = Explorer(section(share=1.0, policy=policy, learn=True, **fields), policy, reward, made.store)
    explorer.waiting = made.slates.oldest
    explorer.insist(made.models.active)
    made.engine._ranked.clear()
    made.explorer = made.engine.explorer = explorer
    return explorer


def learned(made: Service) -> int:
    """How many slates teach, the time of all being over."""
    settled(made)
    return made.explorer.learn(now=time.time() + made.explorer.section.window_seconds + GRACE)
