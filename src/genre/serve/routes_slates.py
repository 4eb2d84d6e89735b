"""Recommending, over HTTP: slates, similar items, texts in order, predictions, vectors."""

from __future__ import annotations

import dataclasses
import time
from typing import Annotated, Any

import numpy as np
from fastapi import Path, Query, Request, Response
from pydantic_core import to_json

from genre.data import Histories
from genre.errors import GenreError
from genre.serve.allowing import Allowed, Condition
from genre.serve.batching import Full
from genre.serve.engine import Answer, Wish
from genre.serve.guard import router
from genre.serve.loaded import Loaded
from genre.serve.problems import unfit
from genre.serve.service import Service
from genre.serve.shapes import (
    ColumnCondition,
    EmbedReply,
    EmbedRequest,
    Id,
    PredictReply,
    PredictRequest,
    RecommendRequest,
    RerankReply,
    RerankRequest,
    SimilarReply,
    SlateReply,
)
from genre.store.faults import NotFound
from genre.types import Floats

asking = router("read", "recommend", (404, 409))
EXPLAINING = 5.0
"""Seconds that reasons may take beyond the slate."""


def service_of(request: Request) -> Service:
    """The service that a request is for."""
    return request.app.state.service


def answered(body: Any, status: int = 200) -> Response:
    """Plain data as JSON; what is not finite is null."""
    return Response(to_json(body, inf_nan_mode="null"), status, media_type="application/json")


@asking.post("/recommend", response_model=SlateReply)
async def recommend(request: Request, asked: RecommendRequest) -> Response:
    """A slate for a user, a history, or a text.

    What is not ready within the deadline is answered from an earlier slate, else by what is popular; `rung` and
    `degraded` say so. Hidden and blocked items are never in it.
    """
    started, service = time.perf_counter(), service_of(request)
    if asked.k > service.settings.max_k:
        raise unfit("k", f"is {asked.k}; serve.max_k allows {service.settings.max_k}")
    wish = _wish(asked, service)
    answer, assigned = await service.recommend(wish, request.scope["state"].get("key_id"))
    reasons = await _reasons(service, wish, answer, asked) if asked.explain else {}
    columns = _columns(service, answer.model, [one["item_id"] for one in answer.items], asked.columns)
    items = [
        {**one, "rank": rank, "columns": columns.get(one["item_id"], {}), "explanation": reasons.get(one["item_id"])}
        for rank, one in enumerate(answer.items, 1)
    ]
    body = {
        "slate_id": answer.slate_id,
        "user_id": wish.user_id,
        "model": _name(answer.model),
        "items": items,
        "rung": answer.rung,
        "degraded": answer.degraded,
        "unknown_items": answer.unknown,
        "experiment": {"name": assigned["experiment"], "arm": assigned["arm"]} if assigned else None,
        "trace": None,
    }
    if asked.trace:
        body["trace"] = {
            "seconds": answer.seconds,
            "removed": answer.removed,
            "skipped": answer.skipped,
            "from_cache": answer.from_cache,
            "milliseconds": round(1000 * (time.perf_counter() - started), 3),
        }
    response = answered(body)
    if answer.rung != "full" or answer.degraded:
        response.headers["x-degraded"] = ",".join([answer.rung, *answer.degraded])[:500]
    return response


def _wish(asked: RecommendRequest, service: Service) -> Wish:
    return Wish(
        user_id=asked.user_id,
        history=None if asked.history is None else tuple(asked.history),
        text=asked.text,
        k=asked.k,
        exclude=tuple(asked.exclude),
        conditions=tuple(_condition(one) for one in asked.filters),
        seconds=(asked.deadline_ms or service.settings.deadline_ms) / 1000,
    )


def _condition(one: ColumnCondition) -> Condition:
    return Condition(one.column, tuple(one.any_of), tuple(one.none_of), one.low, one.high)


def _name(model: Loaded) -> dict[str, str]:
    return {"name": model.folder.name, "version": model.version}


def _columns(service: Service, model: Loaded, items: list[str], columns: list[str]) -> dict[str, dict[str, Any]]:
    """The columns asked for, as they are now, of items that the model knows. Raises `Refused` for an unknown column."""
    if not columns:
        return {}
    known = [item for item in items if item in model.rows]
    try:
        values = [service.moderation.now.columns(model).values(column, known) for column in columns]
    except GenreError as error:
        raise unfit("columns", str(error)) from error
    return {item: dict(zip(columns, row, strict=True)) for item, *row in zip(known, *values, strict=True)}


async def _reasons(service: Service, wish: Wish, answer: Answer, asked: RecommendRequest) -> dict[str, Any]:
    """Reasons for the items that the model ranked; where they take too long the slate goes without, and says so."""
    from genre.explaining import explain_items

    model, moderated = answer.model, service.moderation.now
    wanted = model.mask(model.rows_of(wish.exclude)[0], moderated.columns(model).mask(wish.conditions))
    ranked = [one["item_id"] for one in answer.items if one["sources"] and one["item_id"] in model.rows]
    history = await service.history(wish, model)

    def work() -> dict[str, Any]:
        model.deadline.until = time.monotonic() + EXPLAINING
        allowed = moderated.passes(model) if wanted is None else moderated.passes(model) & wanted
        path = model.path.changed(filters={**model.path.filters, "allowed": Allowed(allowed[None])})
        asked_of: Histories = dataclasses.replace(history, texts=(wish.text,))
        found = explain_items(path, asked_of, ranked, language=asked.language)
        return {one.item_id: dataclasses.asdict(one) for one in found}

    try:
        return await service.compute(work, EXPLAINING)
    except (TimeoutError, GenreError, Full) as error:
        answer.degraded.append(f"explanations:{type(error).__name__}")
        return {}


