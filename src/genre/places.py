"""Where data sets lie: here, in the cache, or in a folder that is not part of any project."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from genre.errors import DataError
from genre.files import cache_folder
from genre.rows import data_folder


def places(path: Path) -> list[Path]:
    """Where a relative path is looked for: the working directory, what ``genre data get`` fetched, ``GENRE_DATA``."""
    return list(dict.fromkeys([path, cache_folder() / "data" / path, data_folder() / path]))


def located(path: Path, setting: str) -> Path:
    """The first of `places` where ``path`` is. Raises `DataError` that names them all and the setting to mend."""
    found = next((place for place in places(path) if place.exists()), None)
    if not found:
        raise DataError(
            f"{setting}: there is no {' nor '.join(map(str, places(path)))}; fetch it ('genre data get' says what it "
            "can), or set the path"
        )
    return found


def member(folder: Path, name: str) -> Path | None:
    """A file of a folder, plain or gzipped; None where there is neither."""
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def members(folder: Path | None, usual: str, names: Iterable[str], source: str) -> dict[str, Path]:
    """The files of a data set by name, from the first of its `places` that has them all, plain or gzipped.

    ``folder`` is what ``data.reader.path`` says, ``usual`` the folder's name where it says nothing. Raises `DataError`
    that says which file is missing where, and where it can be had.
    """
    homes, names = places(folder or Path(usual)), list(names)
    found = [{name: member(home, name) for name in names} for home in homes]
    for files in found:
        if all(files.values()):
            return {name: path for name, path in files.items() if path}
    nearest = max(range(len(homes)), key=lambda i: sum(path is not None for path in found[i].values()))
    missing = ", ".join(name for name, path in found[nearest].items() if path is None)
    where = homes[nearest] if any(found[nearest].values()) else " or ".join(map(str, homes))
    raise DataError(
        f"there is no {missing} (or the same with .gz) in {where}; fetch it from {source}, or set data.reader.path"
    )
