"""MovieLens: stars for films."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from genre.component import component
from genre.datasets import Reading
from genre.errors import DataError
from genre.files import cache_folder
from genre.rows import Rejected, data_folder, delimited

if TYPE_CHECKING:
    import pyarrow as pa

LICENCE = (
    "GroupLens: research use with acknowledgement, 100k and 1m not to be passed on; grouplens.org/datasets/movielens"
)
GENRES = [
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
]


@component
class MovieLens:
    """The MovieLens data sets in the files that GroupLens publishes (100k also in RecBole's); a rating is a ``rate``.

    Items get ``title``, ``year``, ``categories``; users of 100k and 1m ``gender``, ``age``, ``occupation``, ``region``.
    Harper and Konstan (2015), https://doi.org/10.1145/2827872.
    """

    version: Literal["100k", "latest-small", "1m"] = "100k"
    """Which data set: 100 thousand ratings with user attributes; as many newer ones without; or a million."""
    path: Path | None = None
    """Its folder; none given means where ``genre data get`` puts it, else ``GENRE_DATA``, else ``../shared/data``."""

    def files(self) -> list[Path]:
        folder, names = self._layout()
        return [folder / name for name in names]

    def read(self) -> Reading:
        folder, names = self._layout()
        rejected: Rejected = []
        known = {"u.data": _read_100k, "ml-100k.inter": _read_recbole, "ratings.dat": _read_1m}
        read = known.get(names[0], _read_latest)
        tables = read([folder / name for name in names], rejected)
        name = f"movielens-{self.version}"
        return Reading(
            *tables, rejected=rejected, name=name, source="https://grouplens.org/datasets/movielens/", licence=LICENCE
        )

    def _layout(self) -> tuple[Path, tuple[str, ...]]:
        layouts: dict[str, list[tuple[str, ...]]] = {
            "100k": [("u.data", "u.item", "u.user"), ("ml-100k.inter", "ml-100k.item", "ml-100k.user")],
            "1m": [("ratings.dat", "movies.dat", "users.dat")],
            "latest-small": [("ratings.csv", "movies.csv"), ("ratings.csv.gz", "movies.csv.gz")],
        }
        name = f"movielens-{self.version}"
        folders = [self.path] if self.path else [cache_folder() / "data" / name, data_folder() / name]
        for folder in folders:
            for names in layouts[self.version]:
                if all((folder / one).exists() for one in names):
                    return folder, names
        wanted = " or ".join(", ".join(names) for names in layouts[self.version])
        places = " and ".join(str(folder) for folder in folders)
        how = "get it with 'genre data get movielens-100k'" if self.version == "100k" else "fetch it from grouplens.org"
        raise DataError(f"{name}: looked for {wanted} in {places}; {how}, or set data.reader.path")


def _read_100k(paths: list[Path], rejected: Rejected) -> tuple[pa.Table, pa.Table, pa.Table]:
    ratings = delimited(paths[0], "\t", ["user_id", "item_id", "value", "timestamp"], rejected)
    names = ["item_id", "title", "released", "video", "imdb", *GENRES]
    films = delimited(paths[1], "|", names, rejected, "latin-1")
    flags = zip(*(films[g] for g in GENRES), strict=True)
    categories = [[g for g, flag in zip(GENRES, row, strict=True) if flag == "1" and g != "unknown"] for row in flags]
    people = delimited(paths[2], "|", ["user_id", "age", "gender", "occupation", "region"], rejected)
    return _tables(ratings, films, films["title"], categories, people)


def _read_recbole(paths: list[Path], rejected: Rejected) -> tuple[pa.Table, pa.Table, pa.Table]:
    ratings, films, people = (_plain(delimited(path, "\t", None, rejected)) for path in paths)
    ratings["value"] = ratings.pop("rating")
    people["region"] = people.pop("zip_code")
    years = [
        f"{title} ({year})" if year.isdigit() else title
        for title, year in zip(films["movie_title"], films["release_year"], strict=True)
    ]
    return _tables(ratings, films, years, [[w for w in c.split() if w != "unknown"] for c in films["class"]], people)


def _plain(columns: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """RecBole's headers carry a type: ``user_id:token``."""
    return {name.partition(":")[0]: column for name, column in columns.items()}


def _read_1m(paths: list[Path], rejected: Rejected) -> tuple[pa.Table, pa.Table, pa.Table]:
    ratings = delimited(paths[0], "::", ["user_id", "item_id", "value", "timestamp"], rejected)
    films = delimited(paths[1], "::", ["item_id", "title", "genres"], rejected, "latin-1")
    people = delimited(paths[2], "::", ["user_id", "gender", "age", "occupation", "region"], rejected)
    return _tables(ratings, films, films["title"], [_genres(g) for g in films["genres"]], people)


def _read_latest(paths: list[Path], rejected: Rejected) -> tuple[pa.Table, pa.Table, pa.Table | None]:
    ratings = delimited(paths[0], ",", None, rejected)
    ratings = {"user_id": ratings["userId"], "item_id": ratings["movieId"], "value": ratings["rating"],
               "timestamp": ratings["timestamp"], "file": ratings["file"], "line": ratings["line"]}  # fmt: skip
    films = delimited(paths[1], ",", None, rejected)
    films["item_id"] = films["movieId"]
    return _tables(ratings, films, films["title"], [_genres(g) for g in films["genres"]], None)


def _genres(text: str) -> list[str]:
    return [] if text.startswith("(no genres") else text.split("|")


def _tables(
    ratings: dict[str, list[Any]],
    films: dict[str, list[Any]],
    titles: list[str],
    categories: list[list[str]],
    people: dict[str, list[Any]] | None,
) -> tuple[pa.Table, pa.Table, Any]:
    import pyarrow as pa

    split = [_title_and_year(title) for title in titles]
    kept = {name: films[name] for name in ("item_id", "file", "line")}
    items = {**kept, "title": [t for t, _ in split], "year": [y for _, y in split], "categories": categories}
    interactions = pa.table({**ratings, "action": ["rate"] * len(ratings["line"])})
    users = pa.table(people) if people else None
    return interactions, pa.table(items), users


def _title_and_year(title: str) -> tuple[str, str]:
    """``Usual Suspects, The (1995)`` -> ``The Usual Suspects``, ``1995``."""
    name, bracket, year = title.strip().rpartition(" (")
    if not bracket or not year.rstrip(")").isdigit():
        name, year = title.strip(), ""
    head, comma, article = name.rpartition(", ")
    if comma and article in ("The", "A", "An", "Les", "Le", "La", "Il", "Das", "Der", "Die", "El"):
        name = f"{article} {head}"
    return name, year.rstrip(")")
