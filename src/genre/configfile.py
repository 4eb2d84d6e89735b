"""A configuration from a YAML file and overrides, with every mistake reported at once, by file and line."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from genre.component import expand, names, suggest
from genre.config import Config
from genre.crosschecks import contradictions
from genre.errors import ConfigError
from genre.modelchecks import Given
from genre.settings import plain
from genre.space import Drawn, Interval, Space, drawn_document, drawn_path, facts_of, space_of
from genre.yamlfile import Document, KeyPath

EXPECTED = re.compile(r"^Input should be")


def load(path: Path | str, overrides: Sequence[str] = ()) -> Config:
    """The configuration in ``path`` with ``overrides`` such as ``train.epochs=3`` put in.

    Raises `ConfigError` with a line for every mistake. Paths inside the file are relative to the working directory.
    """
    return read(path, overrides)[0]


def read(path: Path | str, overrides: Sequence[str] = ()) -> tuple[Config, Given]:
    """The same, and which settings are said there rather than left to their default."""
    found = read_space(path, overrides)
    return found.config, found.given


@dataclass(frozen=True)
class Searched:
    """A file in which values may be searched for."""

    config: Config
    """With the first value to try in the place of each search."""
    given: Given
    space: Space


def read_space(path: Path | str, overrides: Sequence[str] = ()) -> Searched:
    """The configuration and the space that a file spans, each choice and the ends of each interval checked.

    Raises `ConfigError` with a line for every mistake.
    """
    document = _document(path, overrides)
    space = space_of(document)
    config, given, problems = None, document.places.__contains__, list(document.problems)
    bare = _defaulted(space) if space and not problems else space
    for drawn in bare.variants():
        one = drawn_document(document, drawn)
        made = _validated(one, [drawn_path(at) for at in bare.broken])
        if config is None:
            config, given = made, one.places.__contains__
        problems += [problem for problem in one.problems if problem not in problems]
    document.problems = problems
    if config is not None and bare and (why := _unsearchable(config, bare)):
        document.report(("search", "searcher"), why)
    if config is None or document.problems:
        raise ConfigError(document.sorted_problems())
    return Searched(config, given, bare)


def _unsearchable(config: Config, space: Space) -> str | None:
    """Why the searcher cannot search the space; None if it can."""
    return config.search.searcher.unfit(facts_of(space, max(1, len(config.search.objectives))))


def open_values(space: Space) -> str:
    """What a file leaves open, and what a run without a search takes, in a line."""
    said = [f"{name} {value}" for name, value in space.of({}).chosen.items()]
    return f"values are left open; a run takes {', '.join(said)}, and 'genre search' tries others"


def config_of(drawn: Drawn) -> Config:
    """The configuration of a drawn document. Raises `ConfigError` where values do not go together."""
    document = Document("trial", drawn.values, dict.fromkeys(drawn.sources, "trial"))
    config = _validated(document)
    if config is None or document.problems:
        raise ConfigError(document.problems)
    return config


def _defaulted(space: Space) -> Space:
    """The space with intervals beginning at what the package ships, where that lies inside."""
    shipped: dict[str, Any] = {}
    for one in space.parameters.values():
        if isinstance(one, Interval) and one.default is None:
            drawn = space.of(dict(one.needs))
            path = next(path for path, at in drawn.sources.items() if at == one.at)
            try:
                config = TypeAdapter(Config).validate_python(_pruned(drawn.values, path))
            except ValidationError:
                continue
            shipped[one.name] = _at(TypeAdapter(Config).dump_python(config, mode="json"), path)
    return space.with_defaults(shipped)


def _at(value: Any, path: KeyPath) -> Any:
    """What stands at ``path`` of plain data; None where nothing does."""
    for step in path:
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
        else:
            return None
    return value


def _document(path: Path | str, overrides: Sequence[str]) -> Document:
    """The file with the overrides put in. Raises `ConfigError` where it is no mapping of sections."""
    document = Document.read(Path(path))
    for text in overrides:
        document.override(text, default_at, expand)
    if document.values is None and not document.problems:
        document.problems.append(f"{path}:1: the file is empty; it needs at least data.reader")
    if not isinstance(document.values, dict):
        if document.values is not None:
            document.problems.append(
                f"{path}:1: expected sections such as data: and model:, got {_short(document.values)}"
            )
        raise ConfigError(document.sorted_problems())
    return document


def _validated(document: Document, told: Collection[KeyPath] = ()) -> Config | None:
    """The configuration, or None; its mistakes go to the document's problems, but for those at places ``told`` of."""
    adapter, wrong = TypeAdapter(Config), list[KeyPath]()
    try:
        config = adapter.validate_python(document.values)
    except ValidationError as error:
        config = None
        for at, what in flatten(error.errors(), (), None):
            if at not in told:
                document.report(at, what)
            wrong.append(at)
    # What contradicts each other is told in the same breath, so it is looked for in what is left without the mistakes.
    rest = config or _without(document.values, wrong)
    if rest is not None:
        for at, what in contradictions(rest, document.places.__contains__, wrong):
            document.report(at, what)
    return config


