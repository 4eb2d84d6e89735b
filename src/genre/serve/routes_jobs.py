"""Jobs that are put in by an administrator, over HTTP: which kinds there are, and a new one."""

from __future__ import annotations

import importlib
import inspect
from typing import Annotated, Any, Literal

from fastapi import Request, Response
from pydantic import Field

from genre import jobs
from genre.serve.adminshapes import JobReply, Object
from genre.serve.guard import router
from genre.serve.problems import Mistake, Refused, unfit
from genre.serve.routes_slates import answered, service_of
from genre.serve.shapes import Asked, Told
from genre.store.records import Job

queueing = router("admin", "service", (409,))
LOCAL = "a path is the command line's to give: genre worker RUN --add KIND --payload JSON"


class SettingReply(Told):
    """An entry of a payload."""

    name: str
    kind: Literal["switch", "count", "number", "name", "names"]
    what: str
    default: str = Field(description="What holds without it, in words.")
    needed: bool


class KindReply(Told):
    """A kind of job."""

    kind: str
    what: str
    settings: list[SettingReply] = Field(description="What its payload may hold.")


class KindList(Told):
    """The kinds of jobs there are."""

    rows: list[KindReply]


class JobRequest(Asked):
    """A job for a worker."""

    kind: Annotated[str, Field(max_length=64)] = Field(description="GET /v1/jobs/kinds lists them.")
    payload: Object = Field(default={}, max_length=50, description="The settings of this kind, by name.")
    priority: int = Field(default=0, ge=-100, le=100, description="Jobs of a higher one go first.")


@queueing.get("/jobs/kinds", response_model=KindList)
async def kinds(request: Request) -> Response:
    """What a worker can do, and what it may be given for it. Paths are the command line's to give, and left out."""
    return answered({"rows": [_kind(kind) for kind in jobs.kinds()]})


@queueing.post("/jobs", response_model=JobReply, status_code=201)
async def add(request: Request, asked: JobRequest) -> Response:
    """Let a worker do something. A worker has to run (`genre worker RUN`); until then the job waits."""
    service, who = service_of(request), request.scope["state"]["who"]
    _insist(asked)

    def work() -> Job:
        made = service.store.jobs.add(asked.kind, asked.payload, priority=asked.priority)
        detail = {"kind": asked.kind, "payload": asked.payload}
        service.store.audit.add(who, "job.add", str(made.number), detail)
        return made

    made = await service.in_thread(work)
    return answered({name: getattr(made, name) for name in JobReply.model_fields}, 201)


def _insist(asked: JobRequest) -> None:
    """Raises `Refused`, which names each entry that is wrong."""
    if asked.kind not in jobs.kinds():
        raise unfit("kind", f"no job is called so; there are {', '.join(jobs.kinds())}")
    known = jobs.settings_of(asked.kind)
    wrong = [
        Mistake(field=f"payload.{one.name}", mend=one.mend, code=f"setting.{one.code}", values=dict(one.values))
        for one in jobs.mistakes(asked.kind, asked.payload)
    ]
    paths = [name for name in asked.payload if name in known and known[name].kind == "path"]
    wrong += [Mistake(field=f"payload.{name}", mend=LOCAL) for name in paths]
    if wrong:
        raise Refused(422, "; ".join(f"{one.field}: {one.mend}" for one in wrong[:3]), wrong[:20])


def _kind(kind: str) -> dict[str, Any]:
    settings = jobs.settings_of(kind)
    rows = [
        {"name": name, "kind": one.kind, "what": one.what, "default": one.default, "needed": one.needed}
        for name, one in settings.items()
        if one.kind != "path"
    ]
    what = inspect.getdoc(importlib.import_module(f"genre.jobs.{kind}")) or ""
    return {"kind": kind, "what": what.splitlines()[0], "settings": rows}
