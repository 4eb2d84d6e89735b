"""The reference pages, made from the code: ``python -m genre.reference docs``; with ``--check`` it compares instead."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from genre.cli import commands
from genre.component import find, kinds, names
from genre.config import Config
from genre.settings import Setting, doc, settings

NOTICE = "<!-- Made from the code by `make docs`; edit the docstrings instead. -->\n"


def cli_page() -> str:
    """``cli.md``: the help of every command."""
    parts = [
        NOTICE,
        "# Command line\n",
        "A mistake of yours is reported as text on standard error with exit status 1, a wrong call with 2.\n",
    ]
    for name, command in _commands("genre", commands):
        context = click.Context(command, info_name=name, **{**commands.context_settings, "terminal_width": 100})
        parts += [f"## {name}\n", f"```text\n{command.get_help(context)}\n```\n"]
    return "\n".join(parts)


def _commands(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        for inner, one in command.commands.items():
            yield from _commands(f"{name} {inner}", one)


CONFIG_INTRO = """# Configuration

One YAML file describes a recommender; what it leaves out has the default below. `genre check FILE` tells all mistakes
at once, each with its line; `genre schema` gives editors a JSON Schema.

- A **component** (a reader, an adapter, a source ...) is named by `type`, with its own settings beside it:
  `adapter: {type: lora, r: 16}`. A bare name is short for it without settings: `adapter: lora`; `ndcg@10` is short for
  `{type: ndcg, k: [10]}`. [components.md](components.md) lists them all.
- `type: package.module:Class` names a component of yours, outside of this package.
- On the command line, `PATH=VALUE` overrides the file: `train.epochs=3`, `model.adapter.r=16`,
  `pipeline.sources[0].top_k=100`, `'evaluate.metrics=[ndcg@10]'`. The value is YAML.
- Paths in the file are relative to the working directory, not to the file.
"""


def config_page() -> str:
    """``config.md``: every section with its fields."""
    return "\n".join([NOTICE, CONFIG_INTRO, *_sections("the file", "", Config)])


def _sections(title: str, path: str, cls: type[Any]) -> Iterator[str]:
    own = settings(cls)
    yield f"## {title}\n"
    yield f"{doc(cls)}\n"
    yield _table(own)
    for one in own:
        if one.section is not None:
            inner = f"{path}.{one.name}".removeprefix(".")
            yield from _sections(f"`{inner}`", inner, one.section)


def components_page() -> str:
    """``components.md``: every component of every kind."""
    parts = [
        NOTICE,
        "# Components\n",
        "By kind; `genre list KIND NAME` shows the same. A folder of the package is a kind.\n",
    ]
    for kind in kinds():
        parts += [f"## {kind}\n", doc(importlib.import_module(f"genre.{kind}")) + "\n"]
        parts += [FIGURES[kind]] if kind in FIGURES else []
        for name in names(kind):
            cls = find(kind, name)
            parts += [f"### {name}\n", doc(cls) + "\n"]
            own = settings(cls)
            parts += [_table(own)] if own else ["No settings.\n"]
    return "\n".join(parts)


FIGURES = {"adapters": "![Weights trained against quality, by adapter](adapters.svg) (`benchmarks/adapters.py`)\n"}
"""Pictures of a kind, made by a benchmark."""


def _table(rows: list[Setting]) -> str:
    lines = ["| setting | type | default | meaning |", "|---|---|---|---|"]
    for row in rows:
        default = f"`{row.default}`" if row.default else ""
        lines.append(f"| `{row.name}` | {_cell(row.type)} | {_cell(default)} | {_cell(row.doc)} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("``", "`")


PAGES: dict[str, Callable[[], str]] = {"cli.md": cli_page, "config.md": config_page, "components.md": components_page}


def stale(folder: Path) -> list[str]:
    """The pages that differ from the code."""
    paths = {name: folder / name for name in PAGES}
    return [n for n, path in paths.items() if not path.exists() or path.read_text(encoding="utf-8") != PAGES[n]()]


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--check", is_flag=True, help="Compare; exit 1 where a page differs from the code.")
def main(folder: Path, check: bool) -> None:
    """Write the reference pages into FOLDER."""
    different = stale(folder)
    if check and different:
        raise click.ClickException(f"{', '.join(different)} in {folder}: not what the code says; run 'make docs'")
    for name in different:
        (folder / name).write_text(PAGES[name](), encoding="utf-8")
        click.echo(f"wrote {folder / name}")


if __name__ == "__main__":
    main()
