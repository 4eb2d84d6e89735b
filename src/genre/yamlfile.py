"""YAML as plain values that remember where each of them stands."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

Key = str | int
KeyPath = tuple[Key, ...]
MERGE = "tag:yaml.org,2002:merge"
STEP = re.compile(r"\.?([^.\[\]]+)|\[(\d+)\]")


def dotted(path: KeyPath) -> str:
    """``pipeline.sources[0].reg``."""
    words = [f"[{step}]" if isinstance(step, int) else f".{step}" for step in path]
    return "".join(words).removeprefix(".")


@dataclass
class Document:
    """The values of a file, with the overrides of a command line put in."""

    name: str
    values: Any = None
    places: dict[KeyPath, str] = field(default_factory=dict)
    """Where each value stands: ``file:line``, or ``override a.b``."""
    problems: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> Document:
        """Read a file; what is wrong with it as YAML is in ``problems``."""
        document = cls(str(path))
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            document.problems.append(f"{path}: cannot be read ({error.strerror})")
        except UnicodeDecodeError as error:
            document.problems.append(f"{path}: not UTF-8 at byte {error.start}; save the file as UTF-8")
        else:
            document._parse(text)
        return document

    def sorted_problems(self) -> list[str]:
        """By line; those of overrides last."""
        return sorted(self.problems, key=self._line_number)

    def _line_number(self, problem: str) -> float:
        number = problem.removeprefix(f"{self.name}:").partition(":")[0]
        return int(number) if number.isdigit() else float("inf")

    def place(self, path: KeyPath) -> str:
        """Where ``path`` stands, or the nearest of what encloses it."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, f"{self.name}:1")

    def report(self, path: KeyPath, what: str) -> None:
        """Note a problem of the value at ``path``."""
        self.problems.append(self.line(path, what))

    def line(self, path: KeyPath, what: str) -> str:
        """``file:line: path: what``."""
        place, words = self.place(path), dotted(path)
        if not words or place == f"override {words}":
            return f"{place}: {what}"
        return f"{place}: {words}: {what}"

    def override(self, text: str, default: Callable[[KeyPath], Any], expand: Callable[[str], Any]) -> None:
        """Put in ``a.b[0].c=value``.

        ``default`` gives what a path holds when the file is silent, ``expand`` the mapping that a name is short for.
        """
        target, equals, value = text.partition("=")
        path = parse_path(target)
        if not equals or path is None:
            self.problems.append(f"override '{text}': write it as path=value, as in train.epochs=3")
            return
        try:
            parsed = yaml.safe_load(value)
        except yaml.YAMLError as error:
            self.problems.append(f"override {target}: '{value}' is not YAML ({_reason(error)})")
            return
        why = _put(self, path, parsed, default, expand)
        if why:
            self.problems.append(f"override {target}: {why}")

    def _parse(self, text: str) -> None:
        try:
            loader = yaml.SafeLoader(text)
            node = loader.get_single_node()
            if node is not None:
                self.values = _Builder(self, loader).build(node, ())
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            self.problems.append(f"{self.name}:{mark.line + 1 if mark else 1}: not YAML: {_reason(error)}")
        except yaml.YAMLError as error:
            self.problems.append(f"{self.name}:1: not YAML: {_reason(error)}")
        except RecursionError:
            self.problems.append(f"{self.name}:1: not usable: nested too deeply")


def _reason(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError):
        return " ".join(filter(None, [error.context, error.problem])).replace("tag:yaml.org,2002:", "!!")
    return str(error).splitlines()[0]


def parse_path(text: str) -> KeyPath | None:
    """The steps of ``a.b[0].c``; None where it is not such a path."""
    steps: list[Key] = []
    at = 0
    while at < len(text):
        match = STEP.match(text, at)
        if not match or (not at and match[0].startswith((".", "["))):
            return None
        steps.append(match[1] if match[2] is None else int(match[2]))
        at = match.end()
    return tuple(steps) or None


