"""What a form of the language model may cost, and the cheapest form that keeps to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from genre.component import suggest
from genre.errors import ConfigError

ENOUGH = 200
"""Users, or texts, from which on the worst end of an interval is held against a budget; below it is all noise."""
COSTS = ("p99_ms", "median_ms", "mb", "texts_per_s", "loss")


@dataclass(frozen=True)
class Budget:
    """Limits by name: times and sizes at most, texts a second at least, losses as shares of the measure at most."""

    limits: dict[str, float]

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Read ``p99_ms=5, ndcg_loss=1%``. Raises `ConfigError` that says which part is wrong."""
        limits: dict[str, float] = {}
        for part in filter(None, (one.strip() for one in text.split(","))):
            name, equals, value = (word.strip() for word in part.partition("="))
            if not equals:
                raise ConfigError([f"budget: '{part}' is no limit; write one as p99_ms=5 or loss=1%"])
            if name not in COSTS and not name.endswith("_loss"):
                raise ConfigError([f"budget: nothing named '{name}'; {suggest(name, [*COSTS, 'ndcg_loss'])}"])
            try:
                limits[name] = float(value.removesuffix("%")) / (100 if value.endswith("%") else 1)
            except ValueError as error:
                raise ConfigError([f"budget: '{value}' of {name} is no number; write one as {name}=1"]) from error
        if not limits:
            raise ConfigError(["budget: is empty; write limits as p99_ms=5, loss=1%"])
        return cls(limits)

    def broken(self, form: Mapping[str, Any]) -> list[str]:
        """What a form exceeds, in words; empty if it keeps to all. Losses are those on validation."""
        return list(self._broken(form))

    def _broken(self, form: Mapping[str, Any]) -> Iterator[str]:
        for name, limit in self.limits.items():
            if name == "texts_per_s":
                if form["texts_per_s"] < limit:
                    yield f"{form['texts_per_s']:.0f} texts a second, not {limit:g}"
            elif name in COSTS and name != "loss":
                if form[name] > limit:
                    yield f"{name} is {form[name]:.3g}, above {limit:g}"
            else:
                yield from self._lost(form, name, limit)

    def _lost(self, form: Mapping[str, Any], name: str, limit: float) -> Iterator[str]:
        losses: dict[str, Any] = form["valid"]
        chosen = losses if name == "loss" else {k: v for k, v in losses.items() if _means(name, k)}
        if not chosen:
            known = [f"{key.rpartition('.')[2].partition('@')[0]}_loss" for key in losses]
            raise ConfigError([f"budget: this model has nothing for '{name}'; {suggest(name, [*known, 'loss'])}"])
        for key, found in chosen.items():
            value, how = judged(found)
            if value is None or value > limit:
                said = "is unknown" if value is None else f"is {value:.2%} by {how}"
                yield f"the loss of {key} {said}, above {limit:.2%}"


def judged(found: Mapping[str, Any]) -> tuple[float | None, str]:
    """What is held against a budget: the worst end of the interval where there is enough data, else the loss itself."""
    if found["units"] >= ENOUGH and found["ci95"] is not None:
        return found["ci95"][1], "the worst end of its interval"
    return found["loss"], f"its value, as {found['units']} are too few for an interval"


def _means(name: str, key: str) -> bool:
    """Whether ``ndcg_loss`` is about ``ndcg@10``, ``stars_loss`` or ``rmse_loss`` about ``stars.rmse``."""
    word = name.removesuffix("_loss")
    head, _, metric = key.rpartition(".")
    return word in (head, metric, metric.partition("@")[0], key)


def cheapest(budget: Budget, forms: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The form that keeps to the budget with the least time a text, then the least space; None if none does."""
    holding = [name for name, form in forms.items() if not budget.broken(form)]
    return min(holding, key=lambda name: (-forms[name]["texts_per_s"], forms[name]["mb"]), default=None)