def _without(values: dict[str, Any], wrong: list[KeyPath]) -> Config | None:
    """The configuration with its mistakes left out; None where that does not give one."""
    for at in wrong:
        values = _pruned(values, at)
    if any(at[:1] == ("data",) for at in wrong):
        data = values.get("data")
        # Any reader will do: no check across sections reads it.
        values = {**values, "data": {"reader": names("datasets")[0], **(data if isinstance(data, dict) else {})}}
    try:
        return TypeAdapter(Config).validate_python(values)
    except ValidationError:
        return None


def _pruned(value: Any, at: KeyPath) -> Any:
    """A copy without what stands at ``at``; a list goes as a whole, so that its other entries keep their numbers."""
    step, rest = at[0] if at else None, at[1:]
    if not isinstance(value, dict) or step not in value:
        return value
    inner = value[step]
    if not rest or not isinstance(inner, dict):
        return {key: one for key, one in value.items() if key != step}
    return {**value, step: _pruned(inner, rest)}


def flatten(errors: Sequence[Any], path: KeyPath, known: list[str] | None) -> Iterator[tuple[KeyPath, str]]:
    """Pydantic's errors, and those that components carry inside theirs, as path and text.

    ``known`` are the fields of the component at ``path``; None outside of components.
    """
    for error in errors:
        at = (*path, *error["loc"])
        context = error.get("ctx") or {}
        if error["type"] == "component_fields":
            yield from flatten(context["errors"], at, context["known"])
        elif error["type"] == "unexpected_keyword_argument":
            inside = known if known is not None and len(error["loc"]) == 1 else fields_at(at[:-1])
            yield at, f"unknown key; {suggest(str(at[-1]), inside)}" if inside else "unknown key; there are none here"
        elif error["type"] == "missing":
            yield at, "is missing; it has no default"
        else:
            yield at, _worded(error, at)


def _worded(error: Any, at: KeyPath) -> str:
    """Pydantic's message in one line, with what was found instead."""
    message = error["msg"].removeprefix("Value error, ").partition(", unable to parse")[0]
    if error["type"] in ("dataclass_type", "dict_type"):
        inside = fields_at(at)
        message = "Input should be keys with values" + (f" ({', '.join(inside)})" if inside else "")
    if not EXPECTED.match(message):
        return message
    quotes = error["type"] == "string_type" and isinstance(error["input"], bool)
    mend = "; YAML reads yes, no, on and off as true and false: put the word in quotes" if quotes else ""
    return f"{EXPECTED.sub('should be', message)}, not {_short(error['input'])}{mend}"


def _short(value: Any) -> str:
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def fields_at(path: KeyPath) -> list[str]:
    """The keys of the configuration's section at ``path``."""
    section: Any = Config
    for step in path:
        section = get_type_hints(section).get(str(step)) if is_dataclass(section) else None
    return [f.name for f in fields(section)] if is_dataclass(section) else []


def default_at(path: KeyPath) -> Any:
    """What the configuration holds at ``path`` when the file is silent, as plain data; None where that is nothing."""
    section: Any = Config
    for step in path[:-1]:
        section = get_type_hints(section).get(str(step)) if is_dataclass(section) else None
    field = next((f for f in fields(section) if f.name == path[-1]), None) if is_dataclass(section) else None
    return None if field is None or field.default_factory is MISSING else plain(field.default_factory())


def schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of the file, with every component, for editors."""
    made = TypeAdapter(Config).json_schema()
    definitions: dict[str, Any] = {}
    lifted = _lift(made, definitions)
    title = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "GENRE configuration"}
    return {**lifted, **title, "$defs": definitions}


def _lift(node: Any, definitions: dict[str, Any]) -> Any:
    """Move the ``$defs`` of nested schemas to the top, where their references look for them."""
    if isinstance(node, list):
        return [_lift(one, definitions) for one in node]
    if not isinstance(node, dict):
        return node
    for name, one in node.get("$defs", {}).items():
        definitions.setdefault(name, None)
        definitions[name] = _lift(one, definitions)
    return {key: _lift(one, definitions) for key, one in node.items() if key != "$defs"}
