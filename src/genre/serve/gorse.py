"""The core addresses of Gorse (https://gorse.io, 0.5), so that clients written for it can talk to this service.

Users, items, feedback, recommendations, neighbours, under /api. What differs: feedback is kept as events, so that
sending it again adds another, whose values are added up as Gorse does; errors are problem+json; what cannot be kept is
refused, never dropped. ``write-back`` and what belongs to Gorse's own cluster are not there.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Annotated, Any

from fastapi import Body, Header, Path, Query, Request, Response

from genre.serve.allowing import Condition
from genre.serve.engine import Wish
from genre.serve.gorseshapes import Affected, Feedback, Feedbacks, Item, ItemPatch, Items, Score, User, Users
from genre.serve.guard import router
from genre.serve.problems import unfit
from genre.serve.routes_slates import answered, service_of
from genre.serve.service import Service
from genre.serve.shapes import Id
from genre.store.checking import checked, checked_entry
from genre.store.faults import NotFound
from genre.store.records import Entry, Event, Rejected

WHO = "gorse"
"""Who hides an item that is sent as hidden."""
reading = router("read", "gorse", (404,), prefix="/api")
writing = router("write", "gorse", (404,), prefix="/api")

N = Annotated[int, Query(ge=1, le=1000)]
Offset = Annotated[int, Query(ge=0, le=1000)]
Cursor = Annotated[str, Query(max_length=400)]


def _affected(rows: int) -> Response:
    return answered({"RowAffected": rows})


def _entry(raw: dict[str, Any], key: str) -> Entry:
    """Raises `Refused` for what cannot be kept."""
    made = checked_entry(raw, key)
    if isinstance(made, Rejected):
        raise unfit(made.field or "body", made.reason)
    return made


def _user(entry: Entry) -> dict[str, Any]:
    return {"UserId": entry.id, "Labels": entry.columns.get("labels"), "Comment": entry.columns.get("comment") or ""}


def _item(entry: Entry, refused: frozenset[str]) -> dict[str, Any]:
    columns = entry.columns
    return {
        "ItemId": entry.id,
        "IsHidden": entry.id in refused,
        "Categories": columns.get("categories"),
        "Timestamp": columns.get("timestamp") or "",
        "Labels": columns.get("labels"),
        "Comment": columns.get("comment") or "",
    }


@writing.post("/user", response_model=Affected)
async def add_user(request: Request, user: User) -> Response:
    """Create a user, or replace one."""
    return await _put_users(service_of(request), [user])


@writing.post("/users", response_model=Affected)
async def add_users(request: Request, users: Annotated[list[User], Body(max_length=1000)]) -> Response:
    """Create users, or replace them."""
    return await _put_users(service_of(request), users)


async def _put_users(service: Service, users: Iterable[User]) -> Response:
    rows = [_entry({"user_id": one.UserId, "labels": one.Labels, "comment": one.Comment}, "user_id") for one in users]
    if rows:
        await service.in_thread(service.store.users.put, rows)
    return _affected(len(rows))


@reading.get("/users", response_model=Users)
async def list_users(request: Request, n: N = 100, cursor: Cursor = "") -> Response:
    """Users, by id."""
    service = service_of(request)
    page = await service.in_thread(service.store.users.list, cursor or None, n)
    return answered({"Cursor": page.cursor or "", "Users": [_user(one) for one in page.rows]})


@reading.get("/user/{user_id}", response_model=User)
async def get_user(request: Request, user_id: Annotated[Id, Path()]) -> Response:
    """A user."""
    service = service_of(request)
    found = (await service.in_thread(service.store.users.get, [user_id])).get(user_id)
    if found is None:
        raise NotFound(f"user {user_id} not found")
    return answered(_user(found))


@writing.delete("/user/{user_id}", response_model=Affected)
async def delete_user(request: Request, user_id: Annotated[Id, Path()]) -> Response:
    """Delete a user; one who is not there is no error."""
    service = service_of(request)
    return _affected(int(await service.in_thread(service.store.users.delete, user_id)))


@writing.post("/item", response_model=Affected)
async def add_item(request: Request, item: Item) -> Response:
    """Create an item, or replace one; one that is hidden is not recommended."""
    return await _put_items(service_of(request), [item])


@writing.post("/items", response_model=Affected)
async def add_items(request: Request, items: Annotated[list[Item], Body(max_length=1000)]) -> Response:
    """Create items, or replace them."""
    return await _put_items(service_of(request), items)


async def _put_items(service: Service, items: list[Item]) -> Response:
    rows = []
    for one in items:
        columns = {"categories": one.Categories, "timestamp": one.Timestamp, "labels": one.Labels}
        rows.append(_entry({"item_id": one.ItemId, **columns, "comment": one.Comment, "title": one.Comment}, "item_id"))

    def work() -> None:
        service.store.items.put(rows)
        for one in items:
            _hide(service, one.ItemId, one.IsHidden)
        service.look()

    if rows:
        await service.in_thread(work)
    return _affected(len(rows))


def _hide(service: Service, item: str, hidden: bool) -> None:
    """Hide an item, or show it again if it was hidden in this way; what a moderator has settled stays."""
    mine = [one for one in service.store.moderation.standing() if one.item_id == item and (hidden or one.who == WHO)]
    if hidden and not mine:
        service.store.moderation.decide("hide", WHO, "sent with IsHidden", item_id=item)
    elif not hidden:
        for one in mine:
            service.store.moderation.release(one.number, WHO, "sent without IsHidden")


@reading.get("/items", response_model=Items)
async def list_items(
    request: Request, n: N = 100, cursor: Cursor = "", q: Annotated[str, Query(max_length=200)] = ""
) -> Response:
    """Items by id, or those in which some words are."""
    service = service_of(request)
    page = await service.in_thread(service.store.items.list, cursor or None, n, q or None)
    refused = service.moderation.now.refused
    return answered({"Cursor": page.cursor or "", "Items": [_item(one, refused) for one in page.rows]})


@reading.get("/item/{item_id}", response_model=Item)
async def get_item(request: Request, item_id: Annotated[Id, Path()]) -> Response:
    """An item."""
    service = service_of(request)
    found = (await service.in_thread(service.store.items.get, [item_id])).get(item_id)
    if found is None:
        raise NotFound(f"item {item_id} not found")
    return answered(_item(found, service.moderation.now.refused))


@writing.patch("/item/{item_id}", response_model=Affected)
async def patch_item(request: Request, item_id: Annotated[Id, Path()], item: ItemPatch) -> Response:
    """Change some fields of an item."""
    service = service_of(request)
    sent = {"categories": item.Categories, "timestamp": item.Timestamp, "labels": item.Labels}
    sent |= {"comment": item.Comment, "title": item.Comment}
    columns = {name: value for name, value in sent.items() if value is not None}
    _entry({"item_id": item_id, **columns}, "item_id")

    def work() -> None:
        service.store.items.patch(item_id, columns)
        if item.IsHidden is not None:
            _hide(service, item_id, item.IsHidden)
        service.look()

    await service.in_thread(work)
    return _affected(1)


@writing.delete("/item/{item_id}", response_model=Affected)
async def delete_item(request: Request, item_id: Annotated[Id, Path()]) -> Response:
    """Delete an item; one that is not there is no error."""
    service = service_of(request)

    def work() -> int:
        gone = service.store.items.delete(item_id)
        service.look()
        return int(gone)

    return _affected(await service.in_thread(work))


def _events(feedback: Iterable[Feedback]) -> list[Event]:
    """Raises `Refused` for feedback that cannot be kept."""
    made = []
    for i, one in enumerate(feedback):
        raw = {"user_id": one.UserId, "item_id": one.ItemId, "action": one.FeedbackType, "value": one.Value}
        raw["timestamp"] = _seconds(one.Timestamp, i)
        found = checked({**raw, "context": {"comment": one.Comment} if one.Comment else {}})
        if isinstance(found, Rejected):
            raise unfit(f"{i}.{found.field}", found.reason)
        made.append(found)
    return made


def _seconds(text: str, row: int) -> float | None:
    if not text:
        return None
    try:
        when = dt.datetime.fromisoformat(text)
        return (when if when.tzinfo else when.replace(tzinfo=dt.UTC)).timestamp()
    except (ValueError, OverflowError):
        raise unfit(f"{row}.Timestamp", "is no time as in 2022-02-24T10:00:00Z") from None


@writing.post("/feedback", response_model=Affected)
async def add_feedback(
    request: Request, feedback: Annotated[list[Feedback], Body(min_length=1, max_length=1000)]
) -> Response:
    """Keep feedback; all of it, or, with the reason, none."""
    receipts = await service_of(request).take(_events(feedback))
    return _affected(sum(one.status == "accepted" for one in receipts))


@reading.get("/feedback", response_model=Feedbacks)
async def list_feedback(request: Request, n: N = 100, cursor: Cursor = "") -> Response:
    """All feedback, page by page."""
    service = service_of(request)
    page = await service.in_thread(service.store.events.find, None, None, None, cursor or None, n)
    return answered({"Cursor": page.cursor or "", "Feedback": [_feedback(one) for one in page.rows]})


def _feedback(event: Event) -> dict[str, Any]:
    when = dt.datetime.fromtimestamp(event.time or 0, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "FeedbackType": event.action,
        "UserId": event.user_id or "",
        "ItemId": event.item_id,
        "Value": event.value or 0.0,
        "Timestamp": when,
        "Comment": event.context.get("comment", ""),
    }


@reading.get("/user/{user_id}/feedback/{feedback_type}", response_model=list[Feedback])
async def user_feedback(
    request: Request, user_id: Annotated[Id, Path()], feedback_type: Annotated[Id, Path()]
) -> Response:
    """A user's feedback of a kind: one for each item, values added up."""
    service = service_of(request)
    page = await service.in_thread(service.store.events.find, user_id, None, feedback_type, None, 1000)
    merged: dict[str, dict[str, Any]] = {}
    for event in page.rows:
        one = _feedback(event)
        if event.item_id in merged:
            merged[event.item_id]["Value"] += one["Value"]
        else:
            merged[event.item_id] = one
    return answered(list(merged.values()))


