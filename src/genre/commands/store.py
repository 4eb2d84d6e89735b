"""The commands for the store of the service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from genre.commands.arguments import Commands
from genre.errors import ConfigError

if TYPE_CHECKING:
    from genre.store import Store
    from genre.store.backup import Facts
    from genre.stores import Database

DAY = 86400.0
WHO = "command line"
"""How the audit names these commands."""


@click.group(cls=Commands)
def store() -> None:
    """Look after the store of the service.

    It holds events, items, users, slates, decisions, keys, jobs and the audit. STORE is the folder of a run that is
    served, which means its serve.store (store.db in the folder, unless set otherwise); or a file of SQLite; or
    postgresql://user@host/database, whose password is read from GENRE_STORE_PASSWORD.

    \b
      genre store import runs/quickstart
      genre store key add runs/quickstart shop --scope write
      genre store backup runs/quickstart backups/monday.db
    """


@store.command()
@click.argument("which", metavar="STORE")
def init(which: str) -> None:
    """Make an empty store where there is none.

    genre serve does it by itself.

    \b
      genre store init runs/quickstart
      genre store init postgresql://genre@db.local/genre
    """
    with opened(which, create=True) as there:
        click.echo(f"{there.address}: ready")


@store.command()
@click.argument("which", metavar="STORE")
def show(which: str) -> None:
    """Print where it is, of which version, and what it holds.

    \b
      genre store show runs/quickstart
    """
    from genre.store.backup import facts_of

    with opened(which) as there, there.access.reading() as connection:
        click.echo(there.address)
        tell(facts_of(connection))


@store.command("import")
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--store", "which", metavar="STORE", help="Another store than that of the run.")
def import_(run: Path, which: str | None) -> None:
    """Put the prepared log of a RUN into its store.

    Items, users and interactions. Stopped, it goes on where it was; done again, it changes nothing. What the store
    knows of an item or user already stays.

    \b
      genre store import runs/quickstart
    """
    from genre.data import Dataset
    from genre.progress import progress
    from genre.run import Run

    data = Dataset.load(Run.open(run).path("data"))
    with opened(which or str(run), create=True) as there:
        from genre.store.importing import import_data

        total = data.items.num_rows + data.users.num_rows + data.interactions.num_rows
        with progress("import", total) as advance:
            done = import_data(there, data, advance)
        new, old = done.events["accepted"], done.events["duplicate"]
        click.echo(f"{there.address}: {new} events, {done.items} items, {done.users} users are new")
        if old:
            click.echo(f"{old} events were there already")
        for reason, n in done.rejected.most_common():
            click.echo(f"rejected {n}: {reason}")


@store.command()
@click.argument("which", metavar="STORE")
@click.argument("file", type=click.Path(path_type=Path))
def backup(which: str, file: Path) -> None:
    """Write all of the store to a FILE, and check it.

    While the service runs. The file is an SQLite store, wherever it comes from: restore puts it into any database,
    which is also the way from SQLite to PostgreSQL. It holds personal data, and hashes of keys.

    \b
      genre store backup runs/quickstart backups/monday.db
      genre store backup postgresql://genre@db.local/genre backups/monday.db
    """
    from genre.progress import progress
    from genre.store.backup import backup as work
    from genre.store.backup import facts_of

    with opened(which) as there:
        with there.access.reading() as connection:
            total = sum(facts_of(connection).rows.values())
        with progress("backup", total) as advance:
            facts = work(there.access, file, advance)
    click.echo(f"{file}: written and checked")
    tell(facts)


@store.command()
@click.argument("file", type=click.Path(path_type=Path))
def verify(file: Path) -> None:
    """Check a backup: every page, every index, and its counts against its events.

    \b
      genre store verify backups/monday.db
    """
    from genre.store.backup import verify as work

    facts = work(file)
    click.echo(f"{file}: sound")
    tell(facts)


@store.command()
@click.argument("which", metavar="STORE")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace a store that holds something, or is damaged.")
def restore(which: str, file: Path, force: bool) -> None:
    """Put a backup in the place of the store.

    Stop the service first. A file that is replaced is kept beside as .replaced-TIME.

    \b
      genre store restore runs/quickstart backups/monday.db
      genre store restore postgresql://genre@db.local/genre backups/monday.db
    """
    from genre.progress import progress
    from genre.store.backup import restore as work
    from genre.store.backup import verify as check

    database, home = database_of(which)
    with progress("restore", sum(check(file).rows.values())) as advance:
        facts = work(database, home, file, force, advance)
    click.echo(f"{database.address(home)}: restored")
    tell(facts)


@store.command()
@click.argument("which", metavar="STORE")
def migrate(which: str) -> None:
    """Bring the tables of an older version up to this one.

    In one transaction, all or nothing; make a backup first. A newer store is refused.

    \b
      genre store migrate runs/quickstart
    """
    from genre.store.migrate import migrate as work

    database, home = database_of(which)
    engine = database.engine(home)
    try:
        before, after = work(engine, database.address(home))
    finally:
        engine.dispose()
    how = f"is of version {after} already" if before == after else f"was of version {before}, is of version {after}"
    click.echo(f"{database.address(home)}: {how}")


@store.command()
@click.argument("which", metavar="STORE")
def replay(which: str) -> None:
    """Make all that is derived from the events anew.

    Says how many rows were not what the events say: none, in a sound store.

    \b
      genre store replay runs/quickstart
    """
    from genre.store.replay import rebuild

    with opened(which) as there:
        for name, wrong in rebuild(there.access).items():
            click.echo(f"{name}: {wrong} rows were wrong" if wrong else f"{name}: all rows were right")


@store.command()
@click.argument("which", metavar="STORE")
@click.option(
    "--slates-older-than", "days", metavar="DAYS", type=click.FloatRange(min=1), required=True, help="Days to keep."
)
@click.option("--dry-run", is_flag=True, help="Say how many there are, and delete nothing.")
def prune(which: str, days: float, *, dry_run: bool) -> None:
    """Delete slates that are older than so many days, while the service runs.

    A few at a time, so that nobody who writes waits for it; stopped, it goes on where it was. Events stay for ever.
    Lost with a slate are what was shown, its scores and propensities: no experiment, count of clicks or policy knows of
    it any more. A worker does it daily with --keep-slates DAYS.

    \b
      genre store prune runs/quickstart --slates-older-than 90
    """
    from genre.progress import progress
    from genre.store.pruning import count_before
    from genre.store.pruning import prune as work

    with opened(which) as there:
        before = there.access.clock() - days * DAY
        total = count_before(there.access, before)
        if dry_run:
            click.echo(f"{there.address}: {total} slates are older than {days:g} days")
            return
        done = 0
        with progress("prune", total) as advance:

            def told(gone: int) -> None:
                nonlocal done
                advance(gone - done)
                done = gone

            gone = work(there.access, before, WHO, told)
        click.echo(f"{there.address}: {gone} slates older than {days:g} days are deleted, no event is")


@store.group(cls=Commands)
def key() -> None:
    """Keys for clients of the service.

    A read key may ask, a write key also tell of events, items and users, an admin key do everything.
    """


@key.command("add")
@click.argument("which", metavar="STORE")
@click.argument("name")
@click.option("--scope", type=click.Choice(["read", "write", "admin"]), required=True, help="How far it lets in.")
@click.option("--per-second", type=click.FloatRange(min=0.01), help="Most requests a second.")
@click.option("--per-day", type=click.IntRange(min=1), help="Most requests a day.")
@click.option("--days", type=click.FloatRange(min=0.01), help="Days until it ends; never without it.")
def add(
    which: str,
    name: str,
    *,
    scope: Any,
    per_second: float | None,
    per_day: int | None,
    days: float | None,
) -> None:
    """Make a key and print it, once: only its hash is kept.

    \b
      genre store key add runs/quickstart shop --scope write --per-second 50
    """
    given = {"per_second": per_second, "per_day": per_day}
    limits = {what: float(most) for what, most in given.items() if most is not None}
    with opened(which, create=True) as there:
        expires = None if days is None else there.access.clock() + days * DAY
        made, token = there.keys.add(name, scope, limits=limits, expires=expires)
        there.audit.add(WHO, "key.add", made.key_id, {"name": name, "scope": scope})
    click.echo(token)
    click.echo(f"key {made.key_id} '{name}' ({scope}); it is not shown again", err=True)


@key.command("list")
@click.argument("which", metavar="STORE")
def list_(which: str) -> None:
    """Print the keys, without what lets in.

    \b
      genre store key list runs/quickstart
    """
    with opened(which) as there:
        now = there.access.clock()
        for one in there.keys.list():
            over = one.expires is not None and one.expires <= now
            state = "revoked" if one.revoked is not None else "over" if over else "valid"
            limits = ", ".join(f"{most:g} {what.replace('_', ' ')}" for what, most in one.limits.items())
            click.echo(f"{one.key_id}  {one.scope:5}  {state:7}  {one.name}{f'  ({limits})' if limits else ''}")


@key.command("revoke")
@click.argument("which", metavar="STORE")
@click.argument("key_id")
def revoke(which: str, key_id: str) -> None:
    """Let a key in no more, within a second.

    \b
      genre store key revoke runs/quickstart 4f1c9a77d2e0
    """
    with opened(which) as there:
        gone = there.keys.revoke(key_id)
        there.audit.add(WHO, "key.revoke", gone.key_id, {"name": gone.name})
    click.echo(f"key {gone.key_id} '{gone.name}' lets in no more")


def database_of(which: str) -> tuple[Database, Path]:
    """The database that a command is about, and the folder that its relative paths lie in."""
    from genre.component import Slot
    from genre.stores import of_address

    if not Path(which).is_dir():
        return Slot("stores").build(of_address(which)), Path()
    from genre.run import Run

    return Run.open(which).config.serve.store, Path(which)


@contextmanager
def opened(which: str, create: bool = False) -> Iterator[Store]:
    """The store that a command is about, open."""
    database, home = database_of(which)
    try:
        from genre.store import open_store
    except ModuleNotFoundError as error:
        raise ConfigError([f"{error.name} is not installed; pip install 'genre-recommender[serve]'"]) from error
    with open_store(database, home, create=create) as there:
        yield there


def tell(facts: Facts) -> None:
    """Print what a store or a backup holds."""
    click.echo(f"store {facts.store}, tables of version {facts.version}, latest event number {facts.last_seq}")
    click.echo(", ".join(f"{n} {name.replace('_', ' ')}" for name, n in facts.rows.items() if n and name != "meta"))
