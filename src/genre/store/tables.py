"""The tables, the same on every database."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    text,
)

VERSION = 1
"""Of the tables; `genre.store.migrate` brings older ones up to it."""

metadata = MetaData()
# Text is compared by its bytes everywhere, so that lists have one order whatever the database's language.
Word = String().with_variant(String(collation="C"), "postgresql")
# SQLite numbers rows by themselves only in columns of exactly this type.
Number = BigInteger().with_variant(Integer(), "sqlite")
Real = Float(53)
Json = JSON(none_as_null=True)

meta = Table("meta", metadata, Column("name", Word, primary_key=True), Column("value", Word, nullable=False))
"""``version`` of the tables, ``store`` (which one it is), ``created``."""

counters = Table("counters", metadata, Column("name", Word, primary_key=True), Column("n", Number, nullable=False))
"""``changes``: how many changes of items, users, moderation, keys and experiments there were."""

events = Table(
    "events",
    metadata,
    Column("seq", Number, primary_key=True, autoincrement=True),
    Column("event_id", Word, nullable=False, unique=True),
    Column("user_id", Word),
    Column("item_id", Word, nullable=False),
    Column("action", Word, nullable=False),
    Column("value", Real),
    Column("timestamp", Real),
    Column("received", Real, nullable=False),
    Column("time", Real, nullable=False),
    Column("slate_id", Word),
    Column("position", Number),
    Column("context", Json),
    Column("withdrawn", Real),
    Index("events_of_user", "user_id", "time", "seq"),
    Index("events_of_item", "item_id", "seq"),
    Index(
        "events_of_slate",
        "slate_id",
        sqlite_where=text("slate_id IS NOT NULL"),
        postgresql_where=text("slate_id IS NOT NULL"),
    ),
    # A number is never given twice, not even after the latest row is gone: who has read up to it would miss the next.
    sqlite_autoincrement=True,
)

item_counts = Table(
    "item_counts",
    metadata,
    Column("item_id", Word),
    Column("action", Word),
    Column("n", Number, nullable=False),
    Column("latest", Real, nullable=False),
    PrimaryKeyConstraint("item_id", "action"),
)
"""Derived from the events: how often each action befell each item, and when last."""

user_counts = Table(
    "user_counts",
    metadata,
    Column("user_id", Word, primary_key=True),
    Column("n", Number, nullable=False),
    Column("latest", Real, nullable=False),
)
"""Derived from the events: how many each user has."""


def _catalogue(name: str) -> Table:
    return Table(
        name,
        metadata,
        Column("id", Word, primary_key=True),
        Column("columns", Json, nullable=False),
        Column("created", Real, nullable=False),
        Column("updated", Real, nullable=False),
        Column("change", Number, nullable=False, index=True),
        Column("deleted", Boolean, nullable=False),
    )


items = _catalogue("items")
users = _catalogue("users")

slates = Table(
    "slates",
    metadata,
    Column("slate_id", Word, primary_key=True),
    Column("user_id", Word),
    Column("model", Word, nullable=False),
    Column("items", Json, nullable=False),
    Column("created", Real, nullable=False),
    Column("key_id", Word),
    Column("experiment", Word),
    Column("arm", Word),
    Column("request", Json, nullable=False),
    Column("degraded", Json, nullable=False),
    Index("slates_of_user", "user_id", "created"),
    Index("slates_of_experiment", "experiment", "created"),
    # All that slates are counted by, as the rows themselves are a hundred times as long.
    Index("slates_in_time", "created", "slate_id", "user_id", "model", "experiment", "arm"),
)

decisions = Table(
    "decisions",
    metadata,
    Column("number", Number, primary_key=True, autoincrement=True),
    Column("verdict", Word, nullable=False),
    Column("item_id", Word, index=True),
    Column("rule", Json),
    Column("who", Word, nullable=False),
    Column("why", Word, nullable=False),
    Column("time", Real, nullable=False),
    Column("until", Real),
    Column("released", Real),
    Column("released_by", Word),
    Column("released_why", Word),
    CheckConstraint("verdict IN ('hide', 'pin', 'block')", name="known_verdict"),
    sqlite_autoincrement=True,
)

reviews = Table(
    "reviews",
    metadata,
    Column("number", Number, primary_key=True, autoincrement=True),
    Column("item_id", Word, nullable=False),
    Column("why", Word, nullable=False),
    Column("who", Word, nullable=False),
    Column("time", Real, nullable=False),
    Column("resolved", Real),
    Column("resolved_by", Word),
    Column("outcome", Word),
    sqlite_autoincrement=True,
)

keys = Table(
    "keys",
    metadata,
    Column("key_id", Word, primary_key=True),
    Column("name", Word, nullable=False),
    Column("scope", Word, nullable=False),
    Column("hash", Word, nullable=False),
    Column("created", Real, nullable=False),
    Column("expires", Real),
    Column("revoked", Real),
    Column("limits", Json, nullable=False),
    CheckConstraint("scope IN ('read', 'write', 'admin')", name="known_scope"),
)

experiments = Table(
    "experiments",
    metadata,
    Column("name", Word, primary_key=True),
    Column("state", Word, nullable=False),
    Column("settings", Json, nullable=False),
    Column("who", Word, nullable=False),
    Column("created", Real, nullable=False),
    Column("started", Real),
    Column("stopped", Real),
    CheckConstraint("state IN ('draft', 'running', 'stopped')", name="known_state"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("number", Number, primary_key=True, autoincrement=True),
    Column("kind", Word, nullable=False),
    Column("payload", Json, nullable=False),
    Column("state", Word, nullable=False),
    Column("created", Real, nullable=False),
    Column("key", Word),
    Column("priority", Number, nullable=False),
    Column("after", Real, nullable=False),
    Column("attempts", Number, nullable=False),
    Column("max_attempts", Number, nullable=False),
    Column("worker", Word),
    Column("lease", Word),
    Column("lease_until", Real),
    Column("lease_seconds", Real),
    Column("progress", Json, nullable=False),
    Column("result", Json),
    Column("error", Word),
    Column("finished", Real),
    CheckConstraint("state IN ('queued', 'running', 'done', 'failed', 'cancelled')", name="known_job_state"),
    Index("jobs_waiting", "state", "priority", "number"),
    Index(
        "one_open_job_a_key",
        "key",
        unique=True,
        sqlite_where=text("state IN ('queued', 'running')"),
        postgresql_where=text("state IN ('queued', 'running')"),
    ),
    sqlite_autoincrement=True,
)

audit = Table(
    "audit",
    metadata,
    Column("number", Number, primary_key=True, autoincrement=True),
    Column("time", Real, nullable=False),
    Column("who", Word, nullable=False),
    Column("action", Word, nullable=False),
    Column("target", Word, nullable=False),
    Column("detail", Json, nullable=False),
    sqlite_autoincrement=True,
)