class _Builder:
    """From YAML nodes to values; notes places, and duplicate keys as problems."""

    def __init__(self, document: Document, loader: yaml.SafeLoader) -> None:
        self.document, self.loader = document, loader
        self.open: list[yaml.Node] = []

    def build(self, node: yaml.Node, path: KeyPath) -> Any:
        if node in self.open:
            raise yaml.MarkedYAMLError(problem="a value contains itself", problem_mark=node.start_mark)
        self.document.places.setdefault(path, f"{self.document.name}:{node.start_mark.line + 1}")
        self.open.append(node)
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, path)
            if isinstance(node, yaml.SequenceNode):
                return [self.build(child, (*path, i)) for i, child in enumerate(node.value)]
            return self.loader.construct_object(node)
        finally:
            self.open.pop()

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[Hashable, Any]:
        self._refuse_duplicates(node, path)
        self.loader.flatten_mapping(node)
        values: dict[Hashable, Any] = {}
        for key_node, child in node.value:
            key = self.loader.construct_object(key_node, deep=True)
            line = key_node.start_mark.line + 1
            if not isinstance(key, str):
                self._problem(line, path, f"key {key!r} is not a word; put it in quotes if it is meant to be one")
                continue
            self.document.places[(*path, key)] = f"{self.document.name}:{line}"
            values[key] = self.build(child, (*path, key))
        return values

    def _refuse_duplicates(self, node: yaml.MappingNode, path: KeyPath) -> None:
        """Of a key that is given twice the first counts, so that the mistakes in it are told as well."""
        first: dict[str, int] = {}
        once = []
        for key_node, child in node.value:
            line, word = key_node.start_mark.line + 1, key_node.value
            plain = isinstance(key_node, yaml.ScalarNode) and key_node.tag != MERGE
            if plain and word in first:
                self._problem(line, (*path, word), f"given twice, first in line {first[word]}")
                continue
            if plain:
                first[word] = line
            once.append((key_node, child))
        node.value = once

    def _problem(self, line: int, path: KeyPath, what: str) -> None:
        words = f"{dotted(path)}: " if path else ""
        self.document.problems.append(f"{self.document.name}:{line}: {words}{what}")


def _put(
    document: Document, path: KeyPath, value: Any, default: Callable[[KeyPath], Any], expand: Callable[[str], Any]
) -> str | None:
    """Set a value deep inside the document; the reason if that cannot be done."""
    if document.values is None:
        document.values = {}
    holder: Any = document.values
    for i, step in enumerate(path):
        why = _obstacle(holder, step, path[:i])
        if why:
            return why
        if i < len(path) - 1:
            inner = holder[step] if isinstance(step, int) else holder.get(step, default(path[: i + 1]))
            holder[step] = expand(inner) if isinstance(inner, str) else {} if inner is None else inner
            holder = holder[step]
    holder[path[-1]] = value
    _place(document, path, value, f"override {dotted(path)}")
    return None


def _obstacle(holder: Any, step: Key, here: KeyPath) -> str | None:
    """Why there is no ``step`` inside ``holder``, which stands at ``here``; None if there may be."""
    if isinstance(holder, list):
        if not isinstance(step, int):
            return f"{dotted(here)} is a list; say which, as in {dotted(here)}[0]"
        return f"{dotted(here)} has {len(holder)} entries, counted from 0" if step >= len(holder) else None
    if not isinstance(holder, dict) or isinstance(step, int):
        return f"{dotted(here) or 'the file'} has nothing inside to set by {dotted((step,))}"
    return None


def _place(document: Document, path: KeyPath, value: Any, place: str) -> None:
    """``value`` and all inside it now stand at ``place``; so do enclosing values that the file lacks."""
    document.places = {known: line for known, line in document.places.items() if known[: len(path)] != path}
    for i in range(1, len(path)):
        document.places.setdefault(path[:i], place)
    document.places |= dict.fromkeys(_paths(value, path), place)


def _paths(value: Any, path: KeyPath) -> Iterator[KeyPath]:
    yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, one in inside:
        yield from _paths(one, (*path, step))
