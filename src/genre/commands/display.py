"""What the commands print: results, slates, components."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from genre.component import find, kinds, name_of, names, suggest
from genre.config import Config
from genre.data import Dataset
from genre.errors import GenreError, RunError
from genre.run import Run
from genre.settings import doc, settings, summary
from genre.types import Explanation, Slate

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console
    from rich.table import Table

    from genre.indexing import Addition

TASK_METRICS = (".rmse", ".mae", ".label_auc", ".grouped_auc", ".logloss", ".accuracy", ".macro_f1")
TASK_METRICS += (".entity_f1", ".perplexity")
"""Measures of what the heads predict that are printed at the end of a run; the report has all."""
MOST_ROWS = 20
"""Rows of a file or an index that are printed."""


def summarize(config: Config) -> str:
    """A configuration in a few lines."""
    heads = ", ".join(f"{name} ({name_of(head)})" for name, head in config.model.heads.items())
    model, train, rows = config.model, config.train, config.model.formulation.reads == "rows"
    text = f"{name_of(model.backbone)} with {name_of(model.adapter)}" if model.text else "no text"
    pipeline = f"{_names(config.pipeline.sources)} -> {name_of(config.pipeline.scorer)}"
    if config.pipeline.rerank is not None:
        pipeline += f" -> the best {config.pipeline.rerank.top} read again"
    if config.pipeline.rerankers:
        pipeline += f" -> {_names(config.pipeline.rerankers)}"
    lines = {
        "data": f"{name_of(config.data.reader)}, split {name_of(config.data.split)}",
        "model": f"{name_of(model.formulation)}: {text}; tasks {heads}",
        "train": f"up to {train.warmup_epochs} + {train.epochs} epochs; watches {train.early_stopping.metric}",
        "pipeline": "none: a model of texts recommends nothing" if rows else pipeline,
        "evaluate": "beside the mean and TF-IDF" if rows else f"beside {_names(config.evaluate.baselines)}",
        "run": f"runs/{config.name}",
    }
    return "\n".join(f"  {name:9} {line}" for name, line in lines.items())


def _names(components: list[Any]) -> str:
    return ", ".join(name_of(one) for one in components) or "nothing"


def print_results(run: Run, measured_now: bool) -> None:
    """What an evaluation found, and where the rest lies. Raises `RunError` where there is none.

    ``measured_now`` says that the stage has just printed its table of rankings, which is then left out.
    """
    path = run.path("evaluate") / "metrics.json"
    if not path.exists():
        raise RunError(f"{path}: not there; make it with 'genre evaluate'")
    results = json.loads(path.read_text(encoding="utf-8"))
    if not measured_now and run.config.model.formulation.reads != "rows":
        from genre.evaluate import show

        show(results)
    systems = results["systems"].values()
    measured = dict.fromkeys(name for values in systems for name in values if _cell(values[name]))
    chosen = [name for name in measured if name.endswith(TASK_METRICS)]
    for name in dict.fromkeys(name.partition(".")[0] for name in chosen):
        console().print(_task_table(results["systems"], name, [one for one in chosen if one.startswith(f"{name}.")]))
    for line in _gains(results):
        click.echo(line)
    for stage, file in (("evaluate", "metrics.json"), ("report", "report.html")):
        if (run.path(stage) / file).exists():
            click.echo(f"{run.path(stage) / file}")


def _gains(results: dict[str, Any]) -> Iterator[str]:
    """What fine-tuning gained each head, by its first measure, where there is no ranking whose gate says it."""
    if results["gate"]:
        return
    told = set()
    for found in results["comparisons"]:
        beside = {"model_before": "before fine-tuning", "tfidf": "TF-IDF"}.get(found["b"])
        head = found["metric"].partition(".")[0]
        if found["a"] != "model" or beside is None or (head, beside) in told:
            continue
        told.add((head, beside))
        low, high = found["ci95"]
        verdict = {"no difference": "no difference shown to"}.get(found["verdict"], f"{found['verdict']} than")
        yield f"{found['metric']}: {verdict} {beside}, {found['difference']:+.4f} [{low:+.4f}, {high:+.4f}]"


def _task_table(systems: dict[str, dict[str, Any]], head: str, names: list[str]) -> Table:
    table = table_of(f"{head}: value with its 95 % interval", "system", *names)
    for system, values in systems.items():
        cells = [_cell(values.get(name)) for name in names]
        if any(cells):
            table.add_row(system, *cells)
    return table


def _cell(measured: dict[str, Any] | None) -> str:
    if measured is None or measured.get("value") is None:
        return ""
    interval = measured.get("ci95")
    return f"{measured['value']:.4f}" + (f" [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else "")


def print_slate(slate: Slate, data: Dataset) -> None:
    """A slate as a table, then what was left out and skipped."""
    heads = list(dict.fromkeys(head for item in slate.items for head in item.predictions))
    table = table_of("", "", "item", "title", "score", "rank in each source", *heads)
    titles = _titles(slate, data)
    for place, item in enumerate(slate.items, 1):
        sources = ", ".join(f"{name} {rank}" for name, rank in sorted(item.sources.items(), key=lambda one: one[1]))
        answers = [f"{item.predictions[head]:.3f}" if head in item.predictions else "" for head in heads]
        table.add_row(str(place), item.item_id, titles[item.item_id], f"{item.score:.4f}", sources, *answers)
    out = console()
    out.print(table)
    for name, count in slate.removed.items():
        click.echo(f"left out by {name}: {count}")
    for name, why in slate.skipped.items():
        click.echo(f"{'' if name.startswith('heads.') else 'source '}{name} gave nothing: {why}")
    for name, moved in slate.moved.items():
        if moved:
            up = ", ".join(f"{titles[item]} {by:+d}" for item, by in moved.items())
            click.echo(f"{name} moved, places up: {up}")
    for name, unmet in slate.unmet.items():
        click.echo(f"{name} could not keep: {'; '.join(unmet)}")


def slate_json(slate: Slate, data: Dataset, reasons: Sequence[Explanation] | None = None) -> str:
    """A slate as JSON, with titles, and the explanation of each item where there are ``reasons``."""
    titles = _titles(slate, data)
    items = [{**asdict(item), "title": titles[item.item_id]} for item in slate.items]
    if reasons is not None:
        items = [{**item, "explanation": asdict(one)} for item, one in zip(items, reasons, strict=True)]
    return json.dumps({**asdict(slate), "items": items}, indent=1, ensure_ascii=False)


def print_addition(done: Addition, run_folder: Path) -> None:
    """What adding items to a run did, row by row that could not be used."""
    counts = f"{len(done.added)} added, {len(done.updated)} brought up to date, {done.unchanged} there already"
    click.echo(f"{run_folder}: {counts}, {len(done.rejected)} rejected; the index holds {done.total} items")
    for row in done.rejected[:MOST_ROWS]:
        click.echo(f"  {row['file']}:{row['line']}: {row['reason']}")
    if len(done.rejected) > MOST_ROWS:
        reasons = Counter(str(row["reason"]).partition(" (")[0] for row in done.rejected[MOST_ROWS:])
        click.echo("  and " + ", ".join(f"{n} more: {reason}" for reason, n in reasons.most_common()))
    if not done.readers:
        click.echo("note: no source of this run reads texts, so no added item is recommended; content_knn would")


def print_index(run: Run) -> None:
    """The items that were added to a run. Raises `RunError` when the index is damaged or out of date."""
    from genre.additions import Index

    data = Dataset.load(run.path("data"))
    index = Index.of(run, data)
    n = 0 if index is None else index.items.num_rows
    click.echo(f"{run.folder}: {data.items.num_rows} items in the catalogue, {n} added")
    if index is not None:
        table = table_of("", "item", "title")
        rows = index.items.select(["item_id", "title"]).slice(0, MOST_ROWS).to_pylist()
        for row in rows:
            table.add_row(row["item_id"], row["title"] or "")
        console().print(table)
        if n > len(rows):
            click.echo(f"and {n - len(rows)} more, all of them in {run.path('index') / 'items.parquet'}")


def print_answers(answers: list[dict[str, Any]]) -> None:
    """What the heads of a text model say, a row a text."""
    heads = list(dict.fromkeys(head for answer in answers for head in answer["heads"]))
    table = table_of("", "text", *heads)
    for answer in answers:
        table.add_row(answer["text"], *(_said(answer["heads"][head]) for head in heads))
    console().print(table)


def _said(answer: Any, most: int = 3) -> str:
    """An answer in a cell: a number, the likeliest classes, or places in the text."""
    if isinstance(answer, dict):
        likely = sorted(answer.items(), key=lambda one: -one[1])[:most]
        return ", ".join(f"{name} {value:.2f}" for name, value in likely)
    if isinstance(answer, list):
        return ", ".join(f"{place['text']} [{place['label']}]" for place in answer) or "-"
    return f"{answer:.2f}"


def _titles(slate: Slate, data: Dataset) -> dict[str, str]:
    wanted = {item.item_id for item in slate.items}
    pairs = zip(data.items["item_id"].to_pylist(), data.items["title"].to_pylist(), strict=True)
    return {item: title or "" for item, title in pairs if item in wanted}


def listing(kind: str | None, name: str | None) -> str:
    """All kinds, the components of one kind, or one component in full. Raises `GenreError` where there is none such."""
    if kind is None:
        return "".join(f"{_bold(one)}: {', '.join(names(one))}\n" for one in kinds())
    if kind not in kinds():
        raise GenreError(f"no kind named '{kind}'; {suggest(kind, kinds())}")
    try:
        if name is not None:
            return "\n".join(_component(kind, name)) + "\n"
        classes = {one: find(kind, one) for one in names(kind)}
    except LookupError as error:
        raise GenreError(str(error)) from error
    lines = [
        f"{_bold(one)}({', '.join(s.name for s in settings(cls))})\n    {summary(cls)}" for one, cls in classes.items()
    ]
    return "\n".join(lines) + "\n"


def _component(kind: str, name: str) -> Iterator[str]:
    cls = find(kind, name)
    yield f"{_bold(name)} ({kind})"
    yield f"{doc(cls)}"
    for one in settings(cls):
        yield ""
        yield f"  {_bold(one.name)}: {one.type} = {one.default}"
        yield f"      {one.doc}"


def _bold(text: str) -> str:
    return click.style(text, bold=True)


def console(markup: bool = False) -> Console:
    """The terminal; a file or a pipe gets plain text, wide enough for a table."""
    from rich.console import Console

    made = Console(highlight=False, markup=markup)
    return made if made.is_terminal else Console(highlight=False, markup=markup, width=160, no_color=True)


def table_of(title: str, *columns: str) -> Table:
    """A plain table, its cells broken where they are too wide."""
    from rich import box
    from rich.table import Table

    table = Table(title=title or None, box=box.SIMPLE_HEAD, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
