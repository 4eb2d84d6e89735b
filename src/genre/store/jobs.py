"""Jobs with leases: each is done by one worker at a time, and by another if that one is gone."""

from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, or_, select, update

import genre.store.tables as t
from genre.store.access import Access, insert
from genre.store.checking import json_problem
from genre.store.faults import Conflict, LeaseLost, NotFound
from genre.store.moderation import newest_first
from genre.store.records import Job, JobState, Page

OPEN: tuple[JobState, ...] = ("queued", "running")
c = t.jobs.c


class Jobs:
    """A queue. Who claims a job holds a lease, and must renew it by heartbeats before its time is over.

    A lease counts by the clocks of the machines, which must agree to within a part of it. A clock that jumps may end
    one early; then the job is claimed by another, and whatever the first still says of it is refused (`LeaseLost`).
    """

    def __init__(self, access: Access) -> None:
        self._access = access

    def add(
        self,
        kind: str,
        payload: dict[str, Any],
        *,
        key: str | None = None,
        priority: int = 0,
        after: float = 0.0,
        max_attempts: int = 3,
    ) -> Job:
        """Queue a job. If one with the same ``key`` waits or runs, that one is given back instead.

        Jobs of higher ``priority`` go first, among equals the older.
        """
        if problem := json_problem(payload):
            raise Conflict(f"the payload {problem}")
        values: dict[str, Any] = {"kind": kind, "payload": payload, "key": key, "priority": priority, "after": after}
        values |= {"max_attempts": max_attempts, "state": "queued", "attempts": 0, "progress": {}}
        values["created"] = self._access.clock()

        def work(connection: Connection) -> Job:
            made = insert(connection, t.jobs).values(**values).on_conflict_do_nothing().returning(*c)
            row = connection.execute(made).one_or_none()
            if row is None:
                row = connection.execute(select(t.jobs).where(c.key == key, c.state.in_(OPEN))).one()
            return _job(row)

        return self._access.write(work)

    def claim(self, worker: str, kinds: list[str], seconds: float = 60.0) -> Job | None:
        """Take the next job of some kinds, for ``seconds``; None if there is none.

        One whose worker let its lease run out counts as waiting, until its attempts are used up.
        """

        def work(connection: Connection) -> Job | None:
            now = self._access.clock()
            over = _expired(now)
            used_up = {"state": "failed", "lease": None, "error": "its workers vanished", "finished": now}
            connection.execute(update(t.jobs).where(over, c.attempts >= c.max_attempts).values(**used_up))
            ready = or_(and_(c.state == "queued", c.after <= now), over)
            first = select(c.number).where(c.kind.in_(kinds), ready).order_by(c.priority.desc(), c.number).limit(1)
            number = connection.execute(first).scalar_one_or_none()
            if number is None:
                return None
            taken = {"state": "running", "worker": worker, "attempts": c.attempts + 1, "lease": uuid.uuid4().hex}
            until = {"lease_until": now + seconds, "lease_seconds": seconds}
            return _job(
                connection.execute(
                    update(t.jobs).where(c.number == number).values(**taken, **until).returning(*c)
                ).one()
            )

        return self._access.write(work)

    def heartbeat(self, job: Job, progress: dict[str, Any] | None = None) -> Job:
        """Renew the lease, and say how far the work is. Raises `LeaseLost`."""
        values: dict[str, Any] = {"lease_until": self._access.clock() + (job.lease_seconds or 0.0)}
        return self._report(job, values if progress is None else {**values, "progress": progress})

    def finish(self, job: Job, result: dict[str, Any]) -> Job:
        """The job is done. Raises `LeaseLost`."""
        return self._report(job, {"state": "done", "result": result, "error": None, **self._ended()})

    def fail(self, job: Job, error: str, retry_in: float | None = None) -> Job:
        """It did not work. With ``retry_in`` it waits so many seconds for another attempt, if it has one left."""
        error = error.replace("\0", "")[:4000]
        if retry_in is None or job.attempts >= job.max_attempts:
            return self._report(job, {"state": "failed", "error": error, **self._ended()})
        again = {"state": "queued", "after": self._access.clock() + retry_in, "lease": None, "lease_until": None}
        return self._report(job, {**again, "error": error})

    def release(self, job: Job) -> Job:
        """Hand it back undone: it waits again at once, and this attempt does not count. Raises `LeaseLost`."""
        return self._report(job, {"state": "queued", "attempts": c.attempts - 1, "lease": None, "lease_until": None})

    def cancel(self, number: int) -> Job:
        """Do it no more; its worker hears at its next heartbeat. Raises `NotFound`, or `Conflict` once it ended."""

        def work(connection: Connection) -> Job:
            values = {"state": "cancelled", **self._ended()}
            stopped = update(t.jobs).where(c.number == number, c.state.in_(OPEN)).values(**values).returning(*c)
            row = connection.execute(stopped).one_or_none()
            if row is None:
                state = _one(connection, number).state
                raise Conflict(f"job {number} is {state} already").coded("job_over", n=number)
            return _job(row)

        return self._access.write(work)

    def get(self, number: int) -> Job:
        """One by its number. Raises `NotFound`."""
        with self._access.reading() as connection:
            return _one(connection, number)

    def list(self, state: JobState | None = None, cursor: str | None = None, limit: int = 100) -> Page[Job]:
        """All, or those of a state, newest first."""
        asked = select(t.jobs) if state is None else select(t.jobs).where(c.state == state)
        return newest_first(self._access, t.jobs, asked, cursor, limit, _job)

    def _ended(self) -> dict[str, Any]:
        return {"finished": self._access.clock(), "lease": None, "lease_until": None}

    def _report(self, job: Job, values: dict[str, Any]) -> Job:
        if problem := json_problem({name: values.get(name) for name in ("result", "progress")}):
            raise Conflict(f"what is told of job {job.number} {problem}")

        def work(connection: Connection) -> Job:
            held = (c.number == job.number, c.lease == job.lease, c.state == "running")
            row = connection.execute(update(t.jobs).where(*held).values(**values).returning(*c)).one_or_none()
            if row is None:
                raise LeaseLost(f"job {job.number} is no longer this worker's: it was claimed by another, or cancelled")
            return _job(row)

        return self._access.write(work)


def _expired(now: float) -> ColumnElement[bool]:
    """Jobs whose lease is over: past its time, or so far ahead that the clock must have been set back since."""
    return and_(c.state == "running", or_(c.lease_until <= now, c.lease_until > now + c.lease_seconds + 1.0))


def _one(connection: Connection, number: int) -> Job:
    row = connection.execute(select(t.jobs).where(c.number == number)).one_or_none()
    if row is None:
        raise NotFound(f"there is no job {number}")
    return _job(row)


def _job(row: Row[Any]) -> Job:
    return Job(**row._mapping)
