"""Workers on the machines of a Ray cluster, through Ray Train."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genre.errors import GenreError
from genre.parallel import Shard, Team, Work
from genre.workers import backend_for, working


@dataclass(frozen=True)
class Cluster:
    """Where workers are placed, and what each is given."""

    address: str | None
    workers: int
    gpus: int
    cpus: int

    def run(self, shard: Shard, patience: float, retries: int, work: Work, given: tuple[Any, ...]) -> None:
        """Call ``work(*given)`` in every worker. Raises `GenreError` of the work, or when workers keep being lost."""
        # Nothing is told to anybody outside.
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        # Or Ray Train writes every printed line a second time.
        os.environ.setdefault("RAY_TRAIN_ENABLE_PRINT_PATCH", "0")
        try:
            import ray  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise GenreError(
                "executor: ray is not installed; pip install 'genre-recommender[ray]', or take executor: local"
            ) from error
        ours = not ray.is_initialized()
        if ours:
            hook = {"worker_process_setup_hook": "genre.raycluster.quiet"}
            ray.init(address=self.address, num_cpus=self._cores(), runtime_env=hook)
        try:
            self._enough(ray.cluster_resources())
            self._fit(shard, patience, retries, work, given)
        finally:
            if ours:
                ray.shutdown()

    def _cores(self) -> int | None:
        """Cores of a cluster that is started here: as many as are asked for, as workers may well share them."""
        return None if self.address else max(self.workers * self.cpus, os.cpu_count() or 1)

    def _enough(self, has: Mapping[str, float]) -> None:
        """Raise `GenreError` where workers would wait for room for ever."""
        for name, each in (("CPU", self.cpus), ("GPU", self.gpus)):
            if self.workers * each > has.get(name, 0):
                raise GenreError(
                    f"executor: {self.workers} workers want {self.workers * each} {name}, and the Ray cluster has "
                    f"{has.get(name, 0):g}; add machines, or set fewer workers"
                )

    def _fit(self, shard: Shard, patience: float, retries: int, work: Work, given: tuple[Any, ...]) -> None:
        from ray.train import (  # pyright: ignore[reportMissingImports]
            FailureConfig,
            RunConfig,
            ScalingConfig,
            TrainingFailedError,
        )
        from ray.train.torch import TorchConfig, TorchTrainer  # pyright: ignore[reportMissingImports]

        resources = {"CPU": float(self.cpus)} | ({"GPU": float(self.gpus)} if self.gpus else {})
        with tempfile.TemporaryDirectory(prefix="genre-ray-", dir=_shared(given)) as storage:
            trainer = TorchTrainer(
                _begin,
                train_loop_config={"work": work, "given": given, "shard": shard, "gpus": self.gpus, "cpus": self.cpus},
                scaling_config=ScalingConfig(
                    num_workers=self.workers, use_gpu=bool(self.gpus), resources_per_worker=resources
                ),
                torch_config=TorchConfig(backend=backend_for(self.gpus), timeout_s=int(patience)),
                run_config=RunConfig(
                    name="genre", storage_path=storage, failure_config=FailureConfig(max_failures=retries)
                ),
            )
            try:
                trainer.fit()
            except TrainingFailedError as error:
                raise _told(error, retries) from error


def _shared(given: tuple[Any, ...]) -> Path | None:
    """A folder that all machines see: that of the run, where the work is given one."""
    paths = [one for one in given if isinstance(one, Path)]
    return paths[0].parent.absolute() if paths else None


def _told(error: Any, retries: int) -> GenreError:
    """The mistake that a worker made, or that they are gone."""
    failures: dict[int, BaseException] = getattr(error, "worker_failures", {})
    for failure in failures.values():
        cause = getattr(failure, "cause", failure)
        if isinstance(cause, GenreError):
            return cause
    first = next(iter(failures.values()), error)
    why = f"given up after {retries} new starts (executor.retries): {first}"
    return GenreError(f"executor: Ray's workers failed, {why}")


def quiet() -> None:
    """Run first in every process of a cluster: what asks a dashboard that need not be there says so once a second."""
    cleaner = "ray.train.v2._internal.execution.controller.placement_group_cleaner"
    logging.getLogger(cleaner).setLevel(logging.ERROR)


def _begin(config: dict[str, Any]) -> None:
    """A worker's life, within the process group that Ray Train has made."""
    from ray.train import get_context  # pyright: ignore[reportMissingImports]
    from ray.train.torch import get_device  # pyright: ignore[reportMissingImports]

    context = get_context()
    os.environ["OMP_NUM_THREADS"] = str(config["cpus"])
    device = str(get_device()) if config["gpus"] else "cpu"
    team = Team(
        context.get_world_rank(), context.get_world_size(), context.get_local_world_size(), device, config["shard"]
    )
    with working(team):
        print(f"executor: {team.size} Ray workers, {team.local_size} on this machine", flush=True)
        config["work"](*config["given"])
