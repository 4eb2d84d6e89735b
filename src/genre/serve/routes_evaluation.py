"""What a model was made from and what was measured of it, over HTTP: its evaluation, learning curves, configuration."""

from __future__ import annotations

import json
import re
from pathlib import Path as Folder
from typing import Annotated, Any

from fastapi import Path, Request, Response
from pydantic import Field

from genre.serve.guard import router
from genre.serve.judging import measured
from genre.serve.routes_slates import answered, service_of
from genre.serve.service import Service
from genre.serve.shapes import Name, Told
from genre.store.faults import NotFound

reading = router("read", "models", (404,))
settings = router("admin", "models", (404,))
PASSWORD = re.compile(r"(\w+://[^:/@\s]*):[^@\s]*@")
"""Of an address, which is nobody's to read."""


class EvaluationReply(Told):
    """What `genre evaluate` and `genre train` wrote of a model."""

    metrics: dict[str, Any] = Field(description="evaluate/metrics.json: systems, comparisons, gate, slices.")
    curves: list[dict[str, Any]] = Field(description="model/curves.parquet: a row an epoch; empty for no training.")


class ConfigReply(Told):
    """The configuration of a model's run."""

    config: dict[str, Any] = Field(description="config.json; passwords of addresses are left out.")


@reading.get("/models/{name}/evaluation", response_model=EvaluationReply)
async def evaluation(request: Request, name: Annotated[Name, Path()]) -> Response:
    """The whole evaluation of a model, and how its training went. 404 where nothing has been measured."""
    service = service_of(request)

    def work() -> dict[str, Any]:
        import pyarrow.parquet as pq

        folder = _folder(service, name)
        found = measured(folder)
        if found is None:
            raise NotFound(f"model '{name}' is not measured; run 'genre evaluate'")
        curves = folder / "model" / "curves.parquet"
        return {"metrics": found, "curves": pq.read_table(curves).to_pylist() if curves.exists() else []}

    return answered(await service.in_thread(work))


@settings.get("/models/{name}/config", response_model=ConfigReply)
async def config(request: Request, name: Annotated[Name, Path()]) -> Response:
    """The configuration that a model was made from, every default written out."""
    service = service_of(request)

    def work() -> dict[str, Any]:
        text = (_folder(service, name) / "config.json").read_text(encoding="utf-8")
        return {"config": json.loads(PASSWORD.sub(r"\1:***@", text))}

    return answered(await service.in_thread(work))


def _folder(service: Service, name: str) -> Folder:
    if name not in service.models.names():
        raise NotFound(f"no model '{name}'; there are: {', '.join(service.models.names())}")
    return service.models.home / name