@asking.get("/items/{item_id}/similar", response_model=SimilarReply)
async def similar(
    request: Request,
    item_id: Annotated[Id, Path(description="An item that the model knows.")],
    k: Annotated[int, Query(ge=1, description="How many; serve.max_k is the most.")] = 10,
) -> Response:
    """The items whose vectors are nearest to an item's, hidden and blocked ones left out."""
    service = service_of(request)
    model = service.models.active
    if k > service.settings.max_k:
        raise unfit("k", f"is {k}; serve.max_k allows {service.settings.max_k}")
    row = model.path.item_row(item_id) if item_id in model.rows else None
    if row is None:
        raise NotFound(f"the model knows no item '{item_id}'")
    allowed = service.moderation.now.passes(model)
    rows, scores = await service.compute(lambda: model.similar(row, k, allowed))
    items = [{"item_id": model.item_ids[r], "score": s} for r, s in zip(rows.tolist(), scores.tolist(), strict=True)]
    return answered({"model": _name(model), "items": items})


@asking.post("/rerank", response_model=RerankReply)
async def rerank(request: Request, asked: RerankRequest) -> Response:
    """Texts, or items, in order for a query or for a user, best first.

    A query and texts are compared by the language model's vectors (cosine); a user by the score of their next item.
    """
    service = service_of(request)
    model = service.models.active
    if asked.items:
        scores = await _item_scores(service, model, asked)
    else:
        scores = await service.compute(lambda: _text_scores(model, asked))
    order = np.argsort(-scores, kind="stable")[: asked.top_n or len(scores)].tolist()
    results = [
        {
            "index": place,
            "relevance_score": float(scores[place]),
            "document": {"text": asked.documents[place]} if asked.return_documents else None,
        }
        for place in order
    ]
    usage = {"documents": len(asked.documents)}
    return answered({"model": f"{model.folder.name}@{model.version}", "results": results, "usage": usage})


def _text_scores(model: Loaded, asked: RerankRequest) -> Floats:
    if asked.query is None:
        raise unfit("query", "is needed to compare texts; for a user alone send ids of items, with items: true")
    vectors = model.embed([asked.query, *asked.documents])
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return unit[1:] @ unit[0]


async def _item_scores(service: Service, model: Loaded, asked: RerankRequest) -> Floats:
    rows, unknown = model.rows_of(asked.documents)
    if unknown:
        raise unfit("documents", f"the model knows no item '{unknown[0]}'")
    wish = Wish(user_id=asked.user_id, text=asked.query)
    history = dataclasses.replace(await service.history(wish, model), texts=(asked.query,))

    def work() -> Floats:
        model.deadline.until = time.monotonic() + EXPLAINING
        within = np.zeros((1, len(model.item_ids)), dtype=bool)
        within[0, rows] = True
        scores, _ = model.path.score_block(history, within)
        return np.nan_to_num(scores[0, rows], neginf=-1e30)

    return await service.compute(work)


@asking.post("/predict", response_model=PredictReply)
async def predict(request: Request, asked: PredictRequest) -> Response:
    """What every head says: of texts (a `text` model), or of a person and items (a model that recommends)."""
    service = service_of(request)
    model = service.models.active
    if asked.texts is not None:
        texts, reader = asked.texts, model.texts
        if reader is None:
            raise GenreError(
                f"model '{model.folder.name}' recommends; ask its heads with user_id or history, and items"
            )
        found = await service.compute(lambda: reader.predict(texts))
        return answered({"model": _name(model), "predictions": [{"item_id": None, **one} for one in found]})
    rows, unknown = model.rows_of(asked.items or [])
    history = None if asked.history is None else tuple(asked.history)
    person = await service.history(Wish(user_id=asked.user_id, history=history), model)
    owner = np.zeros(len(rows), dtype=np.int32)
    reader, items = model.path.resources.model, np.array(rows, dtype=np.int32)
    if reader is None:
        raise GenreError(f"run '{model.folder.name}' has no model, whose heads could be asked")
    heads = model.path.heads
    said = await service.compute(
        lambda: {head: reader.predict(head, person, items, owner).tolist() for head in heads} if rows else {}
    )
    predictions = [
        {"text": None, "item_id": model.item_ids[row], "heads": {head: said[head][i] for head in heads}}
        for i, row in enumerate(rows)
    ]
    return answered({"model": _name(model), "predictions": predictions, "unknown_items": unknown})


@asking.post("/embed", response_model=EmbedReply)
async def embed(request: Request, asked: EmbedRequest) -> Response:
    """Vectors of texts by the fine-tuned language model, or of items by the model."""
    service = service_of(request)
    model = service.models.active
    if asked.texts:
        texts = asked.texts
        vectors = await service.compute(lambda: model.embed(texts))
        return answered({"model": _name(model), "vectors": vectors.tolist(), "unknown_items": []})
    rows, unknown = model.rows_of(asked.items)
    unit = await service.compute(lambda: model.unit_vectors)
    return answered({"model": _name(model), "vectors": unit[rows].tolist(), "unknown_items": unknown})
