"""TensorBoard event files."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from genre.component import component
from genre.trackers import Result, Session, Tracked

if TYPE_CHECKING:
    from tensorboardX import SummaryWriter


@component
class TensorBoard:
    """Events in ``model/tensorboard`` of the run, for ``tensorboard --logdir runs``; needs no service."""

    def start(self, run: Tracked) -> Session:
        from tensorboardX import SummaryWriter

        folder = str(run.folder / "model" / "tensorboard")
        # Events of epochs that are trained again after a kill are purged by their step. A file is named by the second;
        # the suffix keeps two that begin in the same one apart.
        return Events(SummaryWriter(folder, purge_step=run.done + 1, filename_suffix=f".{run.done}"), run)


class Events:
    """The event file of one run."""

    def __init__(self, writer: SummaryWriter, run: Tracked) -> None:
        self.writer, self.run = writer, run

    def log(self, step: int, values: dict[str, float]) -> None:
        """See `Session.log`."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def finish(self, result: Result | None) -> None:
        """See `Session.finish`."""
        if result is not None:
            for name, value in result.values.items():
                self.writer.add_scalar(f"result/{name}", value, self.run.done)
            for i, example in enumerate(result.examples):
                text = "\n\n".join(f"**{name}**: {words}" for name, words in example.items())
                self.writer.add_text("examples", text, i)
            for name, picture in result.pictures.items():
                self.writer.add_image(name, _pixels(picture), self.run.done, dataformats="HWC")
            links = "\n\n".join(f"**{name}**: `{path}`" for name, path in result.files.items())
            self.writer.add_text("files", links, self.run.done)
        self.writer.close()


def _pixels(picture: bytes) -> NDArray[np.uint8]:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"))
