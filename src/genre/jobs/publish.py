"""Let a run take over."""

from __future__ import annotations

from typing import Any

from genre.jobs import RUN, Setting, Work

SETTINGS = {"run": RUN, "force": Setting("switch", "Publish it although its gate is shut.", "false")}


def do(work: Work) -> dict[str, Any]:
    """Publish ``run`` of the payload, if its gate is open; ``force`` does it all the same. The audit has it."""
    from genre.refresh.publishing import publish
    from genre.run import Run

    run, force = Run.open(work.run()), work.of("force", False)
    link = publish(run, work.server, force)
    detail = {"link": str(link), "server": work.server or "", "force": force}
    work.store.audit.add("worker", "model.publish", run.folder.name, detail)
    return {"run": run.folder.name, "link": str(link)}
