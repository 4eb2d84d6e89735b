"""The process that does one job for a worker: it may be killed at any moment, and ends when the worker is gone."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

NICE = 10
"""How much less the processor is given to jobs than to the service."""


def main() -> None:
    """Read the job from the first line of the input, do it, and say how it went on the channel that is named."""
    with os.fdopen(int(sys.argv[1]), "w", encoding="utf-8") as channel:
        asked = json.loads(sys.stdin.readline())
        threading.Thread(target=_end_with_the_worker, daemon=True).start()
        # Whoever may not be nicer goes on as they are.
        with contextlib.suppress(OSError):
            os.nice(NICE)
        lock = threading.Lock()

        def say(what: str, value: Any) -> None:
            with lock:
                channel.write(json.dumps({what: value}, ensure_ascii=False) + "\n")
                channel.flush()

        _do(asked, say)


def _do(asked: dict[str, Any], say: Any) -> None:
    from genre.component import Slot
    from genre.errors import GenreError
    from genre.jobs import Unfit, Work, do
    from genre.store import open_store

    try:
        database = Slot("stores").build(asked["store"])
        with open_store(database, Path(asked["home"]), create=False) as store:
            folder, server = Path(asked["folder"]), asked["server"]
            work = Work(folder, store, asked["payload"], lambda facts: say("progress", facts), server)
            say("result", do(asked["kind"], work))
    except Unfit as error:
        say("unfit", str(error))
    except GenreError as error:
        say("error", str(error))
    except Exception as error:
        import traceback

        traceback.print_exc()
        say("error", f"{type(error).__name__}: {error}")


def _end_with_the_worker() -> None:
    """The input ends when the worker does, however that happens."""
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    main()
