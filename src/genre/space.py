"""What a search may try: ``{search: ...}`` in the place of any value of a configuration, as a tree of parameters.

    {search: [1e-5, 1e-3], scale: log}          an interval, both ends in it; whole numbers where both ends are
    {search: [0.0, 0.4], step: 0.1}             the same in steps
    {search: [lora, frozen], default: frozen}   choices, of any values; what a choice holds may be searched in its turn

A drawn document is the file with one value in each of these places. All that reads configurations reads drawn ones.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from genre.searchers import SpaceFacts
from genre.yamlfile import Document, KeyPath

KEYS = ("search", "scale", "step", "default")
SEARCHABLE = ("model", "train", "pipeline")
"""Sections with values that may be searched; the others say what is asked, and answers compare to equal questions."""
SOME_POINTS = 3
"""Points of an interval without a step that a grid takes."""


@dataclass(frozen=True)
class Interval:
    """A number between two others, both included."""

    name: str
    at: KeyPath
    """Where it stands in the file."""
    needs: tuple[tuple[str, str], ...]
    """The choices, by name and label, that it exists under."""
    low: float
    high: float
    scale: Literal["log", "linear"] = "linear"
    step: float | None = None
    default: float | None = None
    """None as long as the file does not say it."""

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are meant: both ends, and the step, are."""
        ends = (self.low, self.high, self.step or 1)
        return all(isinstance(one, int) for one in ends)

    def ends(self) -> list[float]:
        """Values that stand for all others when the file is checked."""
        return [self.low, self.high]

    def points(self, some: int = SOME_POINTS) -> list[float]:
        """Values of a grid: every step, or ``some`` at equal distances."""
        if self.step:
            return [self._exact(i) for i in range(math.floor((self.high - self.low) / self.step + 1e-9) + 1)]
        shares = [i / (some - 1) for i in range(some)] if some > 1 else [0.5]
        found = [self._between(share) for share in shares]
        return list(dict.fromkeys(round(one) for one in found)) if self.whole else found

    def middle(self) -> float:
        """The value that is tried first where nothing says another."""
        if self.step:
            points = self.points()
            return points[len(points) // 2]
        found = self._between(0.5)
        return round(found) if self.whole else found

    def count(self) -> float:
        """How many values there are; infinity where any number will do."""
        if self.step:
            return len(self.points())
        return self.high - self.low + 1 if self.whole else math.inf

    def holds(self, value: object) -> bool:
        """Whether ``value`` is a number of the interval."""
        if isinstance(value, bool) or not isinstance(value, (int, float)) or (self.whole and value != round(value)):
            return False
        if self.step:
            return any(math.isclose(value, one, rel_tol=1e-9, abs_tol=1e-12) for one in self.points())
        return self.low <= value <= self.high

    def words(self) -> str:
        """As it is shown."""
        step = f", step {self.step:g}" if self.step else ""
        return f"{self.low:g} to {self.high:g}{', log' if self.scale == 'log' else ''}{step}"

    def _exact(self, i: int) -> float:
        assert self.step is not None
        return self.low + i * self.step if self.whole else float(f"{self.low + i * self.step:.12g}")

    def _between(self, share: float) -> float:
        if share in (0, 1):
            return self.high if share else self.low
        if self.scale == "log":
            return math.exp(math.log(self.low) + share * (math.log(self.high) - math.log(self.low)))
        return self.low + share * (self.high - self.low)


@dataclass(frozen=True)
class Choice:
    """One of several values, each known by its label."""

    name: str
    at: KeyPath
    needs: tuple[tuple[str, str], ...]
    options: tuple[Any, ...]
    """As they stand in the file, perhaps with searches inside."""
    labels: tuple[str, ...]
    default: str

    def ends(self) -> list[str]:
        """See `Interval.ends`."""
        return list(self.labels)

    def points(self, some: int = SOME_POINTS) -> list[str]:
        """See `Interval.points`."""
        return list(self.labels)

    def words(self) -> str:
        """As it is shown."""
        return ", ".join(self.labels)


Parameter = Interval | Choice
Ask = Callable[[Parameter], Any]
"""Gives the value of an interval, or the label of a choice."""


@dataclass(frozen=True)
class Drawn:
    """A document with one value in every place."""

    values: dict[str, Any]
    sources: dict[KeyPath, KeyPath]
    """Where each of its values stands in the file."""
    chosen: dict[str, Any]
    """What was asked for and answered, by the parameter's name."""


class _Open(Exception):
    """A parameter that nothing has been decided of."""

    def __init__(self, parameter: Parameter) -> None:
        super().__init__(parameter.name)
        self.parameter = parameter


@dataclass(frozen=True)
class Space:
    """A file's values and the parameters in them."""

    values: dict[str, Any]
    parameters: dict[KeyPath, Parameter] = field(default_factory=dict)
    """By where they stand, in the order of the file."""
    broken: frozenset[KeyPath] = frozenset()
    """Where a search stands that cannot be understood; it is drawn as if the file were silent there."""

    def __bool__(self) -> bool:
        return bool(self.parameters)

    @property
    def named(self) -> dict[str, Parameter]:
        """The parameters by name."""
        return {one.name: one for one in self.parameters.values()}

    def draw(self, ask: Ask) -> Drawn:
        """The document that ``ask`` decides; of a choice only what is in the option taken is asked for."""
        chosen: dict[str, Any] = {}
        sources: dict[KeyPath, KeyPath] = {}

        def walk(node: Any, path: KeyPath, at: KeyPath) -> Any:
            sources[path] = at
            if at in self.broken:
                return None
            parameter = self.parameters.get(at)
            if parameter is not None:
                value = chosen[parameter.name] = ask(parameter)
                if isinstance(parameter, Interval):
                    return value
                i = parameter.labels.index(value)
                return walk(parameter.options[i], path, (*at, "search", i))
            if isinstance(node, dict):
                kept = {key: one for key, one in node.items() if (*at, key) not in self.broken}
                return {key: walk(one, (*path, key), (*at, key)) for key, one in kept.items()}
            if isinstance(node, list):
                return [walk(one, (*path, i), (*at, i)) for i, one in enumerate(node)]
            return node

        return Drawn(walk(self.values, (), ()), sources, chosen)

    def of(self, chosen: dict[str, Any]) -> Drawn:
        """The document of what was chosen, by name; the rest stands at its default."""
        return self.draw(lambda one: chosen.get(one.name, first_of(one)))

    def variants(self) -> Iterator[Drawn]:
        """Documents in which every choice, and both ends of every interval, occur once; the rest at its default."""
        yield self.of({})
        for one in self.parameters.values():
            for value in one.ends():
                yield self.of({**dict(one.needs), one.name: value})

    def grid(self, some: int = SOME_POINTS) -> Iterator[dict[str, Any]]:
        """Every combination, what only some choices have only with these."""
        todo: list[dict[str, Any]] = [{}]
        while todo:
            decided = todo.pop()
            try:
                yield self.draw(lambda one, known=decided: _decided(one, known)).chosen
            except _Open as found:
                one = found.parameter
                todo += [{**decided, one.name: value} for value in reversed(one.points(some))]

    def count(self) -> float:
        """How many combinations there are; infinity where some number may be any."""
        return self._count(self.values, ())

    def _count(self, node: Any, at: KeyPath) -> float:
        parameter = self.parameters.get(at)
        if isinstance(parameter, Interval):
            return parameter.count()
        if parameter is not None:
            return sum(self._count(one, (*at, "search", i)) for i, one in enumerate(parameter.options))
        if isinstance(node, dict):
            return math.prod(self._count(one, (*at, key)) for key, one in node.items())
        return math.prod(self._count(one, (*at, i)) for i, one in enumerate(node)) if isinstance(node, list) else 1

    def with_defaults(self, shipped: dict[str, Any]) -> Space:
        """The space with intervals that say no default given one: by name from ``shipped`` where it fits."""
        found = dict(self.parameters)
        for at, one in found.items():
            if isinstance(one, Interval) and one.default is None:
                value = shipped.get(one.name)
                found[at] = replace(one, default=value if one.holds(value) else one.middle())
        return replace(self, parameters=found)


def _decided(one: Parameter, known: dict[str, Any]) -> Any:
    if one.name not in known:
        raise _Open(one)
    return known[one.name]


def first_of(one: Parameter) -> Any:
    """The value that is tried first."""
    return one.middle() if isinstance(one, Interval) and one.default is None else one.default


def facts_of(space: Space, objectives: int) -> SpaceFacts:
    """What a searcher needs to know."""
    found = list(space.parameters.values())
    choices = sum(isinstance(one, Choice) for one in found)
    return SpaceFacts(len(found), choices, sum(bool(one.needs) for one in found), objectives)


def drawn_path(at: KeyPath) -> KeyPath:
    """Where a value stands in a drawn document that stands at ``at`` in the file."""
    found: list[Any] = []
    for step in at:
        if isinstance(step, int) and found and found[-1] == "search" and len(found) > 1:
            found.pop()
        else:
            found.append(step)
    return tuple(found)


def is_search(node: Any, at: KeyPath) -> bool:
    """Whether a value of the file stands for many. The file's own `search` is the section."""
    return bool(at) and at[0] != "search" and isinstance(node, dict) and "search" in node


def space_of(document: Document) -> Space:
    """The space of a file. What is wrong with it goes to the document's problems, and is left out."""
    found: dict[KeyPath, Parameter] = {}
    broken: set[KeyPath] = set()

    def walk(node: Any, name: str, at: KeyPath, needs: tuple[tuple[str, str], ...]) -> None:
        if is_search(node, at):
            if at[0] not in SEARCHABLE:
                document.report(at, f"cannot be searched; what is in {', '.join(SEARCHABLE)} can")
                broken.add(at)
                return
            made = _read(node, name, at, needs)
            if isinstance(made, str):
                document.report(at, made)
                broken.add(at)
                return
            found[at] = made
            if isinstance(made, Choice):
                for i, (label, option) in enumerate(zip(made.labels, made.options, strict=True)):
                    walk(option, f"{name}({label})", (*at, "search", i), (*needs, (name, label)))
        elif isinstance(node, dict):
            for key, one in node.items():
                if at or key != "search":
                    walk(one, f"{name}.{key}" if name else str(key), (*at, key), needs)
        elif isinstance(node, list):
            for i, one in enumerate(node):
                walk(one, f"{name}[{i}]", (*at, i), needs)

    if isinstance(document.values, dict):
        walk(document.values, "", (), ())
    return Space(document.values, found, frozenset(broken))


def drawn_document(document: Document, drawn: Drawn) -> Document:
    """A drawn document that knows of each value where it stands in the file."""
    places = {path: document.places[at] for path, at in drawn.sources.items() if at in document.places}
    return Document(document.name, drawn.values, places)


def _read(node: dict[str, Any], name: str, at: KeyPath, needs: tuple[tuple[str, str], ...]) -> Parameter | str:
    """The parameter that a ``{search: ...}`` is, or what is wrong with it."""
    if odd := [key for key in node if key not in KEYS]:
        return f"unknown key '{odd[0]}' beside search; known: {', '.join(KEYS)}"
    options = node["search"]
    if not isinstance(options, list) or len(options) < 2:
        return "search needs a list of two values or more: the ends of an interval (with scale or step), or choices"
    if "scale" in node or "step" in node:
        return _interval(node, name, at, needs)
    if len({json.dumps(one, sort_keys=True, default=str) for one in options}) < len(options):
        return "two choices of search are equal"
    labels = _labels(options)
    default = node.get("default", options[0])
    chosen = [label for label, one in zip(labels, options, strict=True) if default in (one, label)]
    if not chosen:
        return f"default {default!r} is none of the choices: {', '.join(labels)}"
    return Choice(name, at, needs, tuple(options), tuple(labels), chosen[0])


def _interval(node: dict[str, Any], name: str, at: KeyPath, needs: tuple[tuple[str, str], ...]) -> Interval | str:
    ends = [_number(one) for one in node["search"]]
    scale, step, default = node.get("scale", "linear"), node.get("step"), node.get("default")
    if len(ends) != 2 or None in ends:
        return "an interval is two numbers, as in {search: [1e-5, 1e-3], scale: log}"
    low, high = (one for one in ends if one is not None)
    if why := _uneven(low, high, scale, step):
        return why
    step = None if step is None else _number(step)
    made = Interval(name, at, needs, low, high, scale, step)
    if default is not None and not made.holds(_number(default)):
        return f"default {default!r} is not in {made.words()}"
    return replace(made, default=None if default is None else _number(default))


def _uneven(low: float, high: float, scale: Any, step: Any) -> str | None:
    """What is wrong with the ends, the scale and the step of an interval."""
    if low >= high:
        return f"the interval begins at {low:g} and ends at {high:g}; put the smaller number first"
    if scale not in ("log", "linear"):
        return f"scale should be log or linear, not {scale!r}"
    if scale == "log" and (low <= 0 or step is not None):
        return "scale: log needs numbers above 0, and no step" if low <= 0 else "step goes with scale: linear"
    if step is not None and ((number := _number(step)) is None or not 0 < number <= high - low):
        return f"step should be a number above 0 and at most {high - low:g}, not {step!r}"
    return None


def _number(value: Any) -> float | None:
    """A finite number, also where YAML takes 1e-5 for a word; whole numbers stay whole."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        found = float(value)
    except ValueError:
        return None
    return None if not math.isfinite(found) else value if isinstance(value, int) else found


def _labels(options: list[Any]) -> list[str]:
    """A short name for each option, no two alike."""
    labels: list[str] = []
    for one in options:
        label = _label(one)
        same = sum(known.partition("#")[0] == label for known in labels)
        labels.append(f"{label}#{same + 1}" if same else label)
    return labels


def _label(value: Any) -> str:
    if isinstance(value, dict) and isinstance(value.get("type"), str):
        return value["type"]
    if isinstance(value, list):
        return f"[{', '.join(map(_label, value))}]"
    if isinstance(value, bool) or value is None:
        return "none" if value is None else str(value).lower()
    return str(value) if not isinstance(value, dict) else json.dumps(value, sort_keys=True, default=str)
