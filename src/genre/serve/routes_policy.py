"""The policy in the path over HTTP: what it is, what it earns beside the others, and its switch."""

from __future__ import annotations

import dataclasses
from typing import Any

from fastapi import Request, Response
from pydantic import Field

from genre.component import describe
from genre.serve.adminshapes import ArmReply, DifferenceReply, Object
from genre.serve.guard import router
from genre.serve.routes_slates import answered, service_of
from genre.serve.service import Service
from genre.serve.shapes import Asked, Told, Why

reading = router("read", "policy")
switching = router("admin", "policy")


class SwitchRequest(Asked):
    """Let the policy choose, or no more."""

    why: Why


class PolicyReply(Told):
    """The policy that chooses among what the model ranked."""

    policy: Object = Field(description="Its type and every field.")
    share: float = Field(description="Share of the users for whom it chooses, experiments aside.")
    on: bool = Field(description="Whether it may choose; where it may not, all get the best by score.")
    why: str = Field(description="Why it was stopped, or started.")
    since: float = Field(description="From when on slates are compared, UTC seconds; 0 is from the first.")
    held: bool = Field(
        description="It was taken back to what it believed when it was last surely better, and learns no more until it "
        "is started again."
    )
    learned: int = Field(description="Slates that what it believes was learned from.")
    arms: list[ArmReply] = Field(description="Reward of a slate for those whom it chooses for, and for the others.")
    difference: DifferenceReply | None = Field(description="The policy beside the others.")


async def _reply(service: Service) -> Response:
    explorer = service.explorer

    def work() -> dict[str, Any]:
        found = explorer.compared()
        return {
            "policy": describe(explorer.policy),
            "share": explorer.section.share,
            "on": explorer.on,
            "why": explorer.why,
            "since": explorer.since,
            "held": explorer.held is not None,
            "learned": explorer.learned,
            "arms": [dataclasses.asdict(one) for one in found.arms],
            "difference": None if found.difference is None else dataclasses.asdict(found.difference),
        }

    return answered(await service.in_thread(work))


@reading.get("/policy", response_model=PolicyReply)
async def policy(request: Request) -> Response:
    """The policy, and what its slates earned beside those of the others, with intervals drawn over users."""
    return await _reply(service_of(request))


@switching.post("/policy/stop", response_model=PolicyReply)
async def stop(request: Request, asked: SwitchRequest) -> Response:
    """Let everybody get the best by score, on all servers of this store, until it is started again."""
    return await _switch(request, False, asked.why)


@switching.post("/policy/start", response_model=PolicyReply)
async def start(request: Request, asked: SwitchRequest) -> Response:
    """Let it choose again, and learn on; what it earns is compared from now on."""
    return await _switch(request, True, asked.why)


async def _switch(request: Request, on: bool, why: str) -> Response:
    service, who = service_of(request), request.scope["state"]["who"]
    action = "policy.start" if on else "policy.stop"
    await service.settle(who, action, service.explorer.name, lambda: service.switch(on, why, who), why=why)
    return await _reply(service)
