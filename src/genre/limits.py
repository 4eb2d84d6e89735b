"""What this machine can do at most: products of matrices, bytes moved; and with how many threads it does it best."""

from __future__ import annotations

import functools
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch.utils import flop_counter
from torch.utils._python_dispatch import TorchDispatchMode

from genre.errors import GenreError
from genre.files import cache_folder, digest, write_json

Shape = tuple[int, int, int]
"""Rows, inner size and columns of a product of two matrices."""
Threads = int | Literal["auto"]

PROBE_SECONDS = 2.0
ROUNDS = 3
"""Times that each number of threads has its turn; the best counts, as others may use the machine too."""
WORTH = 1.05
"""How much faster more threads have to be to be worth having."""
PINNED = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
COPIED = 1 << 26
"""Numbers that are copied to see how fast memory is: a quarter of a gigabyte, more than any cache holds."""


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def step_shapes(hidden: int, dim: int, tokens: int, events: int) -> list[Shape]:
    """Products that make up most of a step: of the language model's layers (``hidden`` 0: none) and of the towers."""
    tokens, events = min(tokens, 4096), max(1, min(events, 4096))
    layers: list[Shape] = [(tokens, hidden, hidden), (tokens, hidden, 4 * hidden), (tokens, 4 * hidden, hidden)]
    return (layers if hidden else []) + [(events, dim, 4 * dim)]


def gemm_speed(
    shapes: Sequence[Shape], seconds: float, dtype: torch.dtype = torch.float32, activated: bool = False
) -> float:
    """Operations a second of products of these shapes, one after another, at their best within ``seconds``.

    If ``activated``, each goes through an activation as in a layer, whose time counts too: it is bound by memory, and
    gains from threads where products do not.
    """
    pairs = [(torch.ones(m, k, dtype=dtype), torch.ones(k, n, dtype=dtype)) for m, k, n in shapes]
    operations = sum(2.0 * m * k * n for m, k, n in shapes)
    best, until = 0.0, time.perf_counter() + seconds
    while True:
        started = time.perf_counter()
        for left, right in pairs:
            made = torch.mm(left, right)
            if activated:
                torch.nn.functional.gelu(made)
        now = time.perf_counter()
        best = max(best, operations / (now - started))
        if now > until:
            return best


def gemm_peak(shapes: Sequence[Shape], seconds: float = 1.0, dtype: torch.dtype = torch.float32) -> float:
    """The fastest that a product of one of these shapes, or of a large square, gets."""
    tried: list[Shape] = [*shapes, (1024, 1024, 1024)]
    return max(gemm_speed([shape], seconds / len(tried), dtype) for shape in tried)


def bandwidth(seconds: float = 0.5) -> float:
    """Bytes read and written a second by a copy too large for the caches."""
    source, target = torch.ones(COPIED), torch.empty(COPIED)
    best, until = 0.0, time.perf_counter() + seconds
    while True:
        started = time.perf_counter()
        target.copy_(source)
        now = time.perf_counter()
        best = max(best, 2 * source.numel() * source.element_size() / (now - started))
        if now > until:
            return best


def thread_speeds(shapes: Sequence[Shape], most: int, seconds: float = PROBE_SECONDS) -> dict[int, float]:
    """Operations a second of products and activations with 1, 2, 4, ... and ``most`` threads, measured in turn."""
    numbers = sorted({1 << i for i in range(most.bit_length()) if 1 << i <= most} | {most})
    before, speeds = torch.get_num_threads(), dict.fromkeys(numbers, 0.0)
    turn = seconds / ROUNDS / len(numbers)
    try:
        for _ in range(ROUNDS):
            for number in numbers:
                torch.set_num_threads(number)
                speeds[number] = max(speeds[number], gemm_speed(shapes, turn, activated=True))
    finally:
        torch.set_num_threads(before)
    return speeds


def best_threads(speeds: dict[int, float]) -> int:
    """The fewest threads that no larger number is clearly faster than."""
    best = min(speeds)
    for number in sorted(speeds):
        if speeds[number] > WORTH * speeds[best]:
            best = number
    return best


