"""A client of `genre serve`: typed, sync and async, safe to retry.

with Client("http://127.0.0.1:8080") as genre:
    slate = genre.recommend(user_id="42", k=5)
    genre.send(Event(user_id="42", item_id=slate.items[0].item_id, action="view", slate_id=slate.slate_id))
"""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Self

from genre.errors import GenreError

if TYPE_CHECKING:
    import httpx

REFUSED, BUSY = 429, 503
"""Statuses after which it is worth to ask again; after the second something may have been done."""
LONGEST_PAUSE = 10.0


class ServiceError(GenreError):
    """The service refused; ``status``, and ``errors`` with the field and the mend of each mistake, say more."""

    def __init__(
        self, status: int, detail: str, errors: Sequence[Mapping[str, str]] = (), request_id: str = ""
    ) -> None:
        super().__init__(f"{status}: {detail}")
        self.status, self.detail, self.errors, self.request_id = status, detail, list(errors), request_id


class Unreachable(GenreError):
    """The service does not answer, or broke off; what was sent may have been done."""


@dataclass(frozen=True)
class Event:
    """Something that a user did. Its id is made here, so that an event that is sent again counts once."""

    user_id: str
    item_id: str
    action: str
    value: float | None = None
    timestamp: float | None = None
    """UTC seconds."""
    slate_id: str | None = None
    position: int | None = None
    """Place in the slate, 0 is the first."""
    context: Mapping[str, Any] = field(default_factory=dict)
    event_id: str = field(default_factory=lambda: uuid.uuid4().hex)


@dataclass(frozen=True)
class Receipt:
    """What became of an event."""

    event_id: str
    status: str
    """``accepted``, ``duplicate`` or ``rejected``."""
    reason: str | None = None
    field: str | None = None
    unknown_user: bool = False
    unknown_item: bool = False


@dataclass(frozen=True)
class Item:
    """An item of a slate."""

    item_id: str
    rank: int
    score: float | None
    origin: str
    """``ranked``, ``pinned`` or ``reserve``."""
    sources: Mapping[str, int]
    predictions: Mapping[str, float | None]
    columns: Mapping[str, Any] = field(default_factory=dict)
    propensity: float | None = None
    """Where a policy chose: the probability of the item at its place, given those above it."""
    explanation: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Slate:
    """An answer."""

    slate_id: str
    user_id: str | None
    model: Mapping[str, str]
    items: list[Item]
    rung: str
    """``full``, or what answered in its place: ``cached``, ``nearline``, ``popular``, ``static``."""
    degraded: list[str]
    unknown_items: list[str]
    experiment: Mapping[str, str] | None = None
    trace: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Slate:
        """From a reply; what a later service says beyond this is left out."""
        known = {name: body.get(name) for name in cls.__dataclass_fields__}
        items = [Item(**{name: one.get(name) for name in Item.__dataclass_fields__}) for one in body["items"]]
        return cls(**{**known, "items": items})  # type: ignore[arg-type]


@dataclass(frozen=True)
class Attempt:
    """One request, and how to go on after it failed."""

    method: str
    path: str
    body: Any = None
    query: Mapping[str, Any] | None = None
    repeatable: bool = True
    """Whether doing it twice does it once."""

    def again(self, status: int | None, number: int, retries: int) -> bool:
        """Whether to try again after a status, or after none came."""
        if number >= retries:
            return False
        return status == REFUSED or (self.repeatable and status in (None, BUSY))


@dataclass(frozen=True)
class _Settings:
    url: str
    key: str | None
    timeout: float
    retries: int
    pause: float

    def options(self) -> dict[str, Any]:
        headers = {} if self.key is None else {"authorization": f"Bearer {self.key}"}
        return {"base_url": self.url.rstrip("/"), "headers": headers, "timeout": self.timeout}

    def wait(self, number: int, response: httpx.Response | None) -> float:
        """Seconds before the next try: what the service says, else twice as long each time, by chance shorter."""
        said = "" if response is None else response.headers.get("retry-after", "")
        if said.isdigit():
            return min(float(said), LONGEST_PAUSE)
        return min(self.pause * 2**number, LONGEST_PAUSE) * (0.5 + random.random() / 2)


def _result(response: httpx.Response) -> Any:
    """The body of a reply. Raises `ServiceError`."""
    if response.is_success:
        return response.json() if response.content else None
    try:
        body = response.json()
    except ValueError:
        raise ServiceError(response.status_code, response.text[:500]) from None
    raise ServiceError(response.status_code, body.get("detail", ""), body.get("errors", ()), body.get("request_id", ""))


def _slate(asked: Mapping[str, Any]) -> Attempt:
    body = {name: value for name, value in asked.items() if value is not None}
    return Attempt("POST", "/v1/recommend", body)


def _events(events: Iterable[Event]) -> Attempt:
    rows = [{name: value for name, value in asdict(event).items() if value not in (None, {})} for event in events]
    return Attempt("POST", "/v1/events", {"events": rows})


def _receipts(body: Mapping[str, Any]) -> list[Receipt]:
    return [Receipt(**{name: one.get(name) for name in Receipt.__dataclass_fields__}) for one in body["receipts"]]


def _rows(kind: str, rows: Sequence[Mapping[str, Any]]) -> Attempt:
    return Attempt("POST", f"/v1/{kind}", {"rows": [dict(row) for row in rows]})


