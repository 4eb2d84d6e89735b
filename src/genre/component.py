"""Components: typed dataclasses found by scanning the kind folders.

A *kind* is a folder of this package (``sources``, ``heads``, ...). Its ``__init__.py`` is the contract, every other
file is one component, and the file's name is the component's name. Nothing is registered anywhere: a new file is
known to the configuration, the command line, the docs and the contract tests at once.
"""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar, dataclass_transform

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError, core_schema

T = TypeVar("T")
PACKAGE = Path(__file__).parent
PARTS = frozenset({"commands", "compression", "console", "jobs", "learn", "refresh", "search", "serve", "store"})
"""Folders of modules that are no kind of component."""
CONFIG = ConfigDict(extra="forbid", use_attribute_docstrings=True, validate_default=True)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(Field,))
def component(cls: type[T]) -> type[T]:
    """Make ``cls`` a component: an immutable, keyword-only dataclass whose fields are checked and documented.

    The fields are the hyper-parameters, each with a default and a docstring. What is learned is never a field.
    """
    made = dataclass(cls, config=CONFIG, kw_only=True, frozen=True)
    made.__component__ = True  # type: ignore[attr-defined]
    return made  # type: ignore[return-value]


def kinds() -> list[str]:
    """Names of all kinds, sorted."""
    return sorted({p.parent.name for p in PACKAGE.glob("*/__init__.py")} - PARTS)


def names(kind: str) -> list[str]:
    """Names of the components of ``kind``, sorted; reads the folder only, imports nothing."""
    return sorted(p.stem for p in (PACKAGE / kind).glob("*.py") if p.stem != "__init__")


def find(kind: str, name: str) -> type[Any]:
    """The component class called ``name``, or the class that ``package.module:Class`` points to.

    Raises `LookupError` with a suggestion when there is none.
    """
    if ":" in name:
        return _outside(kind, name)
    if name not in names(kind):
        raise LookupError(f"no {kind} named '{name}'; {suggest(name, names(kind))}")
    return _component_in(importlib.import_module(f"genre.{kind}.{name}"))


def _outside(kind: str, name: str) -> type[Any]:
    module_name, _, class_name = name.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        cls = getattr(importlib.import_module(module_name), class_name)
    except ImportError as error:
        raise LookupError(f"'{name}': cannot import {module_name} ({error})") from error
    except AttributeError as error:
        raise LookupError(f"'{name}': {module_name} has no {class_name}") from error
    if not getattr(cls, "__component__", False):
        raise LookupError(f"'{name}' is not a component; decorate the class with @genre.component to use it in {kind}")
    return cls


def _component_in(module: ModuleType) -> type[Any]:
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and value.__module__ == module.__name__ and "__component__" in vars(value)
    ]
    if len(found) != 1:
        raise LookupError(f"{module.__name__} must define one @component class, it has {len(found)}")
    return found[0]


def suggest(word: str, known: list[str]) -> str:
    """``did you mean 'x'?`` when a known word is near, else the list of what is known."""
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known)}"


def name_of(value: object) -> str:
    """The name by which a configuration calls the component ``value``."""
    cls = type(value)
    package, _, module = cls.__module__.rpartition(".")
    return module if package.startswith("genre.") else f"{cls.__module__}:{cls.__qualname__}"


def describe(value: Any) -> dict[str, Any]:
    """A component as plain data: ``type`` and every field, so that `Slot.build` gives an equal one back."""
    plain = TypeAdapter(type(value)).dump_python(value, mode="json")
    return {"type": name_of(value), **plain}


def expand(text: str) -> dict[str, Any]:
    """The mapping that a component's bare name is short for: ``ndcg@10`` is ``{type: ndcg, k: [10]}``."""
    name, at, k = text.partition("@")
    return {"type": name, "k": [k]} if at and ":" not in text else {"type": text}


class Slot:
    """Annotation that marks a field as holding a component: ``Annotated[Source, Slot("sources")]``.

    Accepts a name, ``name@k`` where the component has a field ``k``, a mapping with ``type``, or a component.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def build(self, value: Any) -> Any:
        """The component that ``value`` names. Raises `PydanticCustomError` with all mistakes found."""
        if getattr(type(value), "__component__", False):
            return value
        if isinstance(value, str):
            value = expand(value)
        if not isinstance(value, Mapping):
            expected = "expected a name or a mapping with 'type', got {got}"
            raise PydanticCustomError("component", expected, {"got": repr(value)})
        settings = dict(value)
        name = settings.pop("type", None)
        if not isinstance(name, str):
            known = ", ".join(names(self.kind))
            raise PydanticCustomError("component", "needs 'type', one of: {known}", {"known": known})
        try:
            cls = find(self.kind, name)
        except LookupError as error:
            raise PydanticCustomError("component_name", "{why}", {"why": str(error)}) from error
        try:
            return TypeAdapter(cls).validate_python(settings)
        except ValidationError as error:
            found = {"name": name, "errors": error.errors(), "known": [f.name for f in fields(cls)]}
            raise PydanticCustomError("component_fields", "{name}", found) from error

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        serializer = core_schema.plain_serializer_function_ser_schema(describe)
        return core_schema.no_info_plain_validator_function(self.build, serialization=serializer)

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        outside = {"type": {"type": "string", "pattern": ":"}}
        options: list[dict[str, Any]] = [
            {"enum": names(self.kind)},
            {"type": "string", "pattern": "[:@]"},
            {"title": "package.module:Class", "type": "object", "properties": outside, "required": ["type"]},
        ]
        for name in names(self.kind):
            one = TypeAdapter(find(self.kind, name)).json_schema()
            one["title"] = name
            one["properties"] = {"type": {"const": name}, **one.get("properties", {})}
            one["required"] = ["type"]
            options.append(one)
        return {"anyOf": options}
