"""Asking the API: as a browser's session may, and with what went wrong in words."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

SECONDS = 60.0
"""How long a reply is waited for; a model may take this long to load."""


@dataclass(frozen=True)
class Mistake:
    """One mistake of a request."""

    field: str
    mend: str
    code: str = ""
    values: Mapping[str, Any] = dataclasses.field(default_factory=dict)


class Unanswered(Exception):
    """The API refused, or did not answer at all (status 0)."""

    def __init__(self, status: int, detail: str, mistakes: tuple[Mistake, ...] = (), number: str = "") -> None:
        super().__init__(detail)
        self.status, self.detail, self.mistakes, self.number = status, detail, mistakes, number
        self.code, self.values = "", dict[str, Any]()
        """What the API calls the error, and what belongs to it; empty for one that has no name."""


@dataclass(frozen=True)
class Caller:
    """The API as one session may ask it."""

    http: httpx.AsyncClient
    key: str | None = None
    host: str | None = None
    """What the browser calls the service, where that is to be judged by the service itself."""

    async def get(self, path: str, **parameters: Any) -> Any:
        """What stands at a path."""
        given = {name: value for name, value in parameters.items() if value is not None}
        return await self._ask("GET", path, params=given)

    async def post(self, path: str, body: Any = None) -> Any:
        """Have something done."""
        return await self._ask("POST", path, json={} if body is None else body)

    async def put(self, path: str, body: Any) -> Any:
        """Put something in its place."""
        return await self._ask("PUT", path, json=body)

    async def delete(self, path: str) -> Any:
        """Have something removed."""
        return await self._ask("DELETE", path)

    async def text(self, path: str) -> str:
        """What stands at a path, as it is."""
        return (await self._sent("GET", path)).text

    async def _ask(self, method: str, path: str, **given: Any) -> Any:
        response = await self._sent(method, path, **given)
        return response.json() if response.content else None

    async def _sent(self, method: str, path: str, **given: Any) -> httpx.Response:
        headers = {} if self.host is None else {"Host": self.host}
        if self.key is not None:
            headers["Authorization"] = f"Bearer {self.key}"
        try:
            response = await self.http.request(method, path, headers=headers, **given)
        except httpx.HTTPError as error:
            raise Unanswered(0, f"{type(error).__name__}: {error}") from error
        if response.is_error:
            raise _problem(response)
        return response


def _problem(response: httpx.Response) -> Unanswered:
    try:
        told = response.json()
    except ValueError:
        told = {}
    if not isinstance(told, dict):
        told = {}
    mistakes = tuple(
        Mistake(one["field"], one["mend"], one.get("code", ""), one.get("values") or {})
        for one in told.get("errors") or ()
    )
    detail = told.get("detail") or response.text[:500]
    made = Unanswered(response.status_code, detail, mistakes, told.get("request_id", ""))
    made.code, made.values = told.get("code", ""), told.get("values") or {}
    return made