@writing.delete("/feedback/{user_id}/{item_id}", response_model=Affected)
async def delete_feedback(request: Request, user_id: Annotated[Id, Path()], item_id: Annotated[Id, Path()]) -> Response:
    """Let feedback count no more."""
    service = service_of(request)
    count = await service.in_thread(service.store.events.withdraw, user_id, item_id, None)
    service.engine.people.forget([user_id])
    return _affected(count)


async def _recommended(request: Request, wish: Wish, offset: int, scores: bool) -> Response:
    service = service_of(request)
    if wish.k > service.settings.max_k:
        raise unfit("n", f"and offset are {wish.k} together; serve.max_k allows {service.settings.max_k}")
    answer, _ = await service.recommend(wish, request.scope["state"].get("key_id"))
    items = answer.items[offset:]
    if scores:
        return answered([{"Id": one["item_id"], "Score": one["score"] or 0.0} for one in items])
    return answered([one["item_id"] for one in items])


@reading.get("/recommend/{user_id}", response_model=list[Score] | list[str])
@reading.get("/recommend/{user_id}/{category}", response_model=list[Score] | list[str], include_in_schema=False)
@reading.get("/recommend/{user_id}/", response_model=list[Score] | list[str], include_in_schema=False)
async def recommend(
    request: Request,
    user_id: Annotated[Id, Path()],
    category: str = "",
    n: N = 10,
    offset: Offset = 0,
    x_api_version: Annotated[str, Header(max_length=8)] = "1",
) -> Response:
    """Items for a user, best first: ids, or with X-API-Version: 2 their scores too."""
    conditions = (Condition("categories", any_of=(category,)),) if category else ()
    seconds = service_of(request).settings.deadline_ms / 1000
    wish = Wish(user_id=user_id, k=n + offset, conditions=conditions, seconds=seconds)
    return await _recommended(request, wish, offset, x_api_version == "2")


@reading.post("/session/recommend", response_model=list[Score])
async def session_recommend(
    request: Request, feedback: Annotated[list[Feedback], Body(max_length=1000)], n: N = 10
) -> Response:
    """Items for somebody who is known by this feedback alone."""
    seconds = service_of(request).settings.deadline_ms / 1000
    wish = Wish(history=tuple(one.ItemId for one in feedback), k=n, seconds=seconds)
    return await _recommended(request, wish, 0, True)


@reading.get("/item/{item_id}/neighbors", response_model=list[Score])
@reading.get("/item/{item_id}/neighbors/", response_model=list[Score], include_in_schema=False)
async def neighbors(request: Request, item_id: Annotated[Id, Path()], n: N = 10, offset: Offset = 0) -> Response:
    """The items whose vectors are nearest."""
    service = service_of(request)
    model = service.models.active
    if item_id not in model.rows:
        raise NotFound(f"item {item_id} not found")
    allowed = service.moderation.now.passes(model)
    rows, scores = await service.compute(lambda: model.similar(model.rows[item_id], n + offset, allowed))
    found = [{"Id": model.item_ids[r], "Score": s} for r, s in zip(rows.tolist(), scores.tolist(), strict=True)]
    return answered(found[offset:])
