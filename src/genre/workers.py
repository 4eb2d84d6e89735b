"""Processes that are a team: how they start, find each other, and end."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from genre.errors import GenreError
from genre.parallel import Shard, Team, Work, joining

HERE = "127.0.0.1"
GRACE = 10.0
"""Seconds in which the others may say why they failed, once one has."""
BROKEN = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "Timed out", "gloo/transport")
"""What gloo says when it no longer hears of another."""


class LostWorkerError(Exception):
    """A worker is gone without a mistake of its own."""


@dataclass(frozen=True)
class Place:
    """Where one worker stands."""

    rank: int
    size: int
    gpus: int
    shard: Shard
    patience: float
    port: int
    """Of this machine, where they meet."""

    @property
    def threads(self) -> int:
        """Its share of this machine's cores."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return max(1, cores // self.size)


@dataclass
class Crew:
    """Workers of this machine, started anew when one is lost."""

    size: int
    gpus: int
    shard: Shard
    patience: float
    processes: list[Any] = field(default_factory=list)
    pipes: list[Connection] = field(default_factory=list)

    def run(self, retries: int, work: Work, given: tuple[Any, ...]) -> None:
        """Call ``work(*given)`` in every worker. Raises `GenreError` of the work, or when workers keep being lost."""
        self._check_gpus()
        for attempt in range(retries + 1):
            try:
                self._once(work, given)
                return
            except LostWorkerError as lost:
                if attempt == retries:
                    why = f"executor: {lost}; given up after {retries} new starts (executor.retries)"
                    raise GenreError(why) from None
                again = f"starting anew from the last checkpoint ({attempt + 1} of {retries})"
                print(f"executor: {lost}; {again}", flush=True)

    def _check_gpus(self) -> None:
        if not self.gpus:
            return
        import torch

        if (found := torch.cuda.device_count()) < self.size:
            raise GenreError(
                f"executor: {self.size} workers want an accelerator each, and this machine has {found}; set "
                "executor.gpus_per_worker: 0, or fewer workers"
            )

    def _once(self, work: Work, given: tuple[Any, ...]) -> None:
        from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]

        context = multiprocessing.get_context("spawn")
        self.processes, self.pipes = [], []
        # Kept here, so that no file and no worker has to outlive the others.
        meeting = TCPStore(HERE, 0, is_master=True, wait_for_workers=False)
        try:
            for rank in range(self.size):
                place = Place(rank, self.size, self.gpus, self.shard, self.patience, meeting.port)
                mine, theirs = context.Pipe(duplex=False)
                process = context.Process(target=_begin, args=(place, theirs, work, given), name=f"genre-{rank}")
                with _environment(place):
                    process.start()
                theirs.close()
                self.processes.append(process)
                self.pipes.append(mine)
            self._wait()
        finally:
            self._end()

    def _wait(self) -> None:
        """Until all are done; raises what went wrong when one was not."""
        running = {process.sentinel for process in self.processes}
        while running:
            running -= set(wait(list(running)))
            if any(process.exitcode for process in self.processes):
                break
        if not any(process.exitcode for process in self.processes):
            return
        until = time.monotonic() + GRACE
        while running and time.monotonic() < until:
            running -= set(wait(list(running), timeout=0.2))
        self._raise()

    def _raise(self) -> None:
        said = {rank: heard for rank, pipe in enumerate(self.pipes) if (heard := _heard(pipe))}
        for kind, text in said.values():
            if kind == "mistake":
                raise GenreError(text)
        killed = {r: -p.exitcode for r, p in enumerate(self.processes) if (p.exitcode or 0) < 0}
        for rank, number in killed.items():
            raise LostWorkerError(f"worker {rank} was ended by {signal.Signals(number).name}")
        # Whoever hears no more of another is not the first that failed.
        for rank, (kind, text) in said.items():
            if kind == "error":
                raise RuntimeError(f"worker {rank} failed:\n{text}")
        for rank, (_, text) in said.items():
            raise LostWorkerError(f"worker {rank} heard no more of the others ({text})")
        codes = {rank: process.exitcode for rank, process in enumerate(self.processes)}
        raise LostWorkerError(f"workers ended without a word, exit codes {codes}")

    def _end(self) -> None:
        for process in self.processes:
            if process.is_alive():
                process.kill()
            process.join()
        for pipe in self.pipes:
            pipe.close()


@contextmanager
def _environment(place: Place) -> Iterator[None]:
    """Inside, processes are born with a worker's share of the cores, which libraries read when they are loaded."""
    wanted = {name: str(place.threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    wanted |= {"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {}
    new = {name: value for name, value in wanted.items() if name not in os.environ}
    os.environ.update(new)
    try:
        yield
    finally:
        for name in new:
            del os.environ[name]


def _heard(pipe: Connection) -> tuple[str, str] | None:
    """What a worker said last; nothing where it was killed."""
    try:
        return pipe.recv() if pipe.poll() else None
    except (EOFError, OSError):
        return None


def _begin(place: Place, pipe: Connection, work: Work, given: tuple[Any, ...]) -> None:
    """A worker's life."""
    _end_with_parent()
    try:
        device = f"cuda:{place.rank}" if place.gpus else "cpu"
        with _meeting(place, device), working(Team(place.rank, place.size, place.size, device, place.shard)):
            work(*given)
    except GenreError as error:
        _say(pipe, "mistake", str(error))
        sys.exit(1)
    except BaseException as error:
        kind, text = ("error", traceback.format_exc())
        if is_broken(error):
            kind, text = "broken", str(error).partition(". This is")[0]
        _say(pipe, kind, text)
        sys.exit(1)


def _say(pipe: Connection, kind: str, text: str) -> None:
    try:
        pipe.send((kind, text))
        pipe.close()
    except OSError:
        pass  # Nobody listens any more.


def is_broken(error: BaseException) -> bool:
    """Whether workers could not reach each other, as when one is gone."""
    import torch.distributed as dist

    return isinstance(error, dist.DistError) or any(word in str(error) for word in BROKEN)


@contextmanager
def _meeting(place: Place, device: str) -> Iterator[None]:
    """Inside, the workers know each other."""
    import torch
    import torch.distributed as dist

    if place.gpus:
        torch.cuda.set_device(device)
    dist.init_process_group(
        backend_for(place.gpus),
        store=dist.TCPStore(HERE, place.port, is_master=False),  # pyright: ignore[reportPrivateImportUsage]
        rank=place.rank,
        world_size=place.size,
        timeout=timedelta(seconds=place.patience),
    )
    try:
        yield
    finally:
        dist.destroy_process_group()


def backend_for(gpus: int) -> str:
    """How tensors are sent: those on accelerators in their own way."""
    return "cpu:gloo,cuda:nccl" if gpus else "gloo"


@contextmanager
def working(team: Team) -> Iterator[None]:
    """Inside, this process is a worker: silent unless it leads."""
    import torch

    threads = os.environ.get("OMP_NUM_THREADS")
    if threads and threads.isdecimal():
        torch.set_num_threads(int(threads))
    nothing = nullcontext() if team.leads else _silent()
    with nothing, joining(team):
        yield


@contextmanager
def _silent() -> Iterator[None]:
    before = sys.stdout, sys.stderr
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        sys.stdout = sys.stderr = nowhere
        try:
            yield
        finally:
            sys.stdout, sys.stderr = before


def _end_with_parent() -> None:
    """A worker whose command was killed must not go on writing into the run."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
