"""Writing files so that a kill or a full disk leaves the old file or the new one, never half of one."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from genre.errors import GenreError, RunError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path beside ``path`` to write to; on success it is flushed to disk and takes ``path``'s place.

    On any error the new file is removed and the old one stays. A full disk is reported as `GenreError`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        yield aside
        sync(aside)
        aside.replace(path)
        sync(path.parent)
    except OSError as error:
        raise GenreError(f"{path}: could not be written ({error.strerror or error}); nothing was changed") from error
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Like `replacing`, for a whole folder: yield an empty folder that takes ``path``'s place on success."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    aside.mkdir()
    try:
        yield aside
        for file in sorted(aside.rglob("*")):
            sync(file)
        old = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.old")
        if path.exists():
            path.replace(old)
        try:
            aside.replace(path)
        except OSError:
            if old.exists():
                old.replace(path)
            raise
        sync(path.parent)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise GenreError(f"{path}: could not be written ({error.strerror or error}); nothing was changed") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def sync(path: Path) -> None:
    """Flush a file or folder to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8, all or nothing."""
    with replacing(path) as aside:
        aside.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, all or nothing; NaN is refused since JSON has none."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(value: Any) -> str:
    """Hex SHA-256 of a JSON value, the same for equal values whatever their key order."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def seal(folder: Path, version: int, **facts: Any) -> dict[str, Any]:
    """Write a folder's ``manifest.json``, which is also returned: ``facts``, and the hash of every file."""
    paths = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.name != "manifest.json"]
    files = {p.relative_to(folder).as_posix(): sha256(p) for p in paths}
    manifest = {**facts, "format": version, "files": files, "hash": digest(files)}
    write_json(folder / "manifest.json", manifest)
    return manifest


def unseal(folder: Path, version: int, remedy: str) -> dict[str, Any]:
    """The manifest that `seal` wrote, the folder's files checked against their hashes.

    ``remedy`` is the command that makes the folder anew. Raises `RunError`.
    """
    path = folder / "manifest.json"
    if not path.exists():
        raise RunError(f"{folder}: no manifest.json here; make it with '{remedy}'")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"{path}: damaged ({error}); make the folder anew with '{remedy}'") from error
    if manifest.get("format") != version:
        written = manifest.get("format")
        raise RunError(f"{folder}: written in format {written}, this version reads {version}; run '{remedy}' again")
    for name, expected in manifest["files"].items():
        file = folder / name
        if not file.exists():
            raise RunError(f"{file}: missing; run '{remedy}' again")
        if sha256(file) != expected:
            raise RunError(f"{file}: its bytes differ from those written (SHA-256); run '{remedy}' again")
    return manifest


def cache_folder() -> Path:
    """Where downloads, converted models and hidden states are kept: ``GENRE_CACHE``, else ``~/.cache/genre``."""
    return Path(os.environ.get("GENRE_CACHE") or Path.home() / ".cache" / "genre")
