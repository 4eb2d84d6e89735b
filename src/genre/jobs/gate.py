"""Compare a refreshed run with the one that it came from."""

from __future__ import annotations

from typing import Any

from genre.jobs import RUN, Unfit, Work

SETTINGS = {"run": RUN}


def do(work: Work) -> dict[str, Any]:
    """What the gate says of ``run`` of the payload."""
    from genre.run import Run

    run = Run.open(work.run())
    if run.config.refresh.start is None:
        raise Unfit(f"{run.folder.name}: did not come from another run, so there is nothing to compare it with")
    from genre.refresh.cycle import gated

    gate = gated(run)["gate"]
    return {"run": run.folder.name, "open": gate["open"], "gate": gate["sentence"]}
