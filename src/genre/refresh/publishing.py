"""Letting a run take over: the link that names the model of a family, and the service that answers by it."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from genre.client import Attempt, Client
from genre.errors import GenreError
from genre.files import sync
from genre.pipeline import Pipeline
from genre.refresh.cycle import family, result_of
from genre.run import Run

LIVE = "live"
"""Folder beside the runs with a link for each family, to the run that is published."""
SECONDS = 600.0
"""Time for a service to load a model and warm it up."""


def publish(run: Run, server: str | None = None, force: bool = False) -> Path:
    """Point the link of the run's family to it, once it is whole, the gate lets it pass, and the service has taken it.

    Done again it changes nothing. Raises `GenreError` where it is refused; then what was published stays.
    """
    if run.config.refresh.start is not None:
        gate = result_of(run)["gate"]
        if not gate["open"] and not force:
            raise GenreError(f"{run.folder}: not published. {gate['sentence']}")
    # Reads all that answers are made from, and checks every hash.
    Pipeline.load(run.folder)
    if server is not None:
        activate(server, run.folder.resolve().name, force)
    link = link_of(run)
    _point(link, run.folder.resolve())
    return link


def link_of(run: Run) -> Path:
    """The link of the run's family."""
    return run.folder.resolve().parent / LIVE / family(run)


def activate(server: str, name: str, force: bool = False, anew: bool = False) -> None:
    """Let a service load a model and change over to it; ``anew`` also if that is the one that answers.

    Raises `GenreError` with what the service says where it does not.
    """
    with Client(server, os.environ.get("GENRE_KEY") or None, timeout=SECONDS) as client:
        try:
            if client.ask(Attempt("GET", f"/v1/models/{name}"))["state"] == "active" and not anew:
                return
            client.ask(Attempt("POST", f"/v1/models/{name}/load"))
            client.ask(Attempt("POST", f"/v1/models/{name}/activate", {"even_if_worse": force}))
        except GenreError as error:
            raise GenreError(f"{server}: {error}; nothing was published") from error


def _point(link: Path, target: Path) -> None:
    """Let a link name another folder, in one move: it is never missing, and never half."""
    link.parent.mkdir(exist_ok=True)
    if link.exists() and not link.is_symlink():
        raise GenreError(f"{link}: is there and no link; move it away")
    aside = link.with_name(f".{link.name}.{uuid.uuid4().hex[:8]}.tmp")
    aside.symlink_to(os.path.relpath(target, link.parent), target_is_directory=True)
    try:
        aside.replace(link)
    finally:
        aside.unlink(missing_ok=True)
    sync(link.parent)
