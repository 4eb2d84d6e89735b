"""A configuration as a form: the JSON schema says what each field is, its docstring is the help."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

Path = tuple[str | int, ...]
Kind = Literal["switch", "choice", "whole", "number", "text", "yaml", "group"]
READ_ONLY: tuple[Path, ...] = (("serve", "store"),)
"""What is shown and not changed here: where the store is holds for more than a run."""


@dataclass(frozen=True)
class Field:
    """One field of the form, or a group of them."""

    path: Path
    kind: Kind
    help: str
    value: Any
    options: tuple[str, ...] = ()
    empty: bool = False
    """Whether nothing is a value too."""

    @property
    def name(self) -> str:
        """Its name in its group."""
        last = self.path[-1]
        return str(last) if isinstance(last, str) else f"{last + 1}"

    @property
    def fixed(self) -> bool:
        """Whether it is only shown."""
        return any(self.path[: len(path)] == path for path in READ_ONLY)


class Form:
    """The fields of a configuration."""

    def __init__(self, schema: dict[str, Any], values: dict[str, Any]) -> None:
        self.schema, self.values = schema, values

    def sections(self) -> list[str]:
        """Names of the sections, and first the empty one of the fields that stand in none."""
        inside = [name for name, one in self.schema["properties"].items() if "properties" in self._whole(one)]
        return ["", *inside]

    def about(self, section: str) -> str:
        """What a section is."""
        one = self.schema["properties"].get(section, {})
        return self._whole(one).get("description") or one.get("description", "")

    def fields(self, section: str) -> Iterator[Field]:
        """The fields of a section."""
        if section:
            yield from self.inside(Field((section,), "group", "", self.values.get(section)))
            return
        sections = self.sections()
        for name, one in self.schema["properties"].items():
            if name not in sections:
                yield self._field((name,), one, self.values.get(name))

    def inside(self, group: Field) -> Iterator[Field]:
        """The fields of a group."""
        schema = self._at(group.path)
        if isinstance(group.value, list):
            for i, value in enumerate(group.value):
                yield self._field((*group.path, i), self._items(schema), value)
            return
        kinds = self._kinds(schema)
        if kinds and isinstance(group.value, dict) and "type" in group.value:
            one = kinds.get(group.value["type"], {"properties": {}})
            yield Field((*group.path, "type"), "choice", one.get("description", ""), group.value["type"], tuple(kinds))
        else:
            one = self._object(schema)
        known = one.get("properties", {})
        for name, value in (group.value or {}).items():
            if name != "type":
                yield self._field((*group.path, name), known.get(name) or self._further(one), value)

    def _field(self, path: Path, schema: dict[str, Any], value: Any) -> Field:
        told = schema.get("description", "")
        whole = self._whole(schema)
        nothing = any(one.get("type") == "null" for one in schema.get("anyOf", ()))
        if (
            isinstance(value, dict)
            and value
            and (self._object(whole).get("properties") or "type" in value or _dicts(value))
        ):
            return Field(path, "group", told or whole.get("description", ""), value)
        if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
            return Field(path, "group", told, value)
        return Field(path, self._kind(whole, value), told, value, tuple(map(str, self._enum(whole))), nothing)

    def _kind(self, schema: dict[str, Any], value: Any) -> Kind:
        types = {one.get("type") for one in schema.get("anyOf", [schema])} - {"null"}
        if self._enum(schema) and types <= {"string", None}:
            return "choice"
        if types == {"boolean"}:
            return "switch"
        if types == {"integer"}:
            return "whole"
        if types == {"number"}:
            return "number"
        return "text" if types == {"string"} and isinstance(value, str | None) else "yaml"

    @staticmethod
    def _enum(schema: dict[str, Any]) -> list[Any]:
        found = [one["enum"] for one in schema.get("anyOf", [schema]) if "enum" in one]
        return found[0] if len(found) == 1 else []

    def _at(self, path: Path) -> dict[str, Any]:
        """The schema at a path of the values."""
        schema: dict[str, Any] = self.schema
        value: Any = self.values
        for step in path:
            whole = self._whole(schema)
            if isinstance(step, int):
                schema = self._items(whole)
            else:
                one = self._kinds(whole).get(value.get("type", ""), self._object(whole))
                schema = one.get("properties", {}).get(step) or self._further(one)
            value = value[step]
        return self._whole(schema)

    def _whole(self, schema: dict[str, Any]) -> dict[str, Any]:
        """A schema with what it refers to put in its place."""
        while "$ref" in schema:
            schema = self.schema["$defs"][schema["$ref"].removeprefix("#/$defs/")]
        if [*schema.get("allOf", ())][1:] == [] and "allOf" in schema:
            return self._whole(schema["allOf"][0])
        return schema

    def _branches(self, schema: dict[str, Any]) -> list[dict[str, Any]]:
        whole = self._whole(schema)
        return [self._whole(one) for one in whole.get("anyOf") or whole.get("oneOf") or [whole]]

    def _kinds(self, schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """The components that may stand at a place, by name."""
        found = {}
        for one in self._branches(schema):
            const = one.get("properties", {}).get("type", {}).get("const")
            if const is not None:
                found[const] = one
        return found

    def _object(self, schema: dict[str, Any]) -> dict[str, Any]:
        return next((one for one in self._branches(schema) if "properties" in one), self._whole(schema))

    def _items(self, schema: dict[str, Any]) -> dict[str, Any]:
        return next((one["items"] for one in self._branches(schema) if isinstance(one.get("items"), dict)), {})

    def _further(self, schema: dict[str, Any]) -> dict[str, Any]:
        for one in self._branches(schema):
            if isinstance(one.get("additionalProperties"), dict):
                return one["additionalProperties"]
        return {}


def _dicts(value: dict[str, Any]) -> bool:
    return all(isinstance(one, dict) for one in value.values())


def changed(values: dict[str, Any], draft: dict[Path, Any]) -> dict[str, Any]:
    """The values with those of a draft put in, shorter paths first."""
    made = copy.deepcopy(values)
    for path, value in sorted(draft.items(), key=lambda one: len(one[0])):
        at: Any = made
        try:
            for step in path[:-1]:
                at = at[step]
            at[path[-1]] = value
        except (KeyError, IndexError, TypeError):
            continue
    return made


def complete(values: dict[str, Any]) -> dict[str, Any]:
    """A configuration with what has come to be settable since it was written, at its default."""
    from pydantic import TypeAdapter, ValidationError

    from genre.config import Config

    adapter = TypeAdapter(Config)
    try:
        return adapter.dump_python(adapter.validate_python(values), mode="json")
    except ValidationError:
        return values


def override(path: Path, value: Any) -> str:
    """A change as the command line takes it: ``pipeline.sources[1].reg=500``."""
    at = ""
    for step in path:
        at += f"[{step}]" if isinstance(step, int) else f".{step}" if at else step
    written = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"{at}={written}"


def problems(values: dict[str, Any]) -> list[str]:
    """What is wrong with a configuration, as `genre check` says it."""
    from genre.configfile import config_of
    from genre.errors import ConfigError
    from genre.space import Drawn

    try:
        config_of(Drawn(values, {}, {}))
    except ConfigError as error:
        return [line.removeprefix("trial: ") for line in str(error).splitlines()]
    return []
