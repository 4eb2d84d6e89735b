"""Deskdrop: what the people of a company did with the articles that they shared."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genre.component import component
from genre.datasets import Reading
from genre.places import member, members
from genre.rows import Rejected, delimited, need

if TYPE_CHECKING:
    import pyarrow as pa

FOLDER = "deskdrop-interactions"
SOURCE = "https://www.kaggle.com/datasets/gspmoreira/articles-sharing-reading-from-cit-deskdrop"
LICENCE = "CI&T Deskdrop: Open Database License, see its Kaggle page"
LOG, ARTICLES = "users_interactions.csv", "shared_articles.csv"
ACTIONS = {"VIEW": "view", "LIKE": "like", "BOOKMARK": "bookmark", "COMMENT CREATED": "comment", "FOLLOW": "follow"}
Columns = dict[str, list[Any]]


@component
class Deskdrop:
    """CI&T Deskdrop (https://www.kaggle.com/datasets/gspmoreira/articles-sharing-reading-from-cit-deskdrop): a year of
    events with articles: ``view``, ``like``, ``bookmark``, ``comment``, ``follow``.

    The log has times and the columns ``country`` and ``region``; users get the pair of these that they were in most
    often. Items get ``title``, ``text`` and ``language`` from ``shared_articles.csv`` in the folder. Without that file,
    or where it lacks an article, they are empty: with ``model.ids`` such an item is known by what people did with it,
    and where no item has a text, ``model.text: true`` is refused. All five actions make histories and are what
    `next_item` learns, whatever the heads name.
    """

    path: Path | None = None
    """The folder with ``users_interactions.csv`` and, if at hand, ``shared_articles.csv``, plain or gzipped; by default
    ``deskdrop-interactions``. One that is not in the working directory is looked for where ``genre data get`` puts data
    sets, then below ``GENRE_DATA``, else below ``../shared/data``."""

    def files(self) -> list[Path]:
        (log,) = members(self.path, FOLDER, [LOG], SOURCE).values()
        articles = member(log.parent, ARTICLES)
        return [log, *([articles] if articles else [])]

    def read(self) -> Reading:
        import pyarrow as pa

        path, *articles = self.files()
        rejected: Rejected = []
        log = _log(path, rejected)
        items = _items(articles[0] if articles else None, log["item_id"], rejected)
        return Reading(pa.table(log), items, _users(log), rejected, "deskdrop", SOURCE, LICENCE)


def _log(path: Path, rejected: Rejected) -> Columns:
    """The events by our names; one of another type goes to ``rejected``."""
    names = {"user_id": "personId", "item_id": "contentId", "action": "eventType", "timestamp": "timestamp"}
    names |= {"country": "userCountry", "region": "userRegion"}
    columns = delimited(path, ",", None, rejected)
    need(columns, names.values(), path, f"fetch it again from {SOURCE}")
    kept: list[int] = []
    for i, word in enumerate(columns["eventType"]):
        if word in ACTIONS:
            kept.append(i)
            continue
        row = ",".join(str(columns[name][i]) for name in names.values())
        reason = f"eventType is none of {', '.join(ACTIONS)} ({word!r})"
        rejected.append({"file": str(path), "line": columns["line"][i], "reason": reason, "row": row})
    named: Columns = {ours: [columns[theirs][i] for i in kept] for ours, theirs in names.items()}
    named |= {name: [columns[name][i] for i in kept] for name in ("file", "line")}
    named["action"] = [ACTIONS[word] for word in named["action"]]
    named["region"] = ["" if word == "?" else word for word in named["region"]]
    return named


def _users(log: Columns) -> pa.Table:
    """Where a person was most often; of two places the first."""
    import pyarrow as pa

    seen = Counter(zip(log["user_id"], log["country"], log["region"], strict=True))
    usual: dict[str, tuple[str, str]] = {}
    for user, country, region in sorted(seen, key=lambda one: -seen[one]):
        if country:
            usual.setdefault(user, (country, region))
    users = [user for user in dict.fromkeys(log["user_id"]) if user]
    places = [usual.get(user, ("", "")) for user in users]
    return pa.table({"user_id": users, "country": [c for c, _ in places], "region": [r for _, r in places]})


def _items(path: Path | None, used: list[str], rejected: Rejected) -> pa.Table:
    """An article as its first row says, later ones telling that it was removed or shared again; and those without."""
    import pyarrow as pa

    texts: dict[str, tuple[str, str, str]] = {}
    if path:
        columns = delimited(path, ",", None, rejected)
        wanted = ["contentId", "title", "text", "lang"]
        need(columns, wanted, path, f"fetch it again from {SOURCE}")
        for article, title, text, language in zip(*(columns[name] for name in wanted), strict=True):
            texts.setdefault(article, (title.strip(), text.strip(), language))
    ids = list(dict.fromkeys([*texts, *(one for one in used if one)]))
    found = [texts.get(one, ("", "", "")) for one in ids]
    return pa.table(
        {"item_id": ids} | {name: [one[i] for one in found] for i, name in enumerate(("title", "text", "language"))}
    )
