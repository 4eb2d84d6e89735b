"""The command that goes from an empty folder to recommendations with reasons."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import click

from genre.commands.arguments import STAGES, do_stage, open_run

DATA = "movielens-100k"
CONFIG = Path("quickstart.yaml")
USER = "42"
"""Whose slate the console shows first."""
PATIENCE = 60.0
"""Seconds in which the service must answer, for the browser to be opened."""


@click.command()
@click.option("--serve", "serving", is_flag=True, help="Serve the run when it is finished, with its console.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Port to serve at.")
@click.option("--open", "opening", is_flag=True, help="Open the console in a browser.")
def demo(*, serving: bool, port: int, opening: bool) -> None:
    """From an empty folder to recommendations with reasons, in minutes.

    Gets MovieLens 100K, writes quickstart.yaml here, and does all stages of it: prepare, train, rank, evaluate, report.
    With --serve the log then goes into a store and the run is served, with its console, until it is told to stop. What
    is finished is not done again.

    \b
      genre demo
      genre demo --serve --open
    """
    from genre import download
    from genre.commands.display import print_results

    started = time.monotonic()
    download.get(DATA)
    run = open_run(written(Path()), ())
    done = {stage: do_stage(stage, run) for stage in STAGES}
    print_results(run, done["evaluate"])
    click.echo(f"-> {run.path('report') / 'report.html'}   ({time.monotonic() - started:.0f} s)")
    if serving:
        _serve(run.folder, port, opening)


def written(folder: Path) -> Path:
    """The quickstart's configuration in a folder; one that is there already stays as it is."""
    path = folder / CONFIG
    if not path.exists():
        path.write_text(Path(__file__).with_name(CONFIG.name).read_text(encoding="utf-8"), encoding="utf-8")
    return path


def _serve(folder: Path, port: int, opening: bool) -> None:
    from genre.commands.serve import changed_by
    from genre.commands.store import import_
    from genre.run import Run
    from genre.serve.server import serve

    context = click.get_current_context()
    context.invoke(import_, run=folder, which=None)
    settings = changed_by(Run.open(folder).config.serve, (), {"port": port})

    def told(line: str) -> None:
        click.echo(line)
        word, _, rest = line.partition(" ")
        if word == "listens":
            address = rest.split()[0]
            page = f"{address}/console/try?user={USER}"
            click.secho(f"look at {page}", bold=True)
            if opening:
                threading.Thread(target=_open, args=(address, page), daemon=True).start()

    serve(folder, settings, None, told)


def _open(address: str, page: str) -> None:
    """Open a page as soon as the service answers."""
    import httpx

    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        try:
            httpx.get(f"{address}/v1/health/live", timeout=2)
        except httpx.HTTPError:
            time.sleep(0.2)
        else:
            click.launch(page)
            return
