"""A copy of the store, checked; the oldest copies go."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

from genre.jobs import Setting, Work

NAME = re.compile(r"store-\d{8}T\d{6}Z\.db")

SETTINGS = {
    "folder": Setting("path", "Where copies go, on the worker's machine.", "backups, beside the runs"),
    "keep": Setting("count", "How many of the newest copies stay.", "7"),
}


def do(work: Work) -> dict[str, Any]:
    """Back the store up into ``folder`` of the payload (``backups`` beside the runs), and keep the newest ``keep``."""
    from genre.store.backup import backup

    folder = Path(work.of("folder", None) or work.folder.resolve().parent / "backups")
    keep = work.of("keep", 7)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / time.strftime("store-%Y%m%dT%H%M%SZ.db", time.gmtime())
    facts = backup(work.store.access, path)
    old = sorted(one for one in folder.iterdir() if NAME.fullmatch(one.name))[:-keep]
    for one in old:
        one.unlink()
    return {"file": str(path), "events": facts.rows["events"], "removed": len(old)}
