"""The version of the tables: made where there are none, brought up to date on request, refused where they are newer."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping

from sqlalchemy import Connection, Engine, inspect, select, update

import genre.store.tables as t
from genre.store.faults import StoreError, explained
from genre.store.writer import alone

Step = Callable[[Connection], None]
STEPS: dict[int, Step] = {}
"""From each version to the next. A step writes its own SQL, as `genre.store.tables` has the tables of today."""


def version_of(engine: Engine, address: str) -> int | None:
    """The version of a store's tables; None where there are none. Raises `StoreError` for another program's."""
    with explained(address), engine.connect() as connection:
        return _version(connection, address)


def prepare(engine: Engine, address: str, now: float, create: bool) -> None:
    """See to it that the tables are those of this version. Raises `StoreError` where they are older or newer.

    An empty database gets them if ``create``.
    """
    version = version_of(engine, address)
    if version is None and create:
        with explained(address), _writing(engine) as connection, connection.begin():
            alone(connection)
            if _version(connection, address) is None:  # another process may have been faster
                _make(connection, now)
        return
    if version is None:
        raise StoreError(f"{address}: has no tables of a store; make them with 'genre store init'", "version")
    _refuse_newer(version, address)
    if version < t.VERSION:
        older = f"{address}: its tables are of version {version}, this program's of {t.VERSION}"
        raise StoreError(f"{older}; back it up and run 'genre store migrate'", "version")


def migrate(
    engine: Engine, address: str, steps: Mapping[int, Step] = STEPS, newest: int = t.VERSION
) -> tuple[int, int]:
    """Bring the tables up to ``newest`` in one transaction, all or nothing; says from where to where it went."""
    with explained(address), _writing(engine) as connection, connection.begin():
        alone(connection)
        version = _version(connection, address)
        if version is None:
            raise StoreError(f"{address}: has no tables of a store; make them with 'genre store init'", "version")
        _refuse_newer(version, address, newest)
        for step in range(version, newest):
            steps[step](connection)
        connection.execute(update(t.meta).where(t.meta.c.name == "version").values(value=str(newest)))
    return version, newest


def _writing(engine: Engine) -> Connection:
    return engine.connect().execution_options(writes=True)


def _version(connection: Connection, address: str) -> int | None:
    names = set(inspect(connection).get_table_names())
    if not names:
        return None
    if not {"meta", "events"} <= names:
        raise StoreError(f"{address}: has tables of another program ({', '.join(sorted(names)[:3])} ...)", "version")
    found = connection.execute(select(t.meta.c.value).where(t.meta.c.name == "version")).scalar_one_or_none()
    if found is None or not found.isdigit():
        raise StoreError(f"{address}: does not say of which version its tables are", "damaged")
    return int(found)


def _refuse_newer(version: int, address: str, newest: int = t.VERSION) -> None:
    if version > newest:
        newer = f"{address}: its tables are of version {version}, this program knows them up to {newest}"
        raise StoreError(f"{newer}; use the newer program that made them", "version")


def _make(connection: Connection, now: float) -> None:
    t.metadata.create_all(connection)
    facts = {"version": str(t.VERSION), "store": uuid.uuid4().hex, "created": repr(now)}
    connection.execute(t.meta.insert(), [{"name": name, "value": value} for name, value in facts.items()])
    connection.execute(t.counters.insert().values(name="changes", n=0))
