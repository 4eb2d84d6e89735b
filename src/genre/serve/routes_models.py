"""Models and experiments over HTTP."""

from __future__ import annotations

import dataclasses
from typing import Annotated

from fastapi import Path, Request, Response

from genre.serve.adminshapes import (
    ActivateRequest,
    ExperimentList,
    ExperimentReply,
    ExperimentRequest,
    ExperimentResult,
    ModelList,
    ModelReply,
)
from genre.serve.experiments import arms_of, interleaves, results
from genre.serve.guard import router
from genre.serve.interleaving import Preference, preferred
from genre.serve.problems import unfit
from genre.serve.routes_slates import answered, service_of
from genre.serve.service import Service
from genre.serve.shapes import Name
from genre.store.records import Experiment

looking = router("read", "models", (404,))
changing = router("admin", "models", (404, 409))
trying = router("read", "experiments", (404,))
setting = router("admin", "experiments", (404, 409))


async def _model(service: Service, name: str) -> Response:
    return answered(dataclasses.asdict(await service.in_thread(service.models.facts, name)))


@looking.get("/models", response_model=ModelList)
async def models(request: Request) -> Response:
    """The runs beside the one that the service was started with, each with its evaluation."""
    service = service_of(request)
    known = service.models

    def work() -> list[dict[str, object]]:
        return [dataclasses.asdict(known.facts(name)) for name in known.names()]

    return answered({"rows": await service.in_thread(work)})


@looking.get("/models/{name}", response_model=ModelReply)
async def model(request: Request, name: Annotated[Name, Path()]) -> Response:
    """One model, with its evaluation and whether the gate lets it pass."""
    return await _model(service_of(request), name)


@changing.post("/models/{name}/load", response_model=ModelReply)
async def load(request: Request, name: Annotated[Name, Path()]) -> Response:
    """Read a model, check the hash of every file, and warm it up with requests of late. What answers now goes on.

    One that is damaged is refused and named (409).
    """
    service = service_of(request)
    await service.load(name, request.scope["state"]["who"])
    return await _model(service, name)


@changing.post("/models/{name}/activate", response_model=ModelReply)
async def activate(request: Request, name: Annotated[Name, Path()], asked: ActivateRequest) -> Response:
    """Let a loaded model answer from the next request on. One that is shown to be worse is refused (409).

    Other servers of the same store and run follow within a second and the time to load it.
    """
    service = service_of(request)
    who = request.scope["state"]["who"]
    await service.settle(
        who,
        "model.activate",
        name,
        lambda: service.change(lambda: service.models.activate(name, asked.even_if_worse), who),
        even_if_worse=asked.even_if_worse,
    )
    return await _model(service, name)


@changing.post("/rollback", response_model=ModelReply)
async def roll_back(request: Request) -> Response:
    """Let the model before this one answer again."""
    service = service_of(request)
    who = request.scope["state"]["who"]
    made = await service.settle(who, "model.rollback", "", lambda: service.change(service.models.roll_back, who))
    return await _model(service, made.folder.name)


@changing.post("/models/{name}/unload", status_code=204, response_class=Response)
async def unload(request: Request, name: Annotated[Name, Path()]) -> Response:
    """Let go of a model that waits in memory."""
    service = service_of(request)
    await service.settle(request.scope["state"]["who"], "model.unload", name, lambda: service.models.unload(name))
    return Response(status_code=204)


@trying.get("/experiments", response_model=ExperimentList)
async def experiments(request: Request) -> Response:
    """All experiments."""
    service = service_of(request)
    rows = await service.in_thread(service.store.experiments.list)
    return answered({"rows": [dataclasses.asdict(one) for one in rows]})


@trying.get("/experiments/{name}", response_model=ExperimentResult)
async def experiment(request: Request, name: Annotated[Name, Path()]) -> Response:
    """An experiment and what came of it so far: rates of answered slates, or which model's items were chosen.

    Intervals are drawn over users.
    """
    service = service_of(request)

    def work() -> dict[str, object]:
        found = service.store.experiments.get(name)
        outcomes = service.store.slates.outcomes(name, found.settings["actions"])
        arms, differences = results(found, outcomes)
        return {
            "experiment": dataclasses.asdict(found),
            "arms": [dataclasses.asdict(one) for one in arms],
            "differences": [dataclasses.asdict(one) for one in differences],
            "preference": dataclasses.asdict(_preference(service, found)) if interleaves(found) else None,
        }

    return answered(await service.in_thread(work))


def _preference(service: Service, found: Experiment) -> Preference:
    first, second = (arm.name for arm in arms_of(found.settings))
    return preferred((first, second), service.store.slates.answers(found.name, found.settings["actions"]))


@setting.put("/experiments/{name}", response_model=ExperimentReply)
async def put_experiment(request: Request, name: Annotated[Name, Path()], asked: ExperimentRequest) -> Response:
    """Set up an experiment, or change one that has not run yet."""
    service = service_of(request)
    who = request.scope["state"]["who"]
    settings = asked.model_dump(mode="json")
    made = await service.settle(who, "experiment.put", name, lambda: service.store.experiments.put(name, settings, who))
    return answered(dataclasses.asdict(made))


@setting.post("/experiments/{name}/start", response_model=ExperimentReply)
async def start(request: Request, name: Annotated[Name, Path()]) -> Response:
    """Let it run; its models must be in memory."""
    service = service_of(request)
    found = await service.in_thread(service.store.experiments.get, name)
    for arm in found.settings["arms"]:
        if arm.get("model") and service.models.get(arm["model"]) is None:
            why = f"model '{arm['model']}' is not loaded; POST /v1/models/{arm['model']}/load first"
            raise unfit("arms", why, "not_loaded", name=arm["model"])
    if any(arm.get("policy") for arm in found.settings["arms"]):
        await service.in_thread(service.explorer.insist, service.models.active)
    who = request.scope["state"]["who"]
    made = await service.settle(who, "experiment.start", name, lambda: service.store.experiments.start(name))
    return answered(dataclasses.asdict(made))


@setting.post("/experiments/{name}/stop", response_model=ExperimentReply)
async def stop(request: Request, name: Annotated[Name, Path()]) -> Response:
    """Let it run no more; its result stays."""
    service = service_of(request)
    who = request.scope["state"]["who"]
    made = await service.settle(who, "experiment.stop", name, lambda: service.store.experiments.stop(name))
    return answered(dataclasses.asdict(made))


@setting.delete("/experiments/{name}", status_code=204, response_class=Response)
async def delete(request: Request, name: Annotated[Name, Path()]) -> Response:
    """Forget an experiment that does not run."""
    service = service_of(request)
    who = request.scope["state"]["who"]
    await service.settle(who, "experiment.delete", name, lambda: service.store.experiments.delete(name))
    return Response(status_code=204)
