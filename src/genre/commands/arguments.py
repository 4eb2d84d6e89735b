"""What the commands of the command line share: a run from what was typed, and the stages done on it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from genre.errors import GenreError

if TYPE_CHECKING:
    from genre.config import Config
    from genre.run import Run

STAGES = {"prepare": "data", "train": "model", "rank": "rank", "evaluate": "evaluate", "report": "report"}
"""The stages in order, each with its folder in the run."""


class Commands(click.Group):
    """A group whose commands' `GenreError` is printed as text, and which keeps the order of the source."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except GenreError as error:
            click.echo(str(error), err=True)
            ctx.exit(1)
        except KeyboardInterrupt:
            click.echo("\nstopped; the same command goes on from what is finished", err=True)
            ctx.exit(130)


def config_arguments(command: Callable[..., Any]) -> Callable[..., Any]:
    """The arguments CONFIG and PATH=VALUE of a command."""
    command = click.argument("overrides", metavar="[PATH=VALUE]...", nargs=-1)(command)
    return click.argument("config", type=click.Path(path_type=Path))(command)


def open_run(config: Path, overrides: tuple[str, ...]) -> Run:
    """The run of a configuration file, or the one that a folder holds."""
    from genre.run import Run

    if not config.is_dir():
        from genre.configfile import open_values, read_space
        from genre.crosschecks import notes

        found = read_space(config, overrides)
        for note in [*notes(found.config, found.given), *([open_values(found.space)] if found.space else [])]:
            click.echo(f"note: {note}", err=True)
        return Run.create(found.config)
    if overrides:
        raise click.UsageError(
            f"{config} is a run, whose settings are fixed; give its configuration file to change them"
        )
    return Run.open(config)


def do_stage(name: str, opened: Run) -> bool:
    """Do one stage, with a line before and after; false if it was already done."""
    folder = STAGES[name]
    before = opened.manifest["stages"].get(folder)
    click.echo(click.style(name, bold=True))
    _function(name)(opened.config, opened)
    cost = opened.manifest["stages"][folder]
    how = "already done, it took" if cost == before else "took"
    click.echo(f"  {how} {cost['seconds']:.1f} s, {cost['peak_rss_mb']} MB at most -> {opened.path(folder)}")
    sys.stdout.flush()
    return cost != before


def _function(stage: str) -> Callable[[Config, Run], Any]:
    return getattr(importlib.import_module(f"genre.{stage}"), stage)
