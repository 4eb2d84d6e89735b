"""Keys: what lets a client in, and how far."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, select, update

import genre.store.tables as t
from genre.store.access import Access, next_changes, usable
from genre.store.faults import Conflict, NotFound
from genre.store.records import SCOPES, Key, Scope

PREFIX = "genre"
"""How a token begins, so that tools that look for lost secrets know it."""
BYTES = 32


@dataclass(frozen=True)
class Ring:
    """The keys at one moment, to check tokens without asking the database."""

    keys: dict[str, Key]

    def check(self, token: str, now: float) -> Key | None:
        """The key of a token; None if there is none, or it is revoked or past its time.

        Takes as long for an unknown key as for a wrong token, and does not tell how much of one was right.
        """
        prefix, _, rest = token.partition("_")
        key_id, _, secret = rest.partition("_")
        key = self.keys.get(key_id)
        right = hmac.compare_digest(_hash(token), key.hash if key else _NOBODY)
        if not right or key is None or prefix != PREFIX or not secret:
            return None
        over = key.revoked is not None or (key.expires is not None and key.expires <= now)
        return None if over else key


class Keys:
    """Keys by scope. The token has 256 random bits, is shown once, and only its SHA-256 is kept.

    A salt and a slow hash protect passwords, which can be guessed; 256 random bits cannot, so that they would only make
    each request slow.
    """

    def __init__(self, access: Access) -> None:
        self._access = access

    def add(
        self, name: str, scope: Scope, *, limits: dict[str, float] | None = None, expires: float | None = None
    ) -> tuple[Key, str]:
        """A new key, and its token, which cannot be had again."""
        if scope not in SCOPES:
            raise Conflict(f"scope is none of {', '.join(SCOPES)}")
        key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(BYTES)
        token = f"{PREFIX}_{key_id}_{secret}"
        values: dict[str, Any] = {"key_id": key_id, "name": name, "scope": scope, "hash": _hash(token)}
        values |= {"created": self._access.clock(), "expires": expires, "limits": limits or {}}

        def work(connection: Connection) -> Key:
            next_changes(connection)
            return _key(connection.execute(t.keys.insert().values(**values).returning(*t.keys.c)).one())

        return self._access.write(work), token

    def revoke(self, key_id: str) -> Key:
        """Let a key in no more. One that was revoked before stays so. Raises `NotFound`."""
        if not usable([key_id]):
            raise NotFound("there is no such key")
        now = self._access.clock()

        def work(connection: Connection) -> Key:
            next_changes(connection)
            this = t.keys.c.key_id == key_id
            connection.execute(update(t.keys).where(this, t.keys.c.revoked.is_(None)).values(revoked=now))
            row = connection.execute(select(t.keys).where(this)).one_or_none()
            if row is None:
                raise NotFound(f"there is no key '{key_id}'; 'genre store key list' shows them")
            return _key(row)

        return self._access.write(work)

    def list(self) -> list[Key]:
        """All keys, oldest first, revoked ones too."""
        with self._access.reading() as connection:
            return [_key(row) for row in connection.execute(select(t.keys).order_by(t.keys.c.created, t.keys.c.key_id))]

    def ring(self) -> Ring:
        """The keys as they are now."""
        return Ring({key.key_id: key for key in self.list()})

    def check(self, token: str) -> Key | None:
        """The key of a token, asking the database."""
        return self.ring().check(token, self._access.clock())


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


_NOBODY = "0" * 64
"""What the token of an unknown key is compared with."""


def _key(row: Row[Any]) -> Key:
    return Key(**row._mapping)