def wait_policies(shapes: Sequence[Shape], threads: int, seconds: float = 1.0) -> dict[str, float]:
    """Operations a second by OMP_WAIT_POLICY, in processes of their own, as it is read when torch is loaded."""
    code = "import sys, json, torch; from genre.limits import gemm_speed; torch.set_num_threads(int(sys.argv[1])); "
    code += "print(gemm_speed(json.loads(sys.argv[2]), float(sys.argv[3]), activated=True))"
    command = [sys.executable, "-c", code, str(threads), json.dumps(list(shapes)), str(seconds)]
    found = {}
    for policy in ("passive", "active"):
        done = subprocess.run(
            command, env={**os.environ, "OMP_WAIT_POLICY": policy}, capture_output=True, text=True, check=True
        )
        found[policy] = float(done.stdout)
    return found


class Operations(TorchDispatchMode):
    """Counts the floating-point operations of products, convolutions and attention while it is on."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        count = _counts().get(func._overloadpacket)
        if count is None:
            with self:
                parts = func.decompose(*args, **kwargs)
            return func(*args, **kwargs) if parts is NotImplemented else parts
        made = func(*args, **kwargs)
        self.total += count(*args, **kwargs, out_val=made)
        return made


@functools.cache
def _counts() -> dict[Any, Callable[..., int]]:
    """How operations are counted; torch itself does not say for attention on a processor."""
    aten = torch.ops.aten
    return {
        **flop_counter.flop_registry,
        aten._scaled_dot_product_flash_attention_for_cpu: lambda q, k, v, *rest, **further: (
            flop_counter.sdpa_flop_count(q.shape, k.shape, v.shape)
        ),
        aten._scaled_dot_product_flash_attention_for_cpu_backward: lambda g, q, k, v, *rest, **further: (
            flop_counter.sdpa_backward_flop_count(g.shape, q.shape, k.shape, v.shape)
        ),
    }


def use_threads(asked: Threads, shapes: Sequence[Shape], say: Callable[[str], None]) -> None:
    """Compute with as many threads as are ``asked`` for, and ``say`` so.

    ``auto`` leaves alone what the environment says, and else takes the number that does products of these shapes
    fastest. What was found is kept, so that the same machine always takes the same number, and so gives equal results.
    While other work keeps the cores busy nothing is tried, as what was found would be true of that hour alone.
    """
    pinned = next((name for name in PINNED if os.environ.get(name)), None)
    if asked != "auto":
        if asked > cores():
            raise GenreError(f"train.threads is {asked}, and this process may use {cores()} cores; take auto")
        torch.set_num_threads(asked)
        say(f"threads: {asked}, as train.threads says")
    elif pinned is not None:
        say(f"threads: {torch.get_num_threads()}, as {pinned} says")
    elif cores() > 1:
        path = cache_folder() / "threads.json"
        speeds = _kept_speeds(shapes, path)
        if speeds is None:
            say(f"threads: {torch.get_num_threads()}; not tried, as other work keeps the cores busy")
            return
        best = best_threads(speeds)
        torch.set_num_threads(best)
        say(f"threads: {best}; {described(speeds)}, as tried once and kept in {path}")


def described(speeds: dict[int, float]) -> str:
    """Speeds by number of threads, in words."""
    return ", ".join(f"{speed / 1e9:.0f} GFLOP/s with {number}" for number, speed in speeds.items())


def busy() -> bool:
    """Whether more than this process and a fourth of the cores were at work in the last minute."""
    return hasattr(os, "getloadavg") and os.getloadavg()[0] > 1 + cores() / 4


def _kept_speeds(shapes: Sequence[Shape], path: Path) -> dict[int, float] | None:
    """Speeds from a file, or from a probe of two seconds whose result is put there; None where it would mislead."""
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    key = digest([list(map(list, shapes)), cores(), platform.node(), platform.processor(), torch.__version__])
    if key not in known:
        if busy():
            return None
        speeds = thread_speeds(shapes, cores())
        write_json(path, {**known, key: {str(number): speed for number, speed in speeds.items()}})
        return speeds
    return {int(number): speed for number, speed in known[key].items()}
