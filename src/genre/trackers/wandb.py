"""Weights & Biases."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Any, Literal

from genre.component import component
from genre.errors import GenreError
from genre.files import digest
from genre.trackers import Result, Session, Tracked

if TYPE_CHECKING:
    from pathlib import Path


@component
class WeightsAndBiases:
    """Runs in a project of Weights & Biases, or offline in ``track/`` of the run, for ``wandb sync`` to send later.

    Needs the extra `track`. A run that is stopped and goes on stays one run there. https://docs.wandb.ai.
    """

    project: str = "genre"
    """The project that the runs appear in."""
    entity: str | None = None
    """The account or team; none is the one that is logged in."""
    mode: Literal["online", "offline"] = "offline"
    """Offline writes files alone; online sends as well. WANDB_MODE in the environment counts for more."""

    def start(self, run: Tracked) -> Session:
        try:
            import wandb
        except ImportError as error:
            raise GenreError("track: wandb is not installed; pip install 'genre-recommender[track]'") from error
        place = run.folder / "track"
        place.mkdir(parents=True, exist_ok=True)
        made = wandb.init(
            project=self.project,
            entity=self.entity,
            name=run.name,
            id=digest(str(run.folder.resolve()))[:16],
            resume="allow",
            dir=str(place),
            config=run.config,
            mode=os.environ.get("WANDB_MODE") or self.mode,  # pyright: ignore[reportArgumentType]
            settings=wandb.Settings(silent=True, console="off", x_disable_stats=True, disable_git=True),
        )
        return Online(made, run.done)


class Online:
    """The run as W&B has it."""

    def __init__(self, run: Any, done: int) -> None:
        self.run, self.done = run, done

    def log(self, step: int, values: dict[str, float]) -> None:
        """See `Session.log`."""
        self.run.log(values, step=step)

    def finish(self, result: Result | None) -> None:
        """See `Session.finish`."""
        if result is not None:
            self.run.summary.update(result.values)
            if result.pictures:
                # A step that was sent before would be refused.
                self.run.log({n: _image(picture) for n, picture in result.pictures.items()}, step=self.done + 1)
            self.run.summary.update({"files": _words(result.files), "examples": result.examples})
        self.run.finish()


def _words(files: dict[str, Path]) -> dict[str, str]:
    return {name: str(path) for name, path in files.items()}


def _image(picture: bytes) -> Any:
    import wandb
    from PIL import Image

    return wandb.Image(Image.open(io.BytesIO(picture)))
