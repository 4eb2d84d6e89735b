"""Jobs: what a worker does beside the service. Each kind is a module with a function ``do(work)``.

A job may be stopped at any moment by a kill, and begun again by another worker: what it does twice it must have done
once. So each writes its result in one move, or goes on from what it finds.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genre.errors import GenreError
from genre.store import Store

FOLDER = Path(__file__).parent
Tell = Callable[[dict[str, Any]], None]


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

    def of(self, name: str, default: Any, kind: type) -> Any:
        """An entry of the payload. Raises `GenreError` for one of another type."""
        value = self.payload.get(name, default)
        if value is not None and (not isinstance(value, kind) or isinstance(value, bool) != (kind is bool)):
            raise Unfit(f"payload: {name} is {value!r}, no {kind.__name__}")
        return value

    def run(self) -> Path:
        """The run that the job is about: ``run`` of the payload by its name, beside the worker's, or the worker's."""
        name = self.of("run", None, str)
        here = self.folder.resolve()
        if name is None:
            return here
        found = here.parent / name
        if Path(name).name != name or not (found / "manifest.json").exists():
            raise Unfit(f"payload: there is no run '{name}' beside {here}")
        return found


class Unfit(GenreError):
    """A job that cannot be done however often it is tried."""


def kinds() -> list[str]:
    """The kinds of jobs there are."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")


def do(kind: str, work: Work) -> dict[str, Any]:
    """Do a job and return its result. Raises `Unfit` for a kind that there is not."""
    if kind not in kinds():
        raise Unfit(f"no job is called '{kind}'; there are {', '.join(kinds())}")
    return importlib.import_module(f"genre.jobs.{kind}").do(work)
