"""Processes of this machine."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from genre.component import component
from genre.parallel import Shard, Work


@component
class Local:
    """Workers are processes of this machine; one, the default, is the command itself, with nothing between.

    Several share every batch, so that results are those of one (`genre.parallel`): worth it where a worker has an
    accelerator of its own, or cores that one process leaves idle. For several machines take `ray`.
    """

    workers: PositiveInt = 1
    """Processes that work together; more are faster while each has cores or an accelerator of its own."""
    gpus_per_worker: Annotated[int, Field(ge=0, le=1)] = 0
    """Accelerators a worker, 0 or 1: the language model then computes there, all else on the processor."""
    shard: Shard = "none"
    """``full``: each worker keeps a part of every weight of the language model and of the optimizer's memory of it, for
    models that do not fit one device; dearer, as weights are sent for every layer. Needs ``model.adapter: full``."""
    retries: NonNegativeInt = 2
    """Times that lost workers are started again, from the last checkpoint; larger bears more, and gives up later."""
    patience: PositiveFloat = 1800.0
    """Seconds that a worker waits for the others before it gives up; larger than any work that one does alone."""

    @property
    def here(self) -> bool:
        return self.workers == 1 and not self.gpus_per_worker

    def run(self, work: Work, *given: Any) -> None:
        from genre.workers import Crew

        if self.here:
            work(*given)
        else:
            Crew(self.workers, self.gpus_per_worker, self.shard, self.patience).run(self.retries, work, given)
