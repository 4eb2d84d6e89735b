"""The policy in the path: whether it chooses, what that earns beside the others, and its switch."""

from __future__ import annotations

from typing import Any

from genre.console.charts import Measured, intervals
from genre.console.dialogs import ask
from genre.console.frame import Visit
from genre.console.parts import badge, box, button, card, picture, table, words

VERDICTS = {"better": "good", "worse": "bad", "no difference": ""}


class PolicyCard:
    """One part of the page Experiments."""

    def __init__(self, visit: Visit) -> None:
        self.visit = visit

    def build(self) -> None:
        """The place, empty."""
        say = self.visit.say
        with card(say("policy"), say("policy.note")):
            self.body = box("div", "stack")

    async def look(self) -> None:
        """Read what it is and what it earned, and show it."""
        found = await self.visit.api.get("/v1/policy")
        self.body.clear()
        with self.body:
            self._state(found)
            if found["share"]:
                self._arms(found)
                self._switch(found)
            else:
                words("p", self.visit.say("policy.nobody.teach"), "note")

    def _state(self, found: dict[str, Any]) -> None:
        say = self.visit.say
        off = not found["share"]
        with box("div", "rowed"):
            state = "nobody" if off else "on" if found["on"] else "stopped"
            badge(say(f"policy.{state}"), {"on": "good", "stopped": "warn"}.get(state, ""))
            if found["held"]:
                badge(say("policy.held"), "warn")
            words("span", say("policy.is", name=found["policy"]["type"], share=f"{found['share']:.0%}"))
        if found["why"]:
            words("p", say("policy.because", why=found["why"]), "note")
        if found["held"]:
            words("p", say("policy.held.note"), "note")

    def _arms(self, found: dict[str, Any]) -> None:
        say = self.visit.say
        since = say.when(found["since"]) if found["since"] else say("policy.beginning")
        words("p", say("policy.since", since=since, n=f"{found['learned']:,}"), "note")
        columns = [say(f"policy.{name}") for name in ("arm", "users", "slates", "reward")]
        rows = [
            (say(f"policy.arm.{one['arm']}"), f"{one['units']:,}", f"{one['slates']:,}", _reward(one))
            for one in found["arms"]
        ]
        table(say("policy.result"), columns, rows, (1, 2, 3))
        if any(one["rate"] is not None for one in found["arms"]):
            ends = [one["ci95"] or (None, None) for one in found["arms"]]
            drawn = [
                Measured(say(f"policy.arm.{one['arm']}"), one["rate"], low, high)
                for one, (low, high) in zip(found["arms"], ends, strict=True)
            ]
            picture(intervals(drawn), say("policy.picture"))
        two = found["difference"]
        if two is None or two["difference"] is None:
            words("p", say("policy.waiting"), "note")
            return
        low, high = two["ci95"]
        with box("div", "rowed"):
            badge(say(f"verdict.{two['verdict'].replace(' ', '_')}"), VERDICTS[two["verdict"]])
            ends = {"low": f"{low:+.4f}", "high": f"{high:+.4f}"}
            words("span", say("policy.difference", by=f"{two['difference']:+.4f}", **ends))

    def _switch(self, found: dict[str, Any]) -> None:
        say, visit = self.visit.say, self.visit
        # Of one that is held, to start it again is what lets it learn on.
        acts = ["stop"] if found["on"] else ["start"]
        if found["on"] and found["held"]:
            acts.append("start")

        def asking(act: str) -> Any:
            async def asked() -> None:
                async def done(why: str) -> None:
                    await visit.api.post(f"/v1/policy/{act}", {"why": why})
                    visit.tell(say(f"done.policy.{act}"))
                    await self.look()

                go, note = say(f"policy.{act}"), say(f"policy.{act}.note")
                ask(visit, go, go, done, note=note, reason=say("why"), danger=act == "stop")

            return asked

        with box("div", "rowed"):
            for act in acts:
                button(say(f"policy.{act}"), asking(act), "danger" if act == "stop" else "main")


def _reward(one: dict[str, Any]) -> str:
    if one["rate"] is None:
        return "–"
    ends = f" ({one['ci95'][0]:.4f} – {one['ci95'][1]:.4f})" if one["ci95"] else ""
    return f"{one['rate']:.4f}{ends}"
