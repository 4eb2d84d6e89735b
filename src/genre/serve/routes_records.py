"""What is kept, over HTTP: events, items, users, slates."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

from fastapi import Path, Query, Request, Response

from genre.serve.guard import router
from genre.serve.problems import Mistake, Refused, unfit
from genre.serve.recordshapes import (
    ColumnsRequest,
    EntriesReply,
    EntriesRequest,
    EntryPage,
    EntryReply,
    Erased,
    EventPage,
    EventsReply,
    EventsRequest,
    SlateList,
    SlateWithFeedback,
    Withdrawn,
)
from genre.serve.routes_slates import answered, service_of
from genre.serve.service import Service
from genre.serve.shapes import Id
from genre.store.catalogue import Catalogue
from genre.store.checking import checked, checked_columns, checked_entry
from genre.store.faults import NotFound
from genre.store.records import Entry, Event, Receipt, Rejected

reading = router("read", "records", (404,))
writing = router("write", "records", (404,))
erasing = router("admin", "records", (404,))

Limit = Annotated[int, Query(ge=1, le=1000, description="Rows of the page.")]
Cursor = Annotated[str | None, Query(max_length=400, description="The cursor of the page before.")]


@writing.post("/events", response_model=EventsReply)
async def add_events(request: Request, asked: EventsRequest) -> Response:
    """Keep events. The reply comes when they are durable, and the users' next slates know of them.

    Each is judged by itself: accepted, a duplicate of one with its event_id, or rejected with the reason. If all are
    rejected the reply is 422.
    """
    service = service_of(request)
    _insist_on_batch("events", len(asked.events), service)
    found = [checked(raw) for raw in asked.events]
    good = [one for one in found if not isinstance(one, Rejected)]
    if not good:
        raise _nothing_good("events", [one for one in found if isinstance(one, Rejected)])
    kept = iter(await service.take(good))
    receipts: list[dict[str, Any]] = []
    for raw, one in zip(asked.events, found, strict=True):
        if isinstance(one, Rejected):
            name = raw.get("event_id")
            named = name if isinstance(name, str) else ""
            receipts.append({"event_id": named, "status": "rejected", "reason": one.reason, "field": one.field})
        else:
            receipts.append(_receipt(service, one, next(kept)))
    counts = {word: sum(one["status"] == word for one in receipts) for word in ("accepted", "duplicate", "rejected")}
    for word, count in counts.items():
        service.measures.events.labels(word).inc(count)
    return answered(
        {
            "accepted": counts["accepted"],
            "duplicates": counts["duplicate"],
            "rejected": counts["rejected"],
            "receipts": receipts,
        }
    )


def _receipt(service: Service, event: Event, receipt: Receipt) -> dict[str, Any]:
    """What became of an event; users and items that the model's data hold are not unknown."""
    model = service.models.active
    return {
        "event_id": receipt.id,
        "status": receipt.status,
        "reason": receipt.reason,
        "field": None,
        "unknown_user": receipt.unknown_user and event.user_id not in model.users,
        "unknown_item": receipt.unknown_item and event.item_id not in model.rows,
    }


def _insist_on_batch(name: str, count: int, service: Service) -> None:
    if count > service.settings.batch:
        raise unfit(name, f"has {count} rows; serve.batch allows {service.settings.batch} in a request")


def _nothing_good(name: str, rejected: list[Rejected]) -> Refused:
    mistakes = [
        Mistake(field=f"{name}.{i}" + (f".{one.field}" if one.field else ""), mend=one.reason)
        for i, one in enumerate(rejected[:20])
    ]
    return Refused(422, f"none of {len(rejected)} could be kept; the first: {rejected[0].reason}", mistakes)


