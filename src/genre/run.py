"""A run: one folder of what the stages made, with a manifest that says from what, by what, and at which cost."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from pydantic import TypeAdapter

from genre.config import Config
from genre.errors import RunError
from genre.files import digest, write_json

FORMAT = 1
"""Version of the run folder's layout."""

STAGES = ("data", "model", "rank", "evaluate", "report")


@dataclass(frozen=True)
class Run:
    """One run folder. Each stage writes its own sub-folder and reads those of earlier stages."""

    folder: Path
    config: Config

    @classmethod
    def create(cls, config: Config, root: Path = Path("runs")) -> Run:
        """The run folder of ``config``, made if it is not there; the resolved configuration is written into it."""
        run = cls(root / config.name, config)
        write_json(run.folder / "config.json", TypeAdapter(Config).dump_python(config, mode="json"))
        run._update(
            config=digest(json.loads((run.folder / "config.json").read_text(encoding="utf-8"))), seed=config.seed
        )
        return run

    @classmethod
    def open(cls, folder: Path | str) -> Run:
        """An existing run folder. Raises `RunError` where there is none or another version wrote it."""
        folder = Path(folder)
        manifest = folder / "manifest.json"
        if not manifest.exists():
            raise RunError(f"{folder}: not a run folder (no manifest.json); make one with 'genre run CONFIG'")
        written = json.loads(manifest.read_text(encoding="utf-8")).get("format")
        if written != FORMAT:
            raise RunError(
                f"{folder}: written in format {written}, this version reads {FORMAT}; run its configuration again"
            )
        return cls(folder, TypeAdapter(Config).validate_json((folder / "config.json").read_bytes()))

    def path(self, stage: str) -> Path:
        """The folder of one stage."""
        return self.folder / stage

    @property
    def manifest(self) -> dict[str, Any]:
        """Configuration hash, versions, seed, machine, and per stage inputs, seconds and peak memory."""
        path = self.folder / "manifest.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"stages": {}}

    def do(self, stage: str, inputs: Any, work: Callable[[Path], None]) -> bool:
        """Do ``work(folder)`` unless the stage was finished from equal ``inputs``; true if it was done now.

        A stage that was cut short is done again; work that can resume finds its own files in the folder.
        """
        # Another version of the package may make something else of the same inputs.
        key = digest([inputs, importlib.metadata.version("genre-recommender")])
        done = self.manifest["stages"].get(stage)
        if done and done["inputs"] == key and self.path(stage).exists():
            return False
        started = time.perf_counter()
        with peak_memory() as peak:
            work(self.path(stage))
        cost = {"inputs": key, "seconds": round(time.perf_counter() - started, 2), "peak_rss_mb": round(peak())}
        self._update(stages={**self.manifest["stages"], stage: cost})
        return True

    def _update(self, **entries: Any) -> None:
        stages = self.manifest["stages"]
        write_json(
            self.folder / "manifest.json",
            {
                "stages": stages,
                **self.manifest,
                "format": FORMAT,
                "versions": versions(),
                "machine": machine(),
                **entries,
            },
        )


def versions() -> dict[str, str]:
    """Versions of Python, this package and what the numbers depend on."""
    packages = ("genre-recommender", "torch", "transformers", "peft", "numpy", "scipy", "implicit")
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in packages}}


def machine() -> dict[str, Any]:
    """What the run ran on, as far as it bears on speed."""
    memory = round(psutil.virtual_memory().total / 2**30, 1)
    return {"system": platform.system(), "processor": platform.machine(), "cores": os.cpu_count(), "memory_gb": memory}


@contextmanager
def peak_memory(interval: float = 0.05) -> Iterator[Callable[[], float]]:
    """Sample this process's resident memory; the function given reads the highest so far, in MB."""
    process, stop = psutil.Process(), threading.Event()
    highest = [process.memory_info().rss]

    def watch() -> None:
        while not stop.wait(interval):
            highest[0] = max(highest[0], process.memory_info().rss)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield lambda: highest[0] / 2**20
    finally:
        stop.set()
        thread.join()
