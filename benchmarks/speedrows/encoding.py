"""Reading 10,000 titles: the forms that `genre compress` made of a run, and MiniLM in sentence-transformers.

Tokenising counts for all. What each form loses in the task's own metric, with its interval, and its size are those that
`genre compress` measured on the run's test part; sizes stand beside MiniLM's weights in float32.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from genre.compression.forms import Served
from peers.asking import Asked
from peers.environment import Unavailable, python_of
from speedrows import table
from speedrows.titles import MAX_TOKENS, language_model, many, titles, written

TITLES = 10_000
PROGRAM = Path(__file__).parent.parent / "peers" / "timing_sentence_transformers.py"


def reading(form: Served, texts: list[str]) -> Callable[[], float]:
    """Seconds in which a form reads all texts."""

    def run() -> float:
        started = time.perf_counter()
        form.encode(texts)
        return time.perf_counter() - started

    return run


def main(repeats: int, run: Path, count: int = TITLES) -> dict[str, Any]:
    """Measure and print. Raises `SystemExit` where the run has no forms."""
    folders = sorted(one.parent for one in run.glob("compress/*/manifest.json"))
    if not folders:
        raise SystemExit(f"{run}: no forms; run: genre run configs/quickstart.yaml && genre compress {run}")
    measured = json.loads((run / "compress" / "compress.json").read_text(encoding="utf-8"))
    names, _, what = titles()
    texts = many(names, count)
    with ExitStack() as open_ones:
        folder = Path(open_ones.enter_context(tempfile.TemporaryDirectory()))
        ways, why = [], ""
        try:
            task = {"model": language_model(), "max_tokens": MAX_TOKENS, "texts": texts}
            peer = Asked(python_of("sentence_transformers"), PROGRAM, ["encode", written(folder, task)])
            open_ones.callback(peer.close)
            ways.append(table.Way("MiniLM in sentence-transformers, float32", peer.run))
        except Unavailable as error:
            why = str(error)
            print(f"without sentence-transformers: {why}")
        ways += [table.Way(one.name, reading(Served.load(one), texts)) for one in folders]
        rows = table.measure(ways, repeats)
    slowest_first = rows[:1] + sorted(rows[1:], key=lambda row: row["seconds"])
    table.show(f"encode {count:,} titles of {what}", slowest_first)
    return {"rows": slowest_first, "what": what, "titles": count, "forms": measured, "without": why}
