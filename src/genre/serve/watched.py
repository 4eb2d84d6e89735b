"""The latest drift report of a run, as the worker or `genre drift` left it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from genre.errors import RunError
from genre.store.faults import NotFound

WORDS = {
    "items": "which items people choose",
    "actions": "what people do with items",
    "words of an item": "how long the texts of chosen items are",
    "events of a person a day": "how much a person does in a day",
    "people": "people who hardly are any",
    "clicks of a slate": "how many slates are answered to",
    "degraded slates": "how many slates are not whole",
    "first score of a slate": "the scores of what is shown first",
}
"""What is watched, in words."""


def drift(folder: Path) -> dict[str, Any]:
    """The report, with what is drifting by name and in words. Raises `NotFound` where nobody has looked yet."""
    path = folder / "drift" / "drift.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        mend = "run 'genre drift RUN', or have the worker do it: genre worker RUN --every drift=1h"
        raise NotFound(f"nobody has looked for drift of '{folder.name}'; {mend}") from None
    except ValueError as error:
        raise RunError(f"{path}: cannot be read ({error}); run 'genre drift' again") from error
    rows = found["rows"]
    drifting = list(dict.fromkeys(row["watched"] for row in rows if row["alarm"]))
    return {**found, "model": folder.name, "drifting": drifting, "words": in_words(rows, drifting)}


def in_words(rows: list[dict[str, Any]], drifting: list[str]) -> str:
    """What has changed, as a sentence."""
    judged = len({row["watched"] for row in rows if row["alarm"] is not None})
    if not judged:
        return "There is too little to judge by."
    if not drifting:
        return f"Nothing drifts, of {judged} things that are watched."
    said = []
    for name in drifting:
        whys = [row["why"] for row in rows if row["watched"] == name and row["alarm"]]
        said.append(f"{WORDS.get(name, name)} ({'; '.join(whys)})")
    return f"Drifting, {len(drifting)} of {judged} things that are watched: {', '.join(said)}."
