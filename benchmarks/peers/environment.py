"""The environments that outside libraries are installed in: one a library, outside of the tree."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
LOCK = HERE.parent.parent / "requirements" / "lock.txt"
LIBRARIES = {"recbole": ("SASRec", "BPR", "LightGCN"), "rectools": ("SASRec", "LightFM")}
"""The models that each library stands for."""
ENTRY = {"recbole": "trainer", "rectools": "models", "sentence_transformers": "trainer"}
"""A module of each that imports only where all it needs is there."""


class Unavailable(Exception):
    """An environment cannot be had; the message says why."""


def place() -> Path:
    """Where the environments are: ``GENRE_PEERS``, else in the user's cache."""
    return Path(os.environ.get("GENRE_PEERS") or Path.home() / ".cache" / "genre" / "peers")


def program(library: str) -> Path:
    """The file that runs a library's models."""
    return HERE / f"with_{library}.py"


def python_of(library: str) -> Path:
    """The Python of a library's environment, which is made where it is not there or its pins have changed.

    Raises `Unavailable` where it cannot be made.
    """
    folder, pins = place() / library, HERE / f"requirements-{library}.txt"
    python, stamp = folder / "bin" / "python", folder / "installed"
    torch = next(line for line in LOCK.read_text(encoding="utf-8").splitlines() if line.startswith("torch=="))
    key = hashlib.sha256(f"{torch}\n{pins.read_text(encoding='utf-8')}".encode()).hexdigest()
    if stamp.exists() and stamp.read_text(encoding="utf-8") == key:
        return python
    print(f"making {folder} (about 1.3 GB)", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    # torch goes first, by itself and with what it needs, so that nothing else picks its build.
    steps = [[sys.executable, "-m", "venv", str(folder)], [*pip, torch], [*pip, "--no-deps", "-r", str(pins)]]
    for command in [*steps, [str(python), "-c", f"import {library}.{ENTRY[library]}"]]:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            errors = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("WARNING")]
            raise Unavailable(f"{library}: {' '.join(command[:4])} ...: {errors[-1] if errors else 'no message'}")
    stamp.write_text(key, encoding="utf-8")
    return python
