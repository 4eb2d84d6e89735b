"""The command that says where the time of a run goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from genre.commands.arguments import config_arguments, open_run

# MB: of a part, what it read from disk and wrote; of a stage, the most memory that the process had by then.
COLUMNS = ("stage", "part", "seconds", "share", "calls", "GFLOP", "GFLOP/s", "of peak", "padding", "MB")
MEANT = 5e7
"""Operations below which they are not what a part spends its time on."""
LEAST = 0.01
"""Share of its stage below which a part is not shown by itself."""


@click.command()
@config_arguments
@click.option(
    "--seconds",
    type=click.FloatRange(min=5),
    default=90,
    show_default=True,
    help="How long it may take, about; longer looks at more people, and is steadier.",
)
def profile(config: Path, overrides: tuple[str, ...], *, seconds: float) -> None:
    """Say where the time of a run goes, and what would make it faster.

    Does each stage once on some of the people, one epoch a phase, and times its parts. How fast they compute stands
    beside what this machine can do: products of matrices of the model's sizes (GEMM), and a copy of memory. Then the
    largest waste, with the setting that mends it, and how long the whole run would take. Writes profile/ of the run,
    with a picture, and changes nothing else.

    \b
      genre profile configs/quickstart.yaml
      genre profile configs/quickstart.yaml train.token_budget=4096 --seconds 30
      genre profile runs/quickstart
    """
    opened = open_run(config, overrides)
    from genre.profile import profile as work

    result = work(opened.config, opened, seconds, click.echo)
    show(result)
    click.echo(f"-> {opened.path('profile') / 'profile.json'}, profile.svg")


def show(result: dict[str, Any]) -> None:
    """The stages and their parts as a table, then the machine, the whole run and the wastes."""
    from rich import box
    from rich.table import Table

    from genre.commands.display import console

    few, all_ = result["sizes"]["sample"], result["sizes"]["whole"]
    title = f"{few['interactions']} of {all_['interactions']} interactions, one epoch a phase"
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    for i, column in enumerate(COLUMNS):
        table.add_column(column, justify="left" if i < 2 else "right")
    for name, stretch in result["stretches"].items():
        table.add_row(name, "", f"{stretch['seconds']:.2f}", *[""] * 6, f"{stretch['peak_mb']} at most")
        for row in _shown(stretch):
            table.add_row("", row["part"], f"{row['seconds']:.2f}", f"{row['share']:.0%}", *_cells(row))
        table.add_section()
    console().print(table)
    for line in _lines(result):
        click.echo(line)


def _shown(stretch: dict[str, Any]) -> list[dict[str, Any]]:
    """The parts that weigh something, and those that do not as one."""
    named = [row for row in stretch["parts"] if row["share"] >= LEAST and row["part"] != "other"]
    small = [row for row in stretch["parts"] if row["share"] < LEAST or row["part"] == "other"]
    seconds = sum(row["seconds"] for row in small)
    other = {"part": "other", "seconds": seconds, "share": sum(row["share"] for row in small), "calls": 0, "flop": 0.0}
    return [*named, other] if seconds else named


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    counted = row["flop"] > MEANT
    padded = f"{1 - row['tokens'] / row['places']:.0%}" if row.get("tokens") and row.get("places") else ""
    moved = row.get("read", 0.0) + row.get("written", 0.0)
    return (
        str(row["calls"]) if row["calls"] else "",
        f"{row['flop'] / 1e9:.1f}" if counted else "",
        f"{row['flops'] / 1e9:.1f}" if counted else "",
        f"{row['of_peak']:.0%}" if counted else "",
        padded,
        f"{moved / 1e6:.1f}" if moved else "",
    )


def _lines(result: dict[str, Any]) -> list[str]:
    limits, machine = result["limits"], result["machine"]
    speeds = {int(number): speed for number, speed in limits["threads"].items()}
    tried = ", ".join(f"{number}: {speed / 1e9:.0f}" for number, speed in speeds.items())
    lines = [
        f"this machine: {limits['flops'] / 1e9:.0f} GFLOP/s in float32 with {machine['threads']} threads (GEMM peak), "
        f"{limits['bytes_per_s'] / 1e9:.1f} GB/s by a copy",
        f"threads: {machine['threads']} compute; GFLOP/s of products and activations by their number {tried}; "
        f"best {limits['best_threads']}",
    ]
    if policies := limits.get("wait_policy"):
        told = ", ".join(f"{name} {speed / 1e9:.0f} GFLOP/s" for name, speed in policies.items())
        lines.append(f"OMP_WAIT_POLICY: {told}; genre takes passive unless the environment says otherwise")
    parts = {name: stretch["whole_seconds"] for name, stretch in result["stretches"].items()}
    told = ", ".join(f"{name} {duration(seconds)}" for name, seconds in parts.items())
    lines.append(f"the whole run: about {duration(sum(parts.values()))} at most, if all grows in proportion ({told})")
    if not result["fills_a_batch"]:
        lines.append("the sample does not fill one batch, so that is much too long; give more --seconds")
    first, *others = result["wastes"]
    lines.append(f"largest waste: {_said(first)}" if first["setting"] else first["sentence"])
    return lines + [f"  then: {_said(other)}" for other in others]


def _said(waste: dict[str, Any]) -> str:
    return f"{waste['sentence']} (about {duration(waste['seconds'])} of the run). Try {waste['setting']}"


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, as they are said."""
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 1 else f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
