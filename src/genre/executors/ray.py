"""A Ray cluster."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from genre.component import component
from genre.parallel import Shard, Work


@component
class Ray:
    """Workers are placed on the machines of a Ray cluster (Ray Train), or on this one where no address is given.

    The same work as with `local`, which starts faster and needs nothing installed. All machines must see the run folder
    under the same path, as on shared storage. Needs the extra ``ray``. Moritz et al. (2018),
    https://arxiv.org/abs/1712.05889; https://docs.ray.io/en/latest/train/train.html.
    """

    workers: PositiveInt = 1
    """Processes that work together, wherever the cluster has room; more are faster while the network keeps up."""
    gpus_per_worker: Annotated[int, Field(ge=0, le=1)] = 0
    """Accelerators a worker, 0 or 1: the language model then computes there, all else on the processor."""
    cpus_per_worker: PositiveInt = 1
    """Cores that a worker reserves, and threads that it computes with; larger is faster while some are idle."""
    shard: Shard = "none"
    """``full``: each worker keeps a part of every weight of the language model and of the optimizer's memory of it, for
    models that do not fit one device; dearer, as weights are sent for every layer. Needs ``model.adapter: full``."""
    retries: NonNegativeInt = 2
    """Times that lost workers are replaced, from the last checkpoint; larger bears more, and gives up later."""
    patience: PositiveFloat = 1800.0
    """Seconds that a worker waits for the others before it gives up; larger than any work that one does alone."""
    address: str | None = None
    """Of the cluster's head, ``10.0.0.1:6379``, or ``auto`` on one of its machines; none starts one for this run."""

    @property
    def here(self) -> bool:
        return False

    def run(self, work: Work, *given: Any) -> None:
        from genre.raycluster import Cluster

        cluster = Cluster(self.address, self.workers, self.gpus_per_worker, self.cpus_per_worker)
        cluster.run(self.shard, self.patience, self.retries, work, given)
