"""The command that puts finished runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.table import Table

    from genre.runcomparison import Comparison

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>{{ title }}</title><link rel="icon" href="data:,">
<style>{{ style }}</style></head><body><header><h1>{{ title }}</h1>
<p class="lead">Same data, split, candidates and cut-offs; 95 % intervals over users.</p></header><main>
{% for svg in figures %}<figure><div class="scroll" tabindex="0">{{ svg }}</div></figure>{% endfor %}
{% for caption, head, rows in tables %}<h2>{{ caption }}</h2>
<div class="scroll" tabindex="0"><table><thead><tr>{% for one in head %}<th>{{ one }}</th>{% endfor %}</tr></thead>
<tbody>{% for row in rows %}<tr>{% for one in row %}<td>{{ one }}</td>{% endfor %}</tr>{% endfor %}</tbody></table>
</div>
{% endfor %}</main></body></html>
"""


@click.command()
@click.argument("folders", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--metric", "asked", metavar="NAME", multiple=True, help="Only these measures, such as ndcg@10.")
@click.option(
    "--to", metavar="FILE", type=click.Path(path_type=Path), help="The page; compare.html beside the first RUN."
)
def compare(folders: tuple[Path, ...], *, asked: tuple[str, ...], to: Path | None) -> None:
    """Put finished runs side by side.

    Their measures with intervals, paired differences to the first RUN, settings that differ, learning curves; printed,
    and drawn on a page. Runs that were asked different questions (data, split, candidates, cut-offs) are refused.

    \b
      genre compare runs/quickstart runs/no-text
      genre compare runs/quickstart runs/no-text --metric ndcg@10 --metric rating.rmse
    """
    from genre.commands.display import console
    from genre.errors import GenreError
    from genre.runcomparison import Comparison

    if len(folders) < 2:
        raise click.UsageError("name two runs or more")
    found = Comparison(list(folders))
    if odd := [name for name in asked if name not in found.metrics]:
        raise GenreError(f"no measure '{odd[0]}' that all have; there are {', '.join(found.metrics)}")
    made = tables(found, list(asked) or found.metrics)
    few = list(asked) or [name for name in found.metrics if name.endswith("@10") or "@" not in name]
    for caption, head, rows in tables(found, few):
        console().print(_table(caption, head, rows))
    if len(set(found.seeds())) > 1:
        click.echo(f"note: the seeds differ ({', '.join(map(str, found.seeds()))}): part of a difference may be luck")
    path = to or folders[0].parent / "compare.html"
    _write(path, found, made)
    click.echo(path)


def tables(found: Comparison, metrics: list[str]) -> list[tuple[str, list[str], list[list[str]]]]:
    """Title, head and rows of what is said."""
    rows = [
        [metric, system, *(_cell(one) for one in values)]
        for metric in metrics
        for system, values in found.values(metric)
    ]
    made = [("measures", ["measure", "system", *found.names], rows)]
    apart = [
        [one["run"], one["system"], one["metric"], f"{one['difference']:+.4f}", _edges(one["ci95"]), one["verdict"]]
        for one in found.differences
        if one["metric"] in metrics
    ]
    if apart:
        head = ["run", "system", "measure", "difference", "95 % interval", "verdict"]
        made.append((f"less {found.names[0]}, person by person", head, apart))
    settings = [[name, *map(_said, values)] for name, values in found.settings()]
    made.append(("settings that differ", ["setting", *found.names], settings or [["none", *[""] * len(found.names)]]))
    return made


def _cell(one: dict[str, Any] | None) -> str:
    if one is None or one["value"] is None:
        return "-"
    return f"{one['value']:.4f}" + (f" {_edges(one['ci95'], '')}" if one["ci95"] else "")


def _edges(edges: list[float], sign: str = "+") -> str:
    return f"[{edges[0]:{sign}.4f}, {edges[1]:{sign}.4f}]"


def _said(value: Any) -> str:
    if value is None:
        return "-"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _table(caption: str, head: list[str], rows: list[list[str]]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(title=caption, box=box.SIMPLE_HEAD, title_justify="left")
    for column in head:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def _write(path: Path, found: Comparison, made: list[tuple[str, list[str], list[list[str]]]]) -> None:
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    from genre.files import write_text
    from genre.search.report import page_style

    page = Environment(autoescape=True, undefined=StrictUndefined).from_string(PAGE)
    figures = [Markup(svg) for svg in found.figures().values()]
    style = Markup(page_style())
    write_text(path, page.render(title=" and ".join(found.names), style=style, figures=figures, tables=made))
