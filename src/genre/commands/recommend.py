"""The command that asks a finished run for recommendations, and why it gives them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from genre.errors import GenreError


@click.command()
@click.argument("run_folder", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--user", metavar="ID", help="A user of the data.")
@click.option(
    "--history", metavar="IDS", help="Item ids, oldest first, with commas between: for a person not in the data."
)
@click.option("--text", help="What the person says they like; alone, or with a user or a history.")
@click.option("--k", type=click.IntRange(min=1), default=10, show_default=True, help="Length of the list.")
@click.option(
    "--explain", is_flag=True, help="Say of each item why: what carried it, which sources, what adds to its score."
)
@click.option("--language", type=click.Choice(["en", "zh"]), default="en", show_default=True, help="Of the reasons.")
@click.option("--json", "as_json", is_flag=True, help="Print the slate as JSON.")
@click.option("--form", metavar="NAME", help="A form of the language model that 'genre compress' made.")
def recommend(
    run_folder: Path,
    *,
    user: str | None,
    history: str | None,
    text: str | None,
    k: int,
    explain: bool,
    language: Any,
    as_json: bool,
    form: str | None,
) -> None:
    """Recommend items with a finished run.

    With their scores, the sources they came from, and what each task predicts. With --explain each item also comes with
    its reasons: how far its score falls when each event of the history is left out, which is computed, and what every
    column adds to the score.

    \b
      genre recommend runs/quickstart --user 42
      genre recommend runs/quickstart --user 42 --k 3 --explain
      genre recommend runs/quickstart --history "50,181,172" --k 5
      genre recommend runs/quickstart --text "slow science fiction about memory" --json
    """
    from genre.commands.display import print_slate, slate_json
    from genre.types import Query

    if user is None and history is None and not text:
        raise click.UsageError("say for whom: --user, --history or --text")
    if user is not None and history is not None:
        raise click.UsageError("--user and --history exclude each other")
    from genre.pipeline import Pipeline
    from genre.run import Run

    if Run.open(run_folder).config.model.formulation.reads == "rows":
        raise GenreError(
            f"{run_folder}: model.formulation is text, which answers about texts and recommends nothing; "
            f"ask it with 'genre predict {run_folder} --text ...'"
        )
    pipeline = Pipeline.load(run_folder, form=form)
    items = None if history is None else tuple(word.strip() for word in history.split(",") if word.strip())
    slate = pipeline.recommend([Query(user_id=user, history=items, text=text, k=k)])[0]
    reasons = None
    if explain:
        from genre import explaining

        reasons = explaining.explain(pipeline, slate, language=language)
    if as_json:
        click.echo(slate_json(slate, pipeline.data, reasons))
    else:
        print_slate(slate, pipeline.data)
        if reasons is not None:
            from genre.commands.reasonsheet import print_explanations

            print_explanations(reasons)
