"""What workers do and did."""

from __future__ import annotations

from typing import Any

from fastapi import Request

from genre.console.frame import Visit
from genre.console.jobform import JobForm
from genre.console.parts import badge, box, button, card, empty, table, words

STATES = ("queued", "running", "done", "failed", "cancelled")
TONES = {"done": "good", "failed": "bad", "running": "accent"}


async def jobs(visit: Visit, request: Request) -> None:
    """The jobs, newest first."""
    page = Jobs(visit)
    await page.build()
    await page.look()


class Jobs:
    """The list and its filter."""

    def __init__(self, visit: Visit) -> None:
        self.visit, self.state = visit, ""

    async def build(self) -> None:
        """The buttons that choose, the place of the list, and the form."""
        say = self.visit.say
        with box("div", "rowed", role="group", aria_label=say("jobs.which")):
            self.buttons = {state: self._choice(state) for state in ("", *STATES)}
        self.list = card(say("page.jobs"), say("jobs.note"))
        self.body = None
        await JobForm(self.visit, self.look).build()

    def _choice(self, state: str) -> Any:
        async def chosen() -> None:
            self.state = state
            await self.look()

        return button(self.visit.say(f"job.{state or 'all'}"), self.visit.doing(chosen), "small")

    async def look(self) -> None:
        """Ask for the jobs, and show them."""
        say = self.visit.say
        for state, made in self.buttons.items():
            made.props["aria-pressed"] = str(state == self.state).lower()
            made.update()
        rows = (await self.visit.api.get("/v1/jobs", state=self.state or None, limit=100))["rows"]
        if self.body is not None:
            self.body.delete()
        with self.list:
            self.body = box("div", "stack")
        with self.body:
            if not rows:
                empty(say("jobs.none"), say("jobs.teach"), "genre worker RUN")
                return
            columns = [say(f"jobs.{name}") for name in ("number", "kind", "state", "when", "attempts", "outcome", "do")]
            table(say("page.jobs"), columns, [self._row(one) for one in rows], (0, 4))

    def _row(self, job: dict[str, Any]) -> list[Any]:
        say = self.visit.say
        return [
            str(job["number"]),
            job["kind"],
            lambda: badge(say(f"job.{job['state']}"), TONES.get(job["state"], "")),
            say.when(job["created"]),
            f"{job['attempts']} / {job['max_attempts']}",
            job["error"] or _told(job["result"]) or _told(job["progress"]) or "–",
            lambda: self._cancel(job),
        ]

    def _cancel(self, job: dict[str, Any]) -> None:
        if job["state"] not in ("queued", "running"):
            words("span", "–")
            return

        async def cancelled() -> None:
            await self.visit.api.post(f"/v1/jobs/{job['number']}/cancel")
            self.visit.tell(self.visit.say("jobs.cancelled", n=job["number"]))
            await self.look()

        name = self.visit.say("jobs.cancel.this", n=job["number"])
        button(self.visit.say("jobs.cancel"), self.visit.doing(cancelled), "small danger", aria_label=name)


def _told(found: dict[str, Any] | None) -> str:
    return ", ".join(f"{name} {value}" for name, value in (found or {}).items())
