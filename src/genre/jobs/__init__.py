"""Jobs: what a worker does beside the service. Each kind is a module with ``do(work)`` and ``SETTINGS``, its payload.

A job may be stopped at any moment by a kill, and begun again by another worker: what it does twice it must have done
once. So each writes its result in one move, or goes on from what it finds.
"""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from genre.component import suggest
from genre.errors import GenreError
from genre.store import Store

FOLDER = Path(__file__).parent
Tell = Callable[[dict[str, Any]], None]
NAME = re.compile(r"(?!\.{1,2}$)[^/\\\x00]{1,128}")
"""Of a run or an action; never a path."""
LARGEST = 1_000_000


@dataclass(frozen=True)
class Setting:
    """An entry of a payload."""

    kind: Literal["switch", "count", "number", "name", "names", "path"]
    what: str
    """What it is, for those who are to fill it in."""
    default: str = ""
    """What holds without it, in words or as it would be written."""
    needed: bool = False

    def problem(self, value: Any) -> str | None:
        """What would be right, where the value is not."""
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        fits = {
            "switch": isinstance(value, bool),
            "count": number and isinstance(value, int) and 1 <= value <= LARGEST,
            "number": number and 0 < value <= LARGEST,
            "name": isinstance(value, str) and NAME.fullmatch(value) is not None,
            "names": isinstance(value, list) and all(isinstance(one, str) and NAME.fullmatch(one) for one in value),
            "path": isinstance(value, str) and bool(value) and "\0" not in value,
        }
        return None if fits[self.kind] else f"is {str(value)[:80]!r}, no {SHAPES[self.kind]}"


SHAPES = {
    "switch": "true or false",
    "count": "whole number above 0",
    "number": "number above 0",
    "name": "name (and never a path)",
    "names": "list of names",
    "path": "path",
}
RUN = Setting("name", "The run it is about, beside the worker's.", "that of the worker")


@dataclass(frozen=True)
class Work:
    """One job as the code that does it sees it."""

    folder: Path
    """The run that the worker was started with; it may be a link, which another job moves."""
    store: Store
    payload: dict[str, Any]
    tell: Tell
    """Says how far the work is."""
    server: str | None = None
    """The service that a published model is handed to."""

    def of(self, name: str, default: Any) -> Any:
        """An entry of the payload, which was checked before."""
        value = self.payload.get(name)
        return default if value is None else value

    def run(self) -> Path:
        """The run that the job is about: ``run`` of the payload by its name, beside the worker's, or the worker's."""
        name = self.of("run", None)
        here = self.folder.resolve()
        if name is None:
            return here
        found = here.parent / name
        if Path(name).name != name or not (found / "manifest.json").exists():
            raise Unfit(f"payload: there is no run '{name}' beside {here}")
        return found


class Unfit(GenreError):
    """A job that cannot be done however often it is tried."""


@functools.cache
def kinds() -> list[str]:
    """The kinds of jobs there are."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")


def settings_of(kind: str) -> Mapping[str, Setting]:
    """What the payload of a kind may hold. Raises `Unfit` for a kind that there is not."""
    if kind not in kinds():
        raise Unfit(f"no job is called '{kind}'; there are {', '.join(kinds())}")
    return importlib.import_module(f"genre.jobs.{kind}").SETTINGS


@dataclass(frozen=True)
class Wrong:
    """An entry of a payload that cannot be used."""

    name: str
    mend: str
    code: str
    """``unknown``, ``needed``, or the kind of setting that it is not."""
    values: Mapping[str, Any]


def mistakes(kind: str, payload: Mapping[str, Any]) -> list[Wrong]:
    """Each entry of a payload that is unknown, unfit or missing, with what would be right. Raises `Unfit`."""
    known, found = settings_of(kind), list[Wrong]()
    for name, value in payload.items():
        if name not in known:
            mend = f"is no setting of '{kind}'; {suggest(name[:80], list(known))}"
            found.append(Wrong(name[:80], mend, "unknown", {"kind": kind, "names": ", ".join(known)}))
        elif value is not None and (problem := known[name].problem(value)) is not None:
            found.append(Wrong(name, problem, known[name].kind, {"value": str(value)[:80]}))
    missing = [name for name, one in known.items() if one.needed and payload.get(name) is None]
    return found + [Wrong(name, f"is needed: {known[name].what}", "needed", {}) for name in missing]


def do(kind: str, work: Work) -> dict[str, Any]:
    """Do a job and return its result. Raises `Unfit` for an unknown kind, and for a payload that does not fit it."""
    for one in mistakes(kind, work.payload):
        raise Unfit(f"payload: {one.name} {one.mend}")
    return importlib.import_module(f"genre.jobs.{kind}").do(work)