@reading.get("/events", response_model=EventPage)
async def find_events(
    request: Request,
    user_id: Annotated[Id | None, Query()] = None,
    item_id: Annotated[Id | None, Query()] = None,
    action: Annotated[Id | None, Query()] = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Response:
    """Events of a user, of an item, of an action, or all."""
    service = service_of(request)
    page = await service.in_thread(service.store.events.find, user_id, item_id, action, cursor, limit)
    return answered(dataclasses.asdict(page))


@writing.delete("/events", response_model=Withdrawn)
async def withdraw_events(
    request: Request,
    user_id: Annotated[Id, Query()],
    item_id: Annotated[Id, Query()],
    action: Annotated[Id | None, Query()] = None,
) -> Response:
    """Let events of a user and an item count no more, as if they had not been."""
    service = service_of(request)
    count = await service.in_thread(service.store.events.withdraw, user_id, item_id, action)
    service.engine.people.forget([user_id])
    return answered({"events": count})


@reading.get("/slates/{slate_id}", response_model=SlateWithFeedback)
async def get_slate(request: Request, slate_id: Annotated[Id, Path()]) -> Response:
    """A slate as it was answered, and the events that name it."""
    service = service_of(request)
    waiting = service.slates.get(slate_id)
    slate = waiting or await service.in_thread(service.store.slates.get, slate_id)
    events = await service.in_thread(service.store.slates.feedback, slate_id)
    return answered({**dataclasses.asdict(slate), "events": [dataclasses.asdict(one) for one in events]})


@reading.get("/slates", response_model=SlateList)
async def list_slates(request: Request, user_id: Annotated[Id, Query()], limit: Limit = 20) -> Response:
    """The latest slates of a user."""
    service = service_of(request)
    rows = await service.in_thread(service.store.slates.of_user, user_id, limit)
    return answered({"rows": [dataclasses.asdict(one) for one in rows]})


async def _put(request: Request, asked: EntriesRequest, key: str, catalogue: Catalogue) -> Response:
    service = service_of(request)
    _insist_on_batch("rows", len(asked.rows), service)
    found = [checked_entry(raw, key) for raw in asked.rows]
    good = [one for one in found if not isinstance(one, Rejected)]
    if not good:
        raise _nothing_good("rows", [one for one in found if isinstance(one, Rejected)])

    def work() -> list[Any]:
        kept = catalogue.put(good)
        service.look()
        return kept

    kept = iter(await service.in_thread(work))
    receipts: list[dict[str, Any]] = []
    for raw, one in zip(asked.rows, found, strict=True):
        if isinstance(one, Rejected):
            named = raw.get(key)
            reason = {"status": "rejected", "reason": one.reason}
            receipts.append({"id": named if isinstance(named, str) else "", **reason})
        else:
            receipt = next(kept)
            receipts.append({"id": receipt.id, "status": receipt.status, "reason": receipt.reason})
    counts = {word: sum(one["status"] == word for one in receipts) for word in ("created", "replaced", "rejected")}
    return answered({**counts, "receipts": receipts})


@writing.post("/items", response_model=EntriesReply)
async def put_items(request: Request, asked: EntriesRequest) -> Response:
    """Create items, or replace them. One that the model does not know yet is not recommended until it is indexed."""
    return await _put(request, asked, "item_id", service_of(request).store.items)


@writing.post("/users", response_model=EntriesReply)
async def put_users(request: Request, asked: EntriesRequest) -> Response:
    """Create users, or replace them."""
    return await _put(request, asked, "user_id", service_of(request).store.users)


def _item(service: Service, entry: Entry, origin: str = "store") -> dict[str, Any]:
    model = service.models.active
    row = model.rows.get(entry.id)
    refused = entry.id in service.moderation.now.refused
    if row is not None and not refused:
        refused = not bool(service.moderation.now.passes(model)[row])
    facts = {"id": entry.id, "columns": entry.columns, "created": entry.created, "updated": entry.updated}
    return {**facts, "origin": origin, "servable": row is not None, "refused": refused}


def _user(service: Service, entry: Entry, origin: str = "store") -> dict[str, Any]:
    model = service.models.active
    known = entry.id in model.users
    facts = {"id": entry.id, "columns": entry.columns, "created": entry.created, "updated": entry.updated}
    return {**facts, "origin": origin, "servable": known, "refused": False}


def _of_model(service: Service, name: str, table: str) -> Entry:
    """An item or user that the store does not know and the model's data do. Raises `NotFound`."""
    model = service.models.active
    row = (model.rows if table == "items" else model.users).get(name)
    if row is None:
        raise NotFound(f"no {table[:-1]} '{name}', neither in the store nor in the model's data")
    [columns] = getattr(model.path.data, table).slice(row, 1).to_pylist()
    columns.pop("item_id" if table == "items" else "user_id")
    return Entry(name, columns)


@reading.get("/items", response_model=EntryPage)
async def list_items(
    request: Request,
    cursor: Cursor = None,
    limit: Limit = 100,
    search: Annotated[str | None, Query(max_length=200, description="Words of the id or the columns.")] = None,
) -> Response:
    """Items of the store, by id."""
    service = service_of(request)
    page = await service.in_thread(service.store.items.list, cursor, limit, search)
    return answered({"rows": [_item(service, one) for one in page.rows], "cursor": page.cursor})


@reading.get("/users", response_model=EntryPage)
async def list_users(
    request: Request,
    cursor: Cursor = None,
    limit: Limit = 100,
    search: Annotated[str | None, Query(max_length=200, description="Words of the id or the columns.")] = None,
) -> Response:
    """Users of the store, by id."""
    service = service_of(request)
    page = await service.in_thread(service.store.users.list, cursor, limit, search)
    return answered({"rows": [_user(service, one) for one in page.rows], "cursor": page.cursor})


@reading.get("/items/{item_id}", response_model=EntryReply)
async def get_item(request: Request, item_id: Annotated[Id, Path()]) -> Response:
    """An item, from the store, else from the model's data."""
    service = service_of(request)
    found = (await service.in_thread(service.store.items.get, [item_id])).get(item_id)
    if found is not None and not found.deleted:
        return answered(_item(service, found))
    return answered(_item(service, _of_model(service, item_id, "items"), "model"))


@reading.get("/users/{user_id}", response_model=EntryReply)
async def get_user(request: Request, user_id: Annotated[Id, Path()]) -> Response:
    """A user, from the store, else from the model's data."""
    service = service_of(request)
    found = (await service.in_thread(service.store.users.get, [user_id])).get(user_id)
    if found is not None and not found.deleted:
        return answered(_user(service, found))
    return answered(_user(service, _of_model(service, user_id, "users"), "model"))


def _patched(asked: ColumnsRequest) -> dict[str, Any]:
    columns = checked_columns(asked.columns)
    if isinstance(columns, Rejected):
        raise unfit("columns", columns.reason)
    return columns


@writing.patch("/items/{item_id}", response_model=EntryReply)
async def patch_item(request: Request, item_id: Annotated[Id, Path()], asked: ColumnsRequest) -> Response:
    """Change some columns of an item of the store; null removes one."""
    service = service_of(request)
    columns = _patched(asked)

    def work() -> Entry:
        made = service.store.items.patch(item_id, columns)
        service.look()
        return made

    return answered(_item(service, await service.in_thread(work)))


@writing.patch("/users/{user_id}", response_model=EntryReply)
async def patch_user(request: Request, user_id: Annotated[Id, Path()], asked: ColumnsRequest) -> Response:
    """Change some columns of a user of the store; null removes one."""
    service = service_of(request)
    return answered(_user(service, await service.in_thread(service.store.users.patch, user_id, _patched(asked))))


@writing.delete("/items/{item_id}", status_code=204, response_class=Response)
async def delete_item(request: Request, item_id: Annotated[Id, Path()]) -> Response:
    """Delete an item: it is shown no more, at once. One that only the model knows is entered as deleted."""
    service = service_of(request)

    def work() -> None:
        if item_id not in service.store.items.get([item_id]):
            service.store.items.put([_of_model(service, item_id, "items")])
        service.store.items.delete(item_id)
        service.look()

    await service.in_thread(work)
    return Response(status_code=204)


@writing.delete("/users/{user_id}", status_code=204, response_class=Response)
async def delete_user(request: Request, user_id: Annotated[Id, Path()]) -> Response:
    """Delete what was told of a user; their events stay. To erase these too: POST /v1/users/{user_id}/erase."""
    service = service_of(request)
    if not await service.in_thread(service.store.users.delete, user_id):
        raise NotFound(f"no user '{user_id}' in the store")
    return Response(status_code=204)


@erasing.post("/users/{user_id}/erase", response_model=Erased)
async def erase_user(request: Request, user_id: Annotated[Id, Path()]) -> Response:
    """Erase a person: their attributes and slates go, their events lose the user. It cannot be undone."""
    service = service_of(request)
    who = request.scope["state"]["who"]
    rows = await service.in_thread(service.store.erase, user_id, who)
    service.engine.people.forget([user_id])
    service.engine.forget(user_id)
    return answered({"rows": rows})
