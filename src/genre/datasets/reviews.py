"""A row a text, with what is known of it: stars, recommended or not, helpful votes, names in it."""

from __future__ import annotations

from dataclasses import field
from pathlib import Path
from typing import Any

from genre.component import component
from genre.datasets import Reading
from genre.errors import DataError
from genre.places import located
from genre.rows import Rejected, arrow, check_files, columns_of, need, renamed
from genre.spans import read_spans, write_spans

WOMENS_CLOTHING = {
    "item_id": "Clothing ID",
    "age": "Age",
    "title": "Title",
    "review": "Review Text",
    "value": "Rating",
    "recommended": "Recommended IND",
    "helpful": "Positive Feedback Count",
    "division": "Division Name",
    "department": "Department Name",
    "category": "Class Name",
}


@component
class Reviews:
    """Texts with labels, from CSV, TSV, JSON lines or Parquet: what `formulation: text` learns from.

    Without any setting it reads Women's E-Commerce Clothing Reviews (CC0,
    https://www.kaggle.com/datasets/nicapotato/womens-ecommerce-clothing-reviews). Rows need neither a user nor an item:
    one that lacks them gets its own. For a log of events with items that have texts use `table`.
    """

    path: Path | None = None
    """The file, which may be gzipped. None given means ``womens-clothing-reviews/reviews.csv.gz``. One that is not in
    the working directory is looked for where ``genre data get`` puts data sets, then below ``GENRE_DATA``, else below
    ``../shared/data``."""
    columns: dict[str, str] = field(default_factory=lambda: dict(WOMENS_CLOTHING))
    """Our name: its name in the file. ``value`` is the main amount, such as stars; ``item_id``, ``user_id``,
    ``timestamp``, ``part`` mean what they do everywhere; other names are yours. Columns not named here keep theirs."""
    text: tuple[str, ...] = ("title", "review")
    """The columns that hold text, by our names; a row where all are empty is rejected."""
    item_columns: tuple[str, ...] = ("division", "department", "category")
    """Columns that describe the item rather than the text: they go to the items as well, where filters and slices
    find them. An item has what its first row with a value says."""
    spans: str = ""
    """A column with labelled places in the text, for token labels: a list, JSON, or words with blanks between, each
    ``start:end:label`` in characters from 0, the end left out. Needs exactly one column in ``text``. Of two that
    overlap the longer stays."""
    action: str = "review"
    """What an event is called when the file has no ``action`` column."""
    encoding: str = "utf-8"
    """Encoding of text files; Chinese ones are often gb18030."""
    licence: str = ""
    """Terms under which the data may be used; printed in the report."""

    def files(self) -> list[Path]:
        path = self.path or Path("womens-clothing-reviews", "reviews.csv.gz")
        return check_files([located(path, "data.reader.path")])

    def read(self) -> Reading:
        (path,) = self.files()
        text = list(self.text)
        if not text:
            raise DataError("data.reader.text is empty; name the column that holds the text, as in text: [review]")
        if self.spans and len(text) > 1:
            raise DataError(
                f"data.reader.spans counts the characters of one text, and data.reader.text has {', '.join(text)}; "
                "name one"
            )
        rejected: Rejected = []
        rows = renamed(columns_of(path, rejected, self.encoding), self.columns, text, path, "columns")
        need(rows, self.item_columns, path, "check data.reader.item_columns")
        rows.pop("", None)
        rows = self._with_ids(rows)
        if self.spans:
            need(rows, [self.spans], path, "check data.reader.spans")
            rows["spans"] = self._spans(rows.pop(self.spans), rows[text[0]])
        usable = self._usable(rows, rejected)
        kept = {name: [column[i] for i in usable] for name, column in rows.items()}
        name = path.name.split(".")[0] if self.path else "womens-clothing-reviews"
        licence = self.licence or ("" if self.path else "CC0")
        return Reading(arrow(kept), self._items(kept), None, rejected, name, str(path), licence)

    def _with_ids(self, rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
        n = len(rows["line"])
        own = [f"r{number:06d}" for number in range(1, n + 1)]
        return {"user_id": own, "item_id": own, "action": [self.action] * n} | rows

    def _spans(self, column: list[Any], texts: list[Any]) -> list[list[str] | str]:
        """Spans as they stand in the table, or why a cell holds none."""
        found: list[list[str] | str] = []
        for value, text in zip(column, texts, strict=True):
            try:
                found.append(write_spans(read_spans(value, len(_word(text)))))
            except ValueError as error:
                found.append(str(error))
        return found

    def _usable(self, rows: dict[str, list[Any]], rejected: Rejected) -> list[int]:
        """The rows that have a text, and spans that fit it; the others go to ``rejected``."""
        usable = []
        names = [name for name in rows if name not in ("file", "line")]
        for i, line in enumerate(rows["line"]):
            empty = not any(_word(rows[name][i]).strip() for name in self.text)
            spans = rows["spans"][i] if self.spans else []
            if empty or isinstance(spans, str):
                reason = f"no text in {', '.join(self.text)}" if empty else spans
                row = ", ".join(f"{name}={rows[name][i]}" for name in names)
                rejected.append({"file": rows["file"][i], "line": line, "reason": reason, "row": row})
            else:
                usable.append(i)
        return usable

    def _items(self, rows: dict[str, list[Any]]) -> Any:
        """A row an item that has an id, each attribute as its first row that has one says."""
        if not self.item_columns:
            return None
        items: dict[str, dict[str, Any]] = {}
        for i, item in enumerate(_word(item).strip() for item in rows["item_id"]):
            if item:
                known = items.setdefault(item, dict.fromkeys(self.item_columns))
                for name in self.item_columns:
                    known[name] = rows[name][i] if known[name] in (None, "") else known[name]
        columns = {name: [known[name] for known in items.values()] for name in self.item_columns}
        return arrow({"item_id": list(items), **columns})


def _word(value: Any) -> str:
    return "" if value is None else str(value)
