"""Memory that a process lets go of goes back to the system, whatever was let go of before."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from genre.serve.heap import CHOSEN, compact

PROGRAM = """
import sys
import numpy as np
import psutil
from genre.serve.heap import compact

assert compact() == (sys.argv[1] == "compact")
process, kept = psutil.Process(), []
# Once so large a piece was let go of, the allocator keeps smaller ones among the small.
del [np.ones(3_000_000)][:]
before = process.memory_info().rss
large = []
for _ in range(20):
    large.append(np.ones(1_000_000))
    kept.append(np.ones(5_000))
large.clear()
print((process.memory_info().rss - before) / 2**20)
"""


def left(how: str, **environment: str) -> float:
    """Megabytes that stay of 160 which were let go of in another process."""
    clean = {name: value for name, value in os.environ.items() if name not in CHOSEN}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, how], env={**clean, **environment}, capture_output=True, text=True, check=True
    )
    return float(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator than glibc's")
def test_what_is_let_go_of_goes_back_unless_the_environment_says_how_memory_is_kept():
    assert left("compact") < 20
    assert left("as it was", MALLOC_ARENA_MAX="8") > 100


def test_another_allocator_is_left_alone(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert not compact()
