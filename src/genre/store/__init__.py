"""The store: events, items and users, slates, moderation, keys, experiments, jobs and the audit, in one database.

Every method that writes returns once it is durable; those called ``submit`` return a future instead. Any may raise
`StoreError`, and one that writes `Overloaded`. The values are in `genre.store.records`, what clients send is checked by
`genre.store.checking`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import select

import genre.store.tables as t
from genre.errors import GenreError
from genre.store.access import Access
from genre.store.audit import Audit
from genre.store.catalogue import Catalogue
from genre.store.erasing import erase
from genre.store.events import Events
from genre.store.experiments import Experiments
from genre.store.faults import told
from genre.store.jobs import Jobs
from genre.store.keys import Keys
from genre.store.migrate import prepare
from genre.store.moderation import Moderation
from genre.store.records import Health
from genre.store.settled import Settled
from genre.store.slates import Slates
from genre.store.writer import Writer
from genre.stores import Database


class Store:
    """An open store. Safe to be used by many threads; close it so that what waits is written."""

    def __init__(self, database: Database, home: Path, access: Access) -> None:
        self.database, self.home, self.access = database, home, access
        self.writer = access.writer
        self.events = Events(access)
        self.items = Catalogue(access, t.items)
        self.users = Catalogue(access, t.users)
        self.slates = Slates(access)
        self.moderation = Moderation(access)
        self.keys = Keys(access)
        self.experiments = Experiments(access)
        self.jobs = Jobs(access)
        self.audit = Audit(access)
        self.settled = Settled(access)

    @property
    def address(self) -> str:
        """Where it is, without any password."""
        return self.access.address

    def version(self) -> int:
        """How many changes of items, users, moderation, keys, experiments and what is settled there were."""
        with self.access.reading() as connection:
            return int(connection.execute(select(t.counters.c.n).where(t.counters.c.name == "changes")).scalar_one())

    def name(self) -> str:
        """Which store it is: given when it was made, and kept by backups and restores."""
        with self.access.reading() as connection:
            return str(connection.execute(select(t.meta.c.value).where(t.meta.c.name == "store")).scalar_one())

    def erase(self, user_id: str, who: str) -> dict[str, int]:
        """Forget a person who asks for it: see `genre.store.erasing.erase`. Says how many rows of what it was."""
        return erase(self.access, user_id, who)

    def health(self) -> Health:
        """Whether it can be read, and how much waits to be written."""
        problem = None if self.writer.alive else "the store is closed"
        try:
            self.version()
        except GenreError as error:
            problem = str(error)
        except Exception as error:
            problem = str(told(error, self.address))
        writer = self.writer
        rows = (writer.waiting, writer.capacity, writer.groups, writer.rows)
        return Health(problem is None, problem, self.address, *rows)

    def close(self, timeout: float = 30.0) -> None:
        """Write what waits and let go of the database."""
        self.writer.close(timeout)
        self.access.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_store(
    database: Database,
    home: Path = Path(),
    *,
    create: bool = True,
    capacity: int = 20_000,
    clock: Callable[[], float] = time.time,
) -> Store:
    """Open the store in ``database``; where there is none it is made, if ``create``.

    At most ``capacity`` rows wait to be written. Raises `StoreError` where the tables are older or newer than this
    program's: nothing is migrated unasked.
    """
    address = database.address(home)
    engine = database.engine(home, create)
    try:
        prepare(engine, address, clock(), create)
    except BaseException:
        engine.dispose()
        raise
    writer = Writer(engine, address, lambda: database.identity(home), capacity)
    return Store(database, home, Access(engine, writer, address, clock))
