"""The memory of a process that runs for long: what is let go of goes back to the system."""

from __future__ import annotations

import ctypes
import os
import platform

ARENAS = 2
"""Heaps that threads share. By default each thread gets one, up to eight a core, and holes in one serve no other."""
LARGE = 1 << 20
"""Bytes from which a piece of memory stands alone, and goes back to the system when it is let go of. By default this
rises to the largest piece that ever was let go of, such as a layer's weights: then holes are left where they were."""
M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8
"""Names of the settings in glibc's malloc.h."""
CHOSEN = ("MALLOC_ARENA_MAX", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


def compact() -> bool:
    """Let the process's memory not fall apart while models and requests come and go; call it before there are threads.

    For glibc's allocator alone, and nothing is changed where the environment says how it is to work. Whether it was.
    """
    if platform.libc_ver()[0] != "glibc" or any(name in os.environ for name in CHOSEN):
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(M_ARENA_MAX, ARENAS)) and bool(mallopt(M_MMAP_THRESHOLD, LARGE))
