"""Lists for the people who were active of late, made ahead by a model that is too slow to ask while they wait."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from genre.jobs import RUN, Setting, Work

if TYPE_CHECKING:
    from genre.store.records import Event

FORMAT = 1
"""Version of the layout of ``nearline/`` of a run."""
PAGE = 10_000
BLOCK = 32
"""People whose lists are made at a time."""
DAY = 86400.0

SETTINGS = {
    "run": RUN,
    "k": Setting("count", "Items of a list.", "50"),
    "days": Setting("number", "Lists are made for those who were active within so many days.", "7"),
    "most": Setting("count", "The most people that lists are made for, the latest first.", "1000"),
}


def do(work: Work) -> dict[str, Any]:
    """Make ``k`` items for each of the ``most`` latest active people of the last ``days``.

    ``run`` of the payload is the one that is asked, such as one of the formulation `cross`; the lists go to
    ``nearline/`` of the worker's own run, each with the number of the last event that it knows.
    """
    import numpy as np

    from genre.data import Histories
    from genre.files import replacing_folder, seal
    from genre.ranking import top_lists
    from genre.rows import arrow
    from genre.serve.loaded import Loaded

    k, most, days = work.of("k", 50), work.of("most", 1000), work.of("days", 7)
    loaded, target = Loaded.load(work.run()), work.folder.resolve() / "nearline"
    people = _active(work, time.time() - days * DAY, most)
    columns: dict[str, list[Any]] = {name: [] for name in ("user_id", "items", "scores", "last_seq")}
    try:
        for start in range(0, len(people), BLOCK):
            some = people[start : start + BLOCK]
            persons = [loaded.person(user, work.store.events.latest(user, 500)) for user, _ in some]
            scores, trace = loaded.path.score_block(Histories.joined([one.history for one in persons]))
            trace.insist()
            lists = top_lists(scores, np.isfinite(scores), k)
            for (user, last), row, found in zip(some, scores, lists, strict=True):
                items = found[found >= 0]
                columns["user_id"].append(user)
                columns["items"].append([loaded.item_ids[item] for item in items])
                columns["scores"].append([float(row[item]) for item in items])
                columns["last_seq"].append(last.seq)
            work.tell({"people": len(columns["user_id"]), "of": len(people)})
    finally:
        loaded.close()
    import pyarrow.parquet as pq

    with replacing_folder(target) as aside:
        pq.write_table(arrow(columns), aside / "lists.parquet", compression="zstd")
        seal(aside, FORMAT, model=f"{loaded.name}@{loaded.version}", made=time.time(), k=k)
    return {"people": len(people), "model": loaded.name, "folder": str(target)}


def _active(work: Work, since: float, most: int) -> list[tuple[str, Event]]:
    """The people with the latest events, and the last event of each."""
    latest: dict[str, Event] = {}
    seq = 0
    while events := work.store.events.since(seq, PAGE):
        for event in events:
            if event.user_id is not None and (event.received or 0.0) >= since:
                latest[event.user_id] = event
        seq = max(event.seq or 0 for event in events)
    ordered = sorted(latest.items(), key=lambda one: -(one[1].seq or 0))
    return ordered[:most]
