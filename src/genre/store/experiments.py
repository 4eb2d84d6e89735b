"""Experiments as they were set up; who is in which arm, and what it means, is the server's."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, delete, select, update

import genre.store.tables as t
from genre.store.access import Access, insert, next_changes, usable
from genre.store.checking import id_problem, json_problem
from genre.store.faults import Conflict, NotFound
from genre.store.records import Experiment, ExperimentState


class Experiments:
    """Settings by name. They are fixed once an experiment runs, as a result is of what was set when it was measured."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def put(self, name: str, settings: dict[str, Any], who: str) -> Experiment:
        """Set one up, or change one that has not run yet. Raises `Conflict` where it has."""
        if problem := id_problem(name) or json_problem(settings):
            raise Conflict(f"experiment: its name or a setting {problem}")
        c = t.experiments.c
        values = {"name": name, "settings": settings, "who": who, "state": "draft", "created": self._access.clock()}

        def work(connection: Connection) -> Experiment:
            next_changes(connection)
            made = insert(connection, t.experiments).values(**values)
            kept = {"settings": made.excluded.settings, "who": made.excluded.who}
            made = made.on_conflict_do_update(index_elements=["name"], set_=kept, where=c.state == "draft")
            row = connection.execute(made.returning(*c)).one_or_none()
            if row is None:
                why = f"experiment '{name}' has begun: its settings are fixed; set up another"
                raise Conflict(why).coded("experiment_begun", name=name)
            return _experiment(row)

        return self._access.write(work)

    def start(self, name: str) -> Experiment:
        """Let it run. Raises `Conflict` unless it is a draft."""
        return self._move(name, "draft", {"state": "running", "started": self._access.clock()})

    def stop(self, name: str) -> Experiment:
        """Let it run no more. Raises `Conflict` unless it runs."""
        return self._move(name, "running", {"state": "stopped", "stopped": self._access.clock()})

    def get(self, name: str) -> Experiment:
        """One by name. Raises `NotFound`."""
        with self._access.reading() as connection:
            return self._one(connection, name)

    def list(self, state: ExperimentState | None = None) -> list[Experiment]:
        """All, or those of a state, by name."""
        c = t.experiments.c
        asked = select(t.experiments).order_by(c.name)
        asked = asked if state is None else asked.where(c.state == state)
        with self._access.reading() as connection:
            return [_experiment(row) for row in connection.execute(asked)]

    def delete(self, name: str) -> None:
        """Forget one. Raises `NotFound`, or `Conflict` while it runs."""

        def work(connection: Connection) -> None:
            next_changes(connection)
            if self._one(connection, name).state == "running":
                raise Conflict(f"experiment '{name}' runs; stop it first").coded("experiment_runs", name=name)
            connection.execute(delete(t.experiments).where(t.experiments.c.name == name))

        self._access.write(work)

    def _move(self, name: str, state: ExperimentState, values: dict[str, Any]) -> Experiment:
        c = t.experiments.c

        def work(connection: Connection) -> Experiment:
            next_changes(connection)
            now = self._one(connection, name)
            if now.state != state:
                why = f"experiment '{name}' is {now.state}, not {state}"
                raise Conflict(why).coded(f"experiment_not_{state}", name=name)
            moved = update(t.experiments).where(c.name == name).values(**values).returning(*c)
            return _experiment(connection.execute(moved).one())

        return self._access.write(work)

    def _one(self, connection: Connection, name: str) -> Experiment:
        asked = select(t.experiments).where(t.experiments.c.name.in_(usable([name])))
        row = connection.execute(asked).one_or_none()
        if row is None:
            raise NotFound(f"there is no experiment '{name}'" if usable([name]) else "there is no such experiment")
        return _experiment(row)


def _experiment(row: Row[Any]) -> Experiment:
    return Experiment(**row._mapping)
