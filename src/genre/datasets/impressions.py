"""News logs: what was shown, and which of it was clicked."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from genre.component import component
from genre.data import SKIP
from genre.datasets import Reading
from genre.errors import DataError
from genre.places import places
from genre.rows import Rejected, arrow, delimited, need, parquet
from genre.spans import find_spans, write_spans

CLICK = "click"
ENTITY = "entity"
"""Label of a name whose type the source does not say."""
HOMES = {"dkn": "dkn-bing-news-sample", "mind": "mind", "ebnerd": "ebnerd"}
SOURCES = {
    "dkn": "https://github.com/hwwang55/DKN",
    "mind": "https://msnews.github.io",
    "ebnerd": "https://recsys.eb.dk",
}
LICENCES = {
    "dkn": "research use; the log carries no terms of its own",
    "mind": "Microsoft Research License Terms: research use, not to be passed on",
    "ebnerd": "Ekstra Bladet: research use, not to be passed on",
}
LATER = ("dev", "valid", "validation")
"""How folders are called whose log comes after the one that trains."""
MIND_NEWS = [
    "item_id",
    "category",
    "subcategory",
    "title",
    "abstract",
    "url",
    "title_entities",
    "abstract_entities",
]
MIND_LOG = ["impression_id", "user_id", "time", "history", "shown"]
MIND_TIME = "%m/%d/%Y %I:%M:%S %p"
LOG = ("user_id", "item_id", "action", "clicked", "part", "file", "line")
TITLE = "title"
"""The action of a row that is a title by itself."""
READING = ("read_time", "scroll_percentage")
EBNERD_HISTORY = ("user_id", "article_id_fixed", "impression_time_fixed", *(f"{name}_fixed" for name in READING))
EBNERD_LOG = (
    "impression_id",
    "user_id",
    "impression_time",
    "article_ids_inview",
    "article_ids_clicked",
    *(f"next_{name}" for name in READING),
)
EBNERD_PERSON = ("gender", "age", "postcode", "is_subscriber")
EBNERD_ARTICLES = ("article_id", "title", "subtitle", "body", "category_str", "topics", "ner_clusters", "entity_groups")
Columns = dict[str, list[Any]]
Logs = list[tuple[str | None, Path]]
"""Files, each with the part of the split that its rows belong to, if any."""
Tables = tuple[Columns, Columns | None, Columns | None]
"""Interactions, items, users."""


@component
class Impressions:
    """News logs as published: each item shown is a ``click`` or, passed over, a ``skip``.

    ``clicked`` is 1, 0, or missing for clicks that are known only from a history, so that a head with the label
    ``clicked == 1`` learns from what was shown. Items get ``title`` and ``entities`` (names in it, a list of words).
    The log of a later folder or file (``dev``, ``validation``, ``raw_test``) is the part ``test`` of the split `given`.
    """

    layout: Literal["dkn", "mind", "ebnerd"] = "dkn"
    """Whose files: the Bing News sample of DKN (Wang et al. 2018, https://doi.org/10.1145/3178876.3186175: no times,
    no impressions, and skips stand before clicks in its files, so set ``data.ties: shuffle``), MIND (Wu et al. 2020,
    https://doi.org/10.18653/v1/2020.acl-main.331), or EB-NeRD (Kruse et al. 2024,
    https://doi.org/10.1145/3687151.3687152: also ``read_time`` and ``scroll_percentage`` of clicks)."""
    path: Path | None = None
    """The folder with the files, or with one folder a part (``train``, ``dev``; the names may end so); by default
    ``dkn-bing-news-sample``, ``mind`` or ``ebnerd``. One that is not in the working directory is looked for where
    ``genre data get`` puts data sets, then below ``GENRE_DATA``, else below ``../shared/data``."""
    rows: Literal["impressions", "titles"] = "impressions"
    """What an interaction is: an item shown to a user, or, for `formulation: text`, a distinct title by itself, with
    ``title``, ``category`` and ``spans`` (names in the title, ``start:end:label``) to learn."""

    def files(self) -> list[Path]:
        logs = self._logs()
        beside = {"dkn": [], "mind": ["news", ".tsv"], "ebnerd": ["history", ".parquet"]}[self.layout]
        return [path for _, path in logs] + (self._beside(*beside) if beside else []) + self._articles()

    def read(self) -> Reading:
        rejected: Rejected = []
        if self.layout == "dkn":
            log, items, users = _read_dkn(self._logs(), rejected)
        elif self.layout == "mind":
            log, items, users = _read_mind(self._logs(), self._beside("news", ".tsv"), rejected)
        else:
            log, items, users = _read_ebnerd(
                self._logs(), self._beside("history", ".parquet"), self._articles(), rejected
            )
        if self.rows == "titles":
            if items is None:
                raise DataError(f"{self._home()}: there are no titles here; rows: titles needs articles.parquet")
            log, users = _titles(items, rejected), None
        sides = [None if side is None else arrow(_without(side, "names", "part")) for side in (items, users)]
        name = HOMES[self.layout] + ("-titles" if self.rows == "titles" else "")
        source, licence = SOURCES[self.layout], LICENCES[self.layout]
        return Reading(arrow(log), *sides, rejected=rejected, name=name, source=source, licence=licence)

    def _home(self) -> Path:
        homes = places(self.path or Path(HOMES[self.layout]))
        return next((home for home in homes if home.is_dir()), homes[-1])

    def _logs(self) -> Logs:
        """The logs, each with its part; the part is None where there is only one."""
        home = self._home()
        if self.layout == "dkn":
            found = [(part, _first(home, f"raw_{part}", ".tsv", ".txt")) for part in ("train", "test")]
        else:
            inner = sorted(path for path in home.iterdir() if path.is_dir()) if home.is_dir() else []
            parts = [("train", path) for path in inner if path.name.endswith("train")]
            parts += [("test", path) for path in inner if path.name.endswith(LATER)]
            suffix = ".tsv" if self.layout == "mind" else ".parquet"
            whole = _first(home, "behaviors", suffix)
            found = [("train", whole)] if whole else [(p, _first(inner, "behaviors", suffix)) for p, inner in parts]
        logs: Logs = [(part, path) for part, path in found if path]
        if not logs:
            wanted = {"dkn": "raw_train.tsv", "mind": "behaviors.tsv", "ebnerd": "behaviors.parquet"}[self.layout]
            raise DataError(
                f"layout '{self.layout}': looked for {wanted} in {home} and in folders of it called train, "
                f"{', '.join(LATER)}; fetch it from {SOURCES[self.layout]}, or set data.reader.path"
            )
        return logs if len(logs) > 1 else [(None, logs[0][1])]

    def _beside(self, name: str, suffix: str) -> list[Path]:
        """The file of that name beside each log."""
        found = [(path, _first(path.parent, name, suffix)) for _, path in self._logs()]
        for path, one in found:
            if one is None:
                raise DataError(f"{path.parent}: there is no {name}{suffix} beside {path.name}; fetch the whole folder")
        return [one for _, one in found if one]

    def _articles(self) -> list[Path]:
        """The articles of EB-NeRD, beside the log or a folder above; none where they were not handed out."""
        if self.layout != "ebnerd":
            return []
        folder = self._logs()[0][1].parent
        found = [_first(place, "articles", ".parquet") for place in (folder, folder.parent)]
        return [path for path in found if path][:1]


def _first(folder: Path, name: str, *suffixes: str) -> Path | None:
    """The file of that name, plain or gzipped."""
    paths = [folder / f"{name}{suffix}{zipped}" for suffix in suffixes for zipped in ("", ".gz")]
    return next((path for path in paths if path.is_file()), None)


def _without(columns: Columns, *names: str) -> Columns:
    return {name: column for name, column in columns.items() if name not in names}


def _columns(rows: Iterable[dict[str, Any]], *names: str) -> Columns:
    """Rows as columns, taken one by one: a log of millions is never held as rows."""
    columns: Columns = {name: [] for name in names}
    for row in rows:
        for name, column in columns.items():
            column.append(row.get(name))
    return columns


def _reject(rejected: Rejected, columns: Columns, row: int, reason: str) -> None:
    text = "\t".join(str(column[row]) for name, column in columns.items() if name not in ("file", "line"))
    rejected.append({"file": columns["file"][row], "line": columns["line"][row], "reason": reason, "row": text})


def _read_dkn(logs: Logs, rejected: Rejected) -> Tables:
    titles: dict[str, dict[str, Any]] = {}
    log = _columns(_dkn_rows(logs, titles, rejected), *LOG)
    items = _columns(titles.values(), "item_id", "title", "names", "part", "file", "line")
    return log, _with_names(items), None


def _dkn_rows(logs: Logs, titles: dict[str, dict[str, Any]], rejected: Rejected) -> Iterator[dict[str, Any]]:
    """A user, a title, 0 or 1, and the title's names as ``id:surface;id:surface``; ``titles`` gets what is new."""
    for part, path in logs:
        rows = delimited(path, "\t", ["user_id", "title", "clicked", "entities"], rejected)
        for i, (user, title, clicked, entities, line, file) in enumerate(zip(*rows.values(), strict=True)):
            if clicked not in ("0", "1"):
                _reject(rejected, rows, i, f"label is neither 0 nor 1 ({clicked!r})")
                continue
            place = {"file": file, "line": line, "part": part}
            item = titles.setdefault(
                title, {"item_id": f"n{len(titles) + 1:05d}", "title": title, "names": {}, **place}
            )
            surfaces = [word.partition(":")[2].strip() for word in entities.split(";")]
            item["names"] |= {(surface, ENTITY): None for surface in surfaces if surface}
            yield {"user_id": user, "item_id": item["item_id"], **_shown(clicked == "1"), **place}


def _shown(clicked: bool) -> dict[str, Any]:
    return {"action": CLICK if clicked else SKIP, "clicked": int(clicked)}


def _with_names(items: Columns) -> Columns:
    return {**items, "entities": [list(dict.fromkeys(name for name, _ in names)) for names in items["names"]]}


def _read_mind(logs: Logs, news: list[Path], rejected: Rejected) -> Tables:
    log = _columns(_mind_rows(logs, rejected), *LOG, "timestamp", "impression_id")
    return log, _mind_items(logs, news, rejected), None


def _mind_rows(logs: Logs, rejected: Rejected) -> Iterator[dict[str, Any]]:
    known: set[str] = set()
    for part, path in logs:
        rows = delimited(path, "\t", MIND_LOG, rejected)
        for i, (number, user, when, history, shown, line, file) in enumerate(zip(*rows.values(), strict=True)):
            row = {"user_id": user, "part": part, "file": file, "line": line}
            if user not in known:
                # The same clicks stand in every row of a user: they came before the log.
                yield from (
                    {"item_id": item, "action": CLICK, **row, "part": part and "train"} for item in history.split()
                )
                known.add(user)
            try:
                row["timestamp"] = datetime.strptime(when, MIND_TIME).replace(tzinfo=UTC).timestamp()
            except ValueError:
                _reject(rejected, rows, i, f"time is not like 11/15/2019 9:55:12 AM ({when!r})")
                continue
            row["impression_id"] = f"{part or 'log'}-{number}"
            pairs = [word.rpartition("-") for word in shown.split()]
            if all(label in ("0", "1") for _, _, label in pairs):
                yield from ({"item_id": item, **_shown(label == "1"), **row} for item, _, label in pairs)
            else:
                _reject(rejected, rows, i, "an item was shown without -0 or -1, as in the test set without labels")


def _mind_items(logs: Logs, news: list[Path], rejected: Rejected) -> Columns:
    """The articles, each once; a title has the part of the first log that it stands beside."""
    items: dict[str, dict[str, Any]] = {}
    for (part, _), path in zip(logs, news, strict=True):
        rows = delimited(path, "\t", MIND_NEWS, rejected)
        for i, values in enumerate(zip(*rows.values(), strict=True)):
            item = dict(zip(rows, values, strict=True))
            try:
                found = json.loads(item["title_entities"] or "[]")
                item["names"] = {(name, one["Type"]): None for one in found for name in one["SurfaceForms"]}
            except (ValueError, KeyError, TypeError):
                _reject(rejected, rows, i, "the title's entities are not MIND's JSON")
                continue
            categories = [item["category"], item["subcategory"]]
            items.setdefault(item["item_id"], {**item, "part": part, "categories": [c for c in categories if c]})
    names = ("item_id", "title", "abstract", "category", "categories", "names", "part", "file", "line")
    return _with_names(_columns(items.values(), *names))


def _read_ebnerd(logs: Logs, histories: list[Path], articles: list[Path], rejected: Rejected) -> Tables:
    users: dict[Any, dict[str, Any]] = {}
    log = _columns(_ebnerd_rows(logs, histories, users, rejected), *LOG, *READING, "timestamp", "impression_id")
    people = [{"user_id": str(user), **person} for user, person in users.items()]
    items = _ebnerd_items(articles[0]) if articles else None
    return log, items, _columns(people, "user_id", *EBNERD_PERSON)


def _ebnerd_rows(
    logs: Logs, histories: list[Path], users: dict[Any, dict[str, Any]], rejected: Rejected
) -> Iterator[dict[str, Any]]:
    """The clicks before the log and what was shown in it; ``users`` gets what is known of who it was shown to."""
    known: set[Any] = set()
    for (part, path), history in zip(logs, histories, strict=True):
        before = _sound(_rows_of(history, EBNERD_HISTORY), rejected, _past_unusable)
        # A later folder's history repeats clicks of the earlier log, so it counts only for users who are new in it.
        yield from (event for row in before if row["user_id"] not in known for event in _ebnerd_past(row, part))
        known |= {row["user_id"] for row in before}
        for row in _sound(_rows_of(path, EBNERD_LOG), rejected, _shown_unusable):
            yield from _ebnerd_shown(row, part)
            person = users.setdefault(row["user_id"], dict.fromkeys(EBNERD_PERSON))
            person |= {name: row[name] for name in EBNERD_PERSON if row.get(name) is not None}


def _rows_of(path: Path, wanted: tuple[str, ...]) -> list[dict[str, Any]]:
    columns = parquet(path)
    need(columns, wanted, path, "the layout is not EB-NeRD's; check data.reader.layout")
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _sound(
    rows: list[dict[str, Any]], rejected: Rejected, why: Callable[[dict[str, Any]], str | None]
) -> list[dict[str, Any]]:
    """The usable rows; the others go to ``rejected``, each with why it is none."""
    kept: list[dict[str, Any]] = []
    for row in rows:
        if reason := why(row):
            text = ", ".join(f"{name}={value}" for name, value in row.items() if name not in ("file", "line"))
            rejected.append({"file": row["file"], "line": row["line"], "reason": reason, "row": text})
        else:
            kept.append(row)
    return kept


def _past_unusable(row: dict[str, Any]) -> str | None:
    lists = [row[name] for name in EBNERD_HISTORY if name != "user_id"]
    if any(one is None for one in lists) or len({len(one) for one in lists}) > 1:
        return "articles, times, read times and scrolls of the history are not of one length"
    return None


def _shown_unusable(row: dict[str, Any]) -> str | None:
    shown, clicked = row["article_ids_inview"], row["article_ids_clicked"]
    if shown is None or clicked is None:
        return "no list of what was shown or clicked, as in the test set without labels"
    return None if set(clicked) <= set(shown) else "an article was clicked that was not shown"


def _ebnerd_past(row: dict[str, Any], part: str | None) -> Iterator[dict[str, Any]]:
    """Clicks before the log; of these nobody knows what else was shown."""
    fields = zip(*(row[f"{name}_fixed"] for name in ("article_id", "impression_time", *READING)), strict=True)
    for item, time, read, scroll in fields:
        yield {
            "user_id": str(row["user_id"]),
            "item_id": str(item),
            "action": CLICK,
            "timestamp": time,
            "read_time": read,
            "scroll_percentage": scroll,
            "part": part and "train",
            "file": row["file"],
            "line": row["line"],
        }


def _ebnerd_shown(row: dict[str, Any], part: str | None) -> Iterator[dict[str, Any]]:
    """What was shown at one moment. ``next_read_time`` is that of the article clicked, so it needs a single click."""
    clicked = set(row["article_ids_clicked"])
    for item in row["article_ids_inview"]:
        single = item in clicked and len(clicked) == 1
        yield {
            "user_id": str(row["user_id"]),
            "item_id": str(item),
            **_shown(item in clicked),
            "timestamp": row["impression_time"],
            "impression_id": f"{part or 'log'}-{row['impression_id']}",
            **{name: row[f"next_{name}"] if single else None for name in READING},
            "part": part,
            "file": row["file"],
            "line": row["line"],
        }


def _ebnerd_items(path: Path) -> Columns:
    rows = _rows_of(path, EBNERD_ARTICLES)
    for row in rows:
        names, types = row["ner_clusters"] or [], row["entity_groups"] or []
        row["names"] = dict.fromkeys(
            zip(names, types if len(types) == len(names) else [ENTITY] * len(names), strict=True)
        )
        row["item_id"], row["abstract"], row["category"] = str(row["article_id"]), row["subtitle"], row["category_str"]
        row["categories"] = list(dict.fromkeys(word for word in (row["category"], *(row["topics"] or [])) if word))
    names = ("item_id", "title", "abstract", "body", "category", "categories", "names", "part", "file", "line")
    return _with_names(_columns(rows, *names))


def _titles(items: Columns, rejected: Rejected) -> Columns:
    """A row a distinct title, by a person of its own, with the names that stand in it."""
    log: dict[str, dict[str, Any]] = {}
    for i, title in enumerate(word or "" for word in items["title"]):
        if not title.strip():
            _reject(rejected, items, i, "no title")
        elif title not in log:
            row = {name: items[name][i] for name in items if name not in ("categories", "abstract", "body", "names")}
            spans = write_spans(find_spans(title, items["names"][i]))
            log[title] = {**row, "user_id": f"r{len(log) + 1:06d}", "action": TITLE, "spans": spans}
    names = ("user_id", "item_id", "action", "title", "category", "entities", "spans", "part", "file", "line")
    return _columns(
        list(log.values()), *(name for name in names if name in items or name in ("user_id", "action", "spans"))
    )
