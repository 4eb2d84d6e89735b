"""New items of the store join the catalogue of the run, by their texts."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from genre.jobs import RUN, Work

ROWS = 1000

SETTINGS = {"run": RUN}


def do(work: Work) -> dict[str, Any]:
    """Add what the run does not know, as `genre index --add` does, and let the service load the run anew.

    What is known already changes nothing.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from genre.data import Dataset
    from genre.indexing import add
    from genre.rows import arrow
    from genre.run import Run
    from genre.text import columns_of

    run = Run.open(work.run())
    catalogue = Dataset.load(run.path("data")).items
    known, texts = set(catalogue["item_id"].to_pylist()), columns_of(run.config.model.template)
    rows = [one for one in _entries(work) if one["item_id"] not in known]
    names = [name for name in catalogue.column_names if name == "item_id" or any(name in row for row in rows)]
    told = [row for row in rows if any(row.get(name) for name in texts)]
    without = len(rows) - len(told)
    if not told:
        return {"added": 0, "updated": 0, "without_text": without}
    names = list(dict.fromkeys([*names, *texts]))
    table = arrow({name: [row.get(name) for row in told] for name in names})
    # A column in which nothing is known has no type of its own, and is what the catalogue says.
    table = pa.table(
        {n: c.cast(pa.string()) if pa.types.is_null(c.type) else c for n, c in zip(names, table, strict=True)}
    )
    with tempfile.TemporaryDirectory(prefix="genre-embed-") as folder:
        file = Path(folder) / "items.parquet"
        pq.write_table(table, file)
        made = add(run, file)
    if work.server is not None and (made.added or made.updated):
        from genre.refresh.publishing import activate

        activate(work.server, run.folder.name, anew=True)
    reasons = [f"{row['row']}: {row['reason']}" for row in made.rejected[:5]]
    counts = {"added": len(made.added), "updated": len(made.updated), "unchanged": made.unchanged}
    return {**counts, "without_text": without, "rejected": len(made.rejected), "reasons": reasons}


def _entries(work: Work) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        page = work.store.items.list(cursor, ROWS)
        found += [{**entry.columns, "item_id": entry.id} for entry in page.rows]
        work.tell({"items": len(found)})
        cursor = page.cursor
        if cursor is None:
            return found