class Client:
    """Asks a service and waits. Requests that may be done twice are tried again when the service is away or busy."""

    def __init__(
        self, url: str, key: str | None = None, *, timeout: float = 10.0, retries: int = 3, pause: float = 0.2
    ) -> None:
        import httpx

        self._settings = _Settings(url, key, timeout, retries, pause)
        self._http = httpx.Client(**self._settings.options())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def ask(self, attempt: Attempt) -> Any:
        """Any address of the API. Raises `ServiceError`, or `Unreachable` when the last try failed."""
        import httpx

        number = 0
        while True:
            response = None
            try:
                response = self._http.request(attempt.method, attempt.path, json=attempt.body, params=attempt.query)
            except httpx.TransportError as error:
                if not attempt.again(None, number, self._settings.retries):
                    raise Unreachable(f"{self._settings.url}: {type(error).__name__}: {error}") from error
            if response is not None and not attempt.again(response.status_code, number, self._settings.retries):
                return _result(response)
            time.sleep(self._settings.wait(number, response))
            number += 1

    def recommend(
        self,
        user_id: str | None = None,
        *,
        history: Sequence[str] | None = None,
        text: str | None = None,
        k: int = 10,
        **further: Any,
    ) -> Slate:
        """A slate; ``further`` are exclude, filters, columns, explain, language, trace, deadline_ms."""
        asked = {"user_id": user_id, "history": None if history is None else list(history), "text": text, "k": k}
        return Slate.of(self.ask(_slate({**asked, **further})))

    def send(self, *events: Event) -> list[Receipt]:
        """Keep events; returns once they are durable. Sent again after a failure they count once."""
        return _receipts(self.ask(_events(events)))

    def put_items(self, rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """Create or replace items: each with item_id, the rest are its columns."""
        return self.ask(_rows("items", rows))

    def put_users(self, rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """Create or replace users: each with user_id, the rest are their columns."""
        return self.ask(_rows("users", rows))

    def similar(self, item_id: str, k: int = 10) -> list[Mapping[str, Any]]:
        """The nearest items."""
        return self.ask(Attempt("GET", _path("items", item_id, "similar"), query={"k": k}))["items"]

    def rerank(self, query: str, documents: Sequence[str], top_n: int | None = None) -> list[Mapping[str, Any]]:
        """Texts in order for a query, best first: index and relevance_score of each."""
        body: dict[str, Any] = {"query": query, "documents": list(documents), "return_documents": False}
        return self.ask(Attempt("POST", "/v1/rerank", body | ({} if top_n is None else {"top_n": top_n})))["results"]

    def slate(self, slate_id: str) -> Mapping[str, Any]:
        """A slate as it was answered, with the events that name it."""
        return self.ask(Attempt("GET", _path("slates", slate_id)))

    def pages(self, kind: str, **query: Any) -> Iterator[Mapping[str, Any]]:
        """All rows of a list (``items``, ``users``, ``events``, ``audit``...), page after page."""
        cursor: str | None = None
        while True:
            page = self.ask(Attempt("GET", f"/v1/{kind}", query=_query(query, cursor)))
            yield from page["rows"]
            cursor = page.get("cursor")
            if cursor is None:
                return


class AsyncClient:
    """The same for code that runs on an event loop."""

    def __init__(
        self, url: str, key: str | None = None, *, timeout: float = 10.0, retries: int = 3, pause: float = 0.2
    ) -> None:
        import httpx

        self._settings = _Settings(url, key, timeout, retries, pause)
        self._http = httpx.AsyncClient(**self._settings.options())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of the connections."""
        await self._http.aclose()

    async def ask(self, attempt: Attempt) -> Any:
        """Any address of the API. Raises `ServiceError`, or `Unreachable` when the last try failed."""
        import httpx

        number = 0
        while True:
            response = None
            try:
                response = await self._http.request(
                    attempt.method, attempt.path, json=attempt.body, params=attempt.query
                )
            except httpx.TransportError as error:
                if not attempt.again(None, number, self._settings.retries):
                    raise Unreachable(f"{self._settings.url}: {type(error).__name__}: {error}") from error
            if response is not None and not attempt.again(response.status_code, number, self._settings.retries):
                return _result(response)
            await asyncio.sleep(self._settings.wait(number, response))
            number += 1

    async def recommend(
        self,
        user_id: str | None = None,
        *,
        history: Sequence[str] | None = None,
        text: str | None = None,
        k: int = 10,
        **further: Any,
    ) -> Slate:
        """A slate; ``further`` are exclude, filters, columns, explain, language, trace, deadline_ms."""
        asked = {"user_id": user_id, "history": None if history is None else list(history), "text": text, "k": k}
        return Slate.of(await self.ask(_slate({**asked, **further})))

    async def send(self, *events: Event) -> list[Receipt]:
        """Keep events; returns once they are durable. Sent again after a failure they count once."""
        return _receipts(await self.ask(_events(events)))

    async def put_items(self, rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """Create or replace items: each with item_id, the rest are its columns."""
        return await self.ask(_rows("items", rows))

    async def put_users(self, rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """Create or replace users: each with user_id, the rest are their columns."""
        return await self.ask(_rows("users", rows))


def _path(*parts: str) -> str:
    from urllib.parse import quote

    return "/v1/" + "/".join(quote(part, safe="") for part in parts)


def _query(query: Mapping[str, Any], cursor: str | None) -> dict[str, Any]:
    return {**query, **({} if cursor is None else {"cursor": cursor})}
