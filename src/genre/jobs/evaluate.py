"""Measure a run beside its baselines, and write its report."""

from __future__ import annotations

from typing import Any

from genre.jobs import RUN, Work

SETTINGS = {"run": RUN}


def do(work: Work) -> dict[str, Any]:
    """Evaluate the run; what was measured already is not measured again."""
    import json

    from genre.evaluate import evaluate
    from genre.report import report
    from genre.run import Run

    run = Run.open(work.run())
    evaluate(run.config, run)
    report(run.config, run)
    found = json.loads((run.path("evaluate") / "metrics.json").read_text(encoding="utf-8"))
    return {"run": run.folder.name, "gate": (found["gate"] or {}).get("sentence")}
