"""What was measured of a model: systems beside each other, learning curves, slices, few events known, heads."""

from __future__ import annotations

from typing import Any

from genre.console.charts import Line, Measured, intervals, lines
from genre.console.frame import Visit
from genre.console.parts import badge, box, card, choice, empty, picture, table, words


class Evaluation:
    """The cards of one evaluation; a measure is chosen for all of them."""

    def __init__(self, visit: Visit, name: str, metrics: dict[str, Any], curves: list[dict[str, Any]]) -> None:
        self.visit, self.name, self.metrics, self.curves = visit, name, metrics, curves
        gate = metrics.get("gate") or {}
        self.names = list(metrics["systems"].get("genre", {}))
        self.metric = gate.get("metric") or (self.names[0] if self.names else "")

    def build(self) -> None:
        """All cards."""
        say = self.visit.say
        if self.names:
            with card(
                say("evaluation.systems"), say("evaluation.systems.note", n=self.metrics["contract"].get("users", "–"))
            ):
                chosen = choice(say("metric.measure"), {name: name for name in self.names}, self.metric)
                self.systems = box("div", "stack")
                chosen.on_value_change(lambda event: self._systems(event.value))
            self._systems(self.metric)
        self._curves()
        self._slices()
        self._shots()
        self._tasks()

    def _systems(self, metric: str) -> None:
        say, found = self.visit.say, self.metrics
        up = found["larger_is_better"].get(metric, True)
        rows = [
            Measured(name, m[metric]["value"], *(m[metric].get("ci95") or (None, None)), strong=name == "genre")
            for name, m in found["systems"].items()
            if metric in m and m[metric]["value"] is not None
        ]
        rows.sort(key=lambda row: -(row.value or 0) if up else (row.value or 0))
        self.systems.clear()
        with self.systems:
            picture(intervals(rows), say("evaluation.systems"))
            beside = [one for one in found["comparisons"] if one["metric"] == metric and one["a"] == "genre"]
            if beside:
                columns = [say(f"evaluation.{name}") for name in ("beside", "difference", "interval", "p", "verdict")]
                table(say("evaluation.comparisons"), columns, [self._comparison(one) for one in beside], (1, 2, 3))

    def _comparison(self, one: dict[str, Any]) -> list[Any]:
        say, (low, high) = self.visit.say, one["ci95"]
        tone = {"better": "good", "worse": "bad"}.get(one["verdict"], "")
        return [
            one["b"],
            f"{one['difference']:+.4f}",
            f"{low:+.4f} – {high:+.4f}",
            f"{one['p']:.3f}",
            lambda: badge(say(f"verdict.{one['verdict'].replace(' ', '_')}"), tone),
        ]

    def _curves(self) -> None:
        say = self.visit.say
        with card(say("evaluation.curves"), say("evaluation.curves.note")):
            if not self.curves:
                empty(say("evaluation.no_curves"), say("evaluation.no_curves.teach"))
                return
            for kind in ("loss/", "valid/"):
                words("h3", say("evaluation.losses" if kind == "loss/" else "evaluation.valid"))
                with box("div", "thirds"):
                    for name in self.curves[0]:
                        if name.startswith(kind):
                            points = [(row["step"], row.get(name)) for row in self.curves]
                            lines(name, [Line(name.removeprefix(kind), points)], zero=False)

    def _slices(self) -> None:
        say, found = self.visit.say, self.metrics.get("slices") or {}
        with card(say("evaluation.slices"), say("evaluation.slices.note")):
            rows = []
            for name, one in found.items():
                for two in one["comparisons"][:1]:
                    low, high = two["ci95"] or (None, None)
                    rows.append(
                        Measured(
                            f"{name} ({one['n']})",
                            two["difference"],
                            low,
                            high,
                            strong=two["verdict"] in ("better", "worse"),
                        )
                    )
            if rows:
                first = next(iter(found.values()))["comparisons"][0]
                words("p", say("evaluation.slices.of", metric=first["metric"], a=first["a"], b=first["b"]), "note")
                picture(intervals(rows, zero=True, names=236), say("evaluation.slices"))
            else:
                words("p", say("evaluation.no_slices"), "note")

    def _shots(self) -> None:
        say, found = self.visit.say, self.metrics.get("shot_curve")
        with card(say("evaluation.shots"), say("evaluation.shots.note")):
            points = found["points"] if found else []
            if not points:
                words("p", say("evaluation.no_shots"), "note")
                return
            systems = list(points[0]["systems"])
            metric = next(iter(points[0]["systems"][systems[0]]))
            drawn = [
                Line(
                    name,
                    [(_events(one), one["systems"][name][metric]["value"]) for one in points if name in one["systems"]],
                    dashed=name != "genre",
                )
                for name in systems
            ]
            words("h3", metric)
            lines(say("evaluation.shots"), drawn)

    def _tasks(self) -> None:
        say, found = self.visit.say, self.metrics.get("tasks") or {}
        if not found:
            return
        rows = []
        for head, one in found.items():
            for system, measures in self.metrics["systems"].items():
                told = {
                    name: m for name, m in measures.items() if name.startswith(f"{head}.") and m["value"] is not None
                }
                if told:
                    first = ", ".join(
                        f"{name.partition('.')[2]} {m['value']:.4f}" for name, m in list(told.items())[:4]
                    )
                    rows.append((head, one["task"], system, first))
        with card(say("evaluation.tasks"), say("evaluation.tasks.note")):
            columns = [say(f"evaluation.{name}") for name in ("head", "task", "system", "measures")]
            table(say("evaluation.tasks"), columns, rows)


def _events(point: dict[str, Any]) -> str:
    """How many events are known, for an axis; of whole histories their mean."""
    return f"{point['mean_events']:.0f}" if point["shots"] is None else str(point["shots"])
