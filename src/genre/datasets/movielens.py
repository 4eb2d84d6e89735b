"""MovieLens: stars for films."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from genre.component import component
from genre.datasets import Reading
from genre.errors import DataError
from genre.places import located, member, places
from genre.rows import Rejected, delimited, need
from genre.tagging import by_use, readable

if TYPE_CHECKING:
    import pyarrow as pa

LICENCE = (
    "GroupLens: research use with acknowledgement, 100k and 1m not to be passed on; grouplens.org/datasets/movielens"
)
TMDB = "; film texts by TMDB, not for commerce, with attribution: this product is not endorsed or certified by TMDB"
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

    Items get ``title``, ``year``, ``categories``; of latest-small, where its ``tags.csv`` is there, also ``tag_list``
    (the tags, most used first, of all times) and ``tags`` (the same as text). Users of 100k and 1m have ``gender``,
    ``age``, ``occupation``, ``region``. Harper and Konstan (2015), https://doi.org/10.1145/2827872.
    """

    version: Literal["100k", "latest-small", "1m"] = "100k"
    """Which data set: 100 thousand ratings with user attributes; as many newer ones without; or a million."""
    path: Path | None = None
    """Its folder, by default ``movielens-`` and the version. One that is not in the working directory is looked for
    where ``genre data get`` puts data sets, then below ``GENRE_DATA``, else below ``../shared/data``."""
    tmdb: Path | None = None
    """TMDB's table of films (``tmdb-5000-movies/tmdb_5000_movies.csv.gz``, looked for in the same places), joined to
    latest-small by its ``links.csv``: items get ``overview``, ``tagline`` and ``keywords`` (a list). A film that it
    lacks has none of them; none given means that no film has."""

    def files(self) -> list[Path]:
        paths = self._layout()
        folder = paths[0].parent
        beside = [member(folder, name) for name in self._beside()]
        return paths + [path for path in [*beside, self._films(folder)] if path]

    def _beside(self) -> list[str]:
        """Files that are read where they are there."""
        return ["tags.csv", *(["links.csv"] if self.tmdb else [])] if self.version == "latest-small" else []

    def _films(self, folder: Path) -> Path | None:
        """TMDB's table. Raises `DataError` where it is wanted and cannot be joined."""
        if self.tmdb is None:
            return None
        if self.version != "latest-small":
            raise DataError(
                f"data.reader.tmdb: {self.version} has no links to TMDB; set version: latest-small, or leave tmdb out"
            )
        if member(folder, "links.csv") is None:
            raise DataError(f"data.reader.tmdb needs links.csv, and {folder} has none; fetch the whole folder")
        return located(self.tmdb, "data.reader.tmdb")

    def read(self) -> Reading:
        paths = self._layout()
        rejected: Rejected = []
        known = {"u.data": _read_100k, "ml-100k.inter": _read_recbole, "ratings.dat": _read_1m}
        read = known.get(paths[0].name.removesuffix(".gz"), _read_latest)
        interactions, items, users = read(paths, rejected)
        if self.version == "latest-small":
            folder = paths[0].parent
            items = _described(items, folder, self._films(folder), rejected)
        name, licence = f"movielens-{self.version}", LICENCE + (TMDB if self.tmdb else "")
        return Reading(interactions, items, users, rejected, name, "https://grouplens.org/datasets/movielens/", licence)

    def _layout(self) -> list[Path]:
        layouts: dict[str, list[tuple[str, ...]]] = {
            "100k": [("u.data", "u.item", "u.user"), ("ml-100k.inter", "ml-100k.item", "ml-100k.user")],
            "1m": [("ratings.dat", "movies.dat", "users.dat")],
            "latest-small": [("ratings.csv", "movies.csv")],
        }
        name = f"movielens-{self.version}"
        folders = places(self.path or Path(name))
        for folder in folders:
            for names in layouts[self.version]:
                found = [path for path in (member(folder, one) for one in names) if path]
                if len(found) == len(names):
                    return found
        wanted = " or ".join(", ".join(names) for names in layouts[self.version])
        where = " and ".join(str(folder) for folder in folders)
        how = "get it with 'genre data get movielens-100k'" if self.version == "100k" else "fetch it from grouplens.org"
        raise DataError(f"{name}: looked for {wanted} (or with .gz) in {where}; {how}, or set data.reader.path")


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


def _described(items: pa.Table, folder: Path, films: Path | None, rejected: Rejected) -> pa.Table:
    """The items with what ``tags.csv`` and TMDB's table say of them."""
    import pyarrow as pa

    ids: list[str] = items["item_id"].to_pylist()
    words = pa.list_(pa.string())
    if path := member(folder, "tags.csv"):
        given = _tags(path, set(ids), rejected)
        items = items.append_column("tag_list", [pa.array([given.get(one, []) for one in ids], words)])
        items = items.append_column("tags", [[readable(given.get(one, [])) for one in ids]])
    links = member(folder, "links.csv")
    if films is None or links is None:
        return items
    said, theirs = _tmdb(films, rejected), _links(links, set(ids), rejected)
    found = [said.get(theirs.get(one, ""), ("", "", [])) for one in ids]
    items = items.append_column("overview", [[overview for overview, _, _ in found]])
    items = items.append_column("tagline", [[tagline for _, tagline, _ in found]])
    return items.append_column("keywords", [pa.array([keywords for _, _, keywords in found], words)])


def _tags(path: Path, known: set[str], rejected: Rejected) -> dict[str, list[str]]:
    columns = delimited(path, ",", None, rejected)
    need(columns, ["movieId", "tag"], path, "fetch it again from grouplens.org")
    kept = _of_known(columns, "tag", path, known, rejected)
    return by_use([film for film, _ in kept], [tag.strip() for _, tag in kept])


def _links(path: Path, known: set[str], rejected: Rejected) -> dict[str, str]:
    """TMDB's number of a film, by ours; a few films have none."""
    columns = delimited(path, ",", None, rejected)
    need(columns, ["movieId", "tmdbId"], path, "fetch it again from grouplens.org")
    return dict(_of_known(columns, "tmdbId", path, known, rejected))


def _of_known(
    columns: dict[str, list[Any]], name: str, path: Path, known: set[str], rejected: Rejected
) -> list[tuple[str, str]]:
    """The films that are in movies.csv, each with one column; the other rows go to ``rejected``."""
    kept: list[tuple[str, str]] = []
    for film, word, line in zip(columns["movieId"], columns[name], columns["line"], strict=True):
        if film in known:
            kept.append((film, word))
        else:
            reason = f"the film is not in movies.csv ({film})"
            rejected.append({"file": str(path), "line": line, "reason": reason, "row": f"{film},{word}"})
    return kept


def _tmdb(path: Path, rejected: Rejected) -> dict[str, tuple[str, str, list[str]]]:
    """Overview, tagline and keywords by TMDB's number."""
    columns = delimited(path, ",", None, rejected)
    wanted = ["id", "overview", "tagline", "keywords"]
    need(columns, wanted, path, "set data.reader.tmdb to tmdb_5000_movies.csv")
    found: dict[str, tuple[str, str, list[str]]] = {}
    for number, overview, tagline, keywords, line in zip(*(columns[n] for n in [*wanted, "line"]), strict=True):
        try:
            names = [str(one["name"]) for one in json.loads(keywords or "[]")]
        except (ValueError, KeyError, TypeError):
            reason = "keywords are not TMDB's JSON"
            rejected.append({"file": str(path), "line": line, "reason": reason, "row": f"{number},{keywords}"})
            continue
        found[number] = (overview.strip(), tagline.strip(), names)
    return found


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
