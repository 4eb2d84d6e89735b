"""A log with a row an event, in CSV, JSON lines or Parquet."""

from __future__ import annotations

from dataclasses import field
from pathlib import Path
from typing import Any

from genre.component import component
from genre.datasets import Reading
from genre.rows import Rejected, arrow, check_files, columns_of, renamed


@component
class Table:
    """Your own log: interactions, and tables of items and users if there are any, with their columns named.

    CSV, TSV and JSON lines may be gzipped. Times are seconds or milliseconds since 1970, or ISO 8601. Further columns
    are kept: numbers in the interactions can be labels, words of the items can be used in the template.
    """

    interactions: Path = Path("interactions.csv")
    """The log: a row an event."""
    items: Path | None = None
    """A row an item; an interaction with an item that is not there is rejected. None given means ids alone."""
    users: Path | None = None
    """A row a user, with attributes."""
    columns: dict[str, str] = field(default_factory=dict)
    """Our name: its name in the log, for columns called otherwise (``user_id: uid``, ``timestamp: created_at``)."""
    item_columns: dict[str, str] = field(default_factory=dict)
    """The same for the items table."""
    user_columns: dict[str, str] = field(default_factory=dict)
    """The same for the users table."""
    action: str = "interact"
    """What an event is called when the log has no ``action`` column."""
    actions: dict[str, str] = field(default_factory=dict)
    """Their word: ours, for actions called otherwise (``"0": skip``, ``"1": click``); other words stay."""
    category_separator: str = "|"
    """What stands between the words of the items' ``categories``."""
    encoding: str = "utf-8"
    """Encoding of text files."""
    licence: str = ""
    """Terms under which the data may be used; printed in the report."""

    def files(self) -> list[Path]:
        return check_files(path for path in (self.interactions, self.items, self.users) if path)

    def read(self) -> Reading:
        self.files()
        rejected: Rejected = []
        log = self._columns(self.interactions, self.columns, ["user_id", "item_id"], "columns", rejected)
        if "action" not in log:
            log["action"] = [self.action] * len(log["line"])
        log["action"] = [word if word is None else self.actions.get(str(word), word) for word in log["action"]]
        items = self._side(self.items, self.item_columns, "item_id", "item_columns", rejected)
        if items is not None and "categories" in items:
            items["categories"] = [self._words(value) for value in items["categories"]]
        users = self._side(self.users, self.user_columns, "user_id", "user_columns", rejected)
        name = self.interactions.name.split(".")[0]
        tables = [None if side is None else arrow(side) for side in (items, users)]
        return Reading(
            arrow(log), *tables, rejected=rejected, name=name, source=str(self.interactions), licence=self.licence
        )

    def _words(self, value: Any) -> list[str]:
        if value is None:
            return []
        return (
            [w.strip() for w in value.split(self.category_separator) if w.strip()]
            if isinstance(value, str)
            else list(value)
        )

    def _side(
        self, path: Path | None, mapping: dict[str, str], key: str, setting: str, rejected: Rejected
    ) -> dict[str, list[Any]] | None:
        if path is None:
            return None
        return self._columns(path, mapping, [key], setting, rejected)

    def _columns(
        self, path: Path, mapping: dict[str, str], wanted: list[str], setting: str, rejected: Rejected
    ) -> dict[str, list[Any]]:
        return renamed(columns_of(path, rejected, self.encoding), mapping, wanted, path, setting)
