"""Experiments: which arms there are, and what came of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from nicegui import ui

from genre.console.charts import Measured, intervals
from genre.console.dialogs import ask
from genre.console.frame import Visit
from genre.console.parts import badge, box, button, card, choice, empty, field, picture, table, words
from genre.console.policycard import VERDICTS, PolicyCard
from genre.console.searches import Searches

TONES = {"running": "good", "stopped": "", "draft": "warn"}
KINDS = ("split", "interleaving")


@dataclass
class Arm:
    """The fields of an arm that is being made."""

    name: ui.input
    model: ui.select
    share: ui.number


async def experiments(visit: Visit, request: Request) -> None:
    """All experiments, one in full, and a new one."""
    page = Experiments(visit)
    await page.build()
    await page.look()
    await Searches(visit).build()


class Experiments:
    """The parts of the page."""

    def __init__(self, visit: Visit) -> None:
        self.visit = visit
        self.arms: list[Arm] = []
        self.policy = PolicyCard(visit)

    async def build(self) -> None:
        """The places, and the form."""
        say = self.visit.say
        found = (await self.visit.api.get("/v1/models"))["rows"]
        self.models = {"": say("experiments.active")}
        self.models |= {m["name"]: m["name"] for m in found if m["state"] in ("loaded", "previous")}
        self.list = box("div", "stack")
        self.policy.build()
        with card(say("experiments.new"), say("experiments.new.note")):
            with box("div", "halves"):
                self.name = field(say("experiments.name"), placeholder="newer-model")
                self.actions = field(say("experiments.actions"), note=say("experiments.actions.note"), value="click")
            self.kind = choice(say("experiments.kind"), {k: say(f"experiments.kind.{k}") for k in KINDS}, "split")
            self.rows = box("div", "stack")
            self._arm("a", 0.5)
            self._arm("b", 0.5)
            self.note = field(say("experiments.note"))
            if len(self.models) == 1:
                words("p", say("experiments.one_model"), "note")
            with box("div", "rowed"):
                button(say("experiments.add_arm"), self._another)
                button(say("experiments.make"), self.visit.doing(self._make), "main")

    def _arm(self, name: str, share: float) -> None:
        say = self.visit.say
        with self.rows, box("fieldset", "halves plain-fieldset"):
            words("legend", say("experiments.arm", name=name), "note")
            arm_name = field(say("experiments.arm.name"), value=name)
            with box("div", "halves"):
                model = choice(say("experiments.arm.model"), self.models, "")
                number = ui.number(say("experiments.arm.share"), value=share, min=0.01, max=1, step=0.05)
                number.classes("field").props("outlined dense stack-label")
        self.arms.append(Arm(arm_name, model, number))

    async def _another(self) -> None:
        self._arm("abcdefgh"[min(len(self.arms), 7)], 0.1)

    async def _make(self) -> None:
        say = self.visit.say
        name = (self.name.value or "").strip()
        if not name:
            self.visit.tell(say("experiments.no_name"), bad=True)
            return
        arms = [{"name": a.name.value, "model": a.model.value or None, "share": a.share.value or 0} for a in self.arms]
        actions = [one.strip() for one in (self.actions.value or "").split(",") if one.strip()]
        await self.visit.api.put(
            f"/v1/experiments/{name}",
            {"kind": self.kind.value, "arms": arms, "actions": actions, "note": self.note.value or ""},
        )
        self.visit.tell(say("done.experiment", name=name))
        await self.look()

    async def look(self) -> None:
        """Read all experiments and the policy, and show each with what came of it."""
        await self.policy.look()
        say, api = self.visit.say, self.visit.api
        rows = (await api.get("/v1/experiments"))["rows"]
        results = [await api.get(f"/v1/experiments/{one['name']}") for one in rows]
        self.list.clear()
        with self.list:
            if not results:
                with card(""):
                    empty(say("experiments.none"), say("experiments.teach"))
            for one in sorted(results, key=lambda one: -one["experiment"]["created"]):
                self._one(one)

    def _one(self, result: dict[str, Any]) -> None:
        say, one = self.visit.say, result["experiment"]
        with card(one["name"], one["settings"].get("note") or ""):
            with box("div", "rowed"):
                badge(say(f"experiment.{one['state']}"), TONES[one["state"]])
                badge(say(f"experiments.kind.{one['settings'].get('kind', 'split')}"))
                words("span", say("experiments.by", who=one["who"], when=say.when(one["created"])), "note")
            if result["preference"] is None:
                self._arms(result)
            else:
                self._preference(result)
            self._buttons(one)

    def _arms(self, result: dict[str, Any]) -> None:
        """Of a split: how each arm was answered to, and each beside the first."""
        say, one = self.visit.say, result["experiment"]
        setup = [
            (arm["name"], arm.get("model") or say("experiments.active"), f"{arm['share']:.0%}")
            for arm in one["settings"]["arms"]
        ]
        told = {arm["arm"]: arm for arm in result["arms"]}
        columns = [say(f"experiments.{name}") for name in ("arm.one", "model", "share", "users", "slates", "rate")]
        table(say("experiments.result"), columns, [(*row, *_counts(told.get(row[0]))) for row in setup], (2, 3, 4, 5))
        if any(arm["rate"] is not None for arm in result["arms"]):
            rows = [Measured(arm["arm"], arm["rate"], *_ends(arm["ci95"])) for arm in result["arms"]]
            picture(intervals(rows), say("experiments.rates"))
        elif one["state"] == "running":
            words("p", say("experiments.waiting", actions=say.list(one["settings"]["actions"])), "note")
        for two in result["differences"]:
            self._difference(two)

    def _preference(self, result: dict[str, Any]) -> None:
        """Of an interleaving: from which of the two people chose more, slate by slate."""
        say, one, told = self.visit.say, result["experiment"], result["preference"]
        columns = [say(f"experiments.{name}") for name in ("arm.one", "model", "wins")]
        rows = [
            (arm["name"], arm.get("model") or say("experiments.active"), f"{wins:,}")
            for arm, wins in zip(one["settings"]["arms"], told["wins"], strict=True)
        ]
        rows.append((say("experiments.ties"), "–", f"{told['ties']:,}"))
        table(say("experiments.result"), columns, rows, (2,))
        if told["preference"] is None:
            if one["state"] == "running":
                words("p", say("experiments.waiting", actions=say.list(one["settings"]["actions"])), "note")
            return
        words("p", say("experiments.slates.of", n=f"{told['units']:,}"), "note")
        name = say("experiments.preference", second=told["second"], first=told["first"])
        drawn = Measured(str(told["second"]), told["preference"], *_ends(told["ci95"]), strong=True)
        picture(intervals([drawn], zero=True), name)
        with box("div", "rowed"):
            badge(say(f"verdict.{told['verdict'].replace(' ', '_')}"), VERDICTS[told["verdict"]])
            words("span", f"{name}: {told['preference']:+.4f}{self._between(told['ci95'])}")

    def _between(self, ends: Any) -> str:
        if not ends:
            return ""
        return self.visit.say("experiments.between", low=f"{ends[0]:+.4f}", high=f"{ends[1]:+.4f}")

    def _difference(self, two: dict[str, Any]) -> None:
        say = self.visit.say
        if two["difference"] is None:
            return
        low, high = two["ci95"]
        with box("div", "rowed"):
            badge(say(f"verdict.{two['verdict'].replace(' ', '_')}"), VERDICTS[two["verdict"]])
            words(
                "span",
                say(
                    "experiments.difference",
                    arm=two["arm"],
                    beside=two["beside"],
                    by=f"{two['difference']:+.4f}",
                    low=f"{low:+.4f}",
                    high=f"{high:+.4f}",
                ),
            )

    def _buttons(self, one: dict[str, Any]) -> None:
        say, api, name = self.visit.say, self.visit.api, one["name"]

        def acting(act: Callable[[], Awaitable[Any]], told: str) -> Callable[[], Awaitable[None]]:
            async def done() -> None:
                await act()
                self.visit.tell(say(told, name=name))
                await self.look()

            return self.visit.doing(done)

        async def remove() -> None:
            async def done(why: str) -> None:
                await acting(lambda: api.delete(f"/v1/experiments/{name}"), "done.experiment.delete")()

            ask(
                self.visit,
                say("experiments.delete.title", name=name),
                say("experiments.delete"),
                done,
                note=say("experiments.delete.note"),
                danger=True,
            )

        with box("div", "rowed"):
            if one["state"] != "running":
                start = acting(lambda: api.post(f"/v1/experiments/{name}/start"), "done.experiment.start")
                button(say("experiments.start"), start, "main" if one["state"] == "draft" else "")
                button(say("experiments.delete"), remove, "danger")
            else:
                button(
                    say("experiments.stop"),
                    acting(lambda: api.post(f"/v1/experiments/{name}/stop"), "done.experiment.stop"),
                    "danger",
                )
            button(say("experiments.again"), self.visit.doing(self.look), "quiet")


def _counts(arm: dict[str, Any] | None) -> tuple[str, str, str]:
    if arm is None:
        return "–", "–", "–"
    rate = "–" if arm["rate"] is None else f"{arm['rate']:.2%}"
    if arm["ci95"]:
        rate += f" ({arm['ci95'][0]:.2%} – {arm['ci95'][1]:.2%})"
    return f"{arm['units']:,}", f"{arm['slates']:,}", rate


def _ends(interval: Any) -> tuple[float | None, float | None]:
    return (None, None) if not interval else (interval[0], interval[1])
