"""What can be set in a component or a section, in words: the source of `genre list` and of the reference pages."""

from __future__ import annotations

import inspect
import types
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml

from genre.component import Slot, describe

BOUNDS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
WORDS = {bool: "true or false", int: "whole number", float: "number", str: "text", Path: "path"}


@dataclass(frozen=True)
class Setting:
    """One field."""

    name: str
    type: str
    default: str
    """As it would stand in the file; ``required`` where there is none."""
    doc: str
    section: type[Any] | None
    """The section that the field holds, if it holds one."""


def settings(cls: type[Any]) -> list[Setting]:
    """The fields of a component or section, in order."""
    hints = get_type_hints(cls, include_extras=True)
    documented = cls.__pydantic_fields__
    return [
        Setting(
            name=field.name,
            type=type_words(hints[field.name]),
            default=_default(documented[field.name]),
            doc=" ".join((documented[field.name].description or "").split()),
            section=hints[field.name] if is_dataclass(hints[field.name]) else None,  # type: ignore[arg-type]
        )
        for field in fields(cls)
    ]


def doc(thing: Any) -> str:
    """The docstring of a class or module, without indentation."""
    return inspect.getdoc(thing) or ""


def summary(thing: Any) -> str:
    """The first sentence of a docstring."""
    first = " ".join(doc(thing).split("\n\n")[0].split())
    return first.split(". ")[0].rstrip(".") + "."


def type_words(hint: Any) -> str:
    """A type as a reader of the file thinks of it: ``whole number > 0``, ``list of path``, ``one of heads``."""
    if hint in WORDS:
        return WORDS[hint]
    origin, inside = get_origin(hint), get_args(hint)
    if origin is Annotated:
        kind = next((one.kind for one in inside[1:] if isinstance(one, Slot)), None)
        bounds = " and ".join(_bounds(inside[1:]))
        return f"one of {kind}" if kind else f"{type_words(inside[0])} {bounds}".rstrip()
    if origin is Literal:
        return " | ".join(str(one) for one in inside)
    if origin in (Union, types.UnionType):
        return " or ".join("nothing" if one is type(None) else type_words(one) for one in inside)
    if origin in (list, tuple, dict):
        word = type_words(inside[1] if origin is dict else inside[0]).removeprefix("one of ")
        return f"{word}, by name" if origin is dict else f"list of {word}"
    return "section" if is_dataclass(hint) else hint.__name__


def _bounds(metadata: tuple[Any, ...]) -> list[str]:
    """``> 0``, ``<= 1``, from what pydantic keeps beside a type; an open `Field` holds its bounds in ``metadata``."""
    found: list[str] = []
    for one in metadata:
        for rule in [one, *getattr(one, "metadata", [])]:
            found += [f"{sign} {getattr(rule, name)}" for name, sign in BOUNDS.items() if hasattr(rule, name)]
    return found


def _default(field: Any) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    return "" if is_dataclass(value) and not _is_component(value) else written(value)


def written(value: Any) -> str:
    """A value as one would write it in the file, on one line."""
    if value is None:
        return "nothing"
    if isinstance(value, float):
        return f"{value:g}"
    text = yaml.safe_dump(plain(value), default_flow_style=True, sort_keys=False, width=10_000)
    return text.removesuffix("\n").removesuffix("\n...")


def plain(value: Any) -> Any:
    """A default as YAML would hold it: a component by its name, a section as empty, since its own defaults fill it."""
    if is_dataclass(value):
        return describe(value)["type"] if _is_component(value) else {}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    return str(value) if isinstance(value, Path) else value


def _is_component(value: Any) -> bool:
    return getattr(type(value), "__component__", False)
