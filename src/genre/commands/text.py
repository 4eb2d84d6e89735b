"""Commands about texts: look at what is read, ask a model of texts, write its language model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from genre.commands.arguments import Commands, config_arguments, do_stage, open_run
from genre.errors import DataError


@click.group(cls=Commands)
def text() -> None:
    """Look at what the language model reads.

    \b
      genre text show configs/reviews.yaml
    """


@text.command("show")
@config_arguments
@click.option("--n", type=click.IntRange(min=1), default=5, show_default=True, help="Texts to print.")
@click.option(
    "--part", type=click.Choice(["train", "valid", "test"]), default="train", show_default=True, help="Where from."
)
def show(config: Path, overrides: tuple[str, ...], *, n: int, part: str) -> None:
    """Print some texts as the language model reads them.

    Each with its tokens, what was cut or dropped to keep within model.max_tokens, and what every head learns of it. In
    two_tower a text is an item's, in text a row's, in cross a person's history and an item. Texts are drawn by the
    seed; how long they are is measured on up to 1000. Prepares the data first where that is not done.

    \b
      genre text show configs/reviews.yaml --n 3
      genre text show configs/cross.yaml model.max_tokens=64 --part test
    """
    opened = open_run(config, overrides)
    do_stage("prepare", opened)
    from genre.data import Dataset
    from genre.promptcard import PromptCard

    for line in PromptCard.of(opened.config, Dataset.load(opened.path("data")), part).lines(n):
        click.echo(line)


@click.command()
@click.argument("run_folder", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--text", "texts", multiple=True, help="A text to ask about; may be given several times.")
@click.option(
    "--file", type=click.Path(path_type=Path), help="A text a line, as JSON: a string, or the template's columns."
)
@click.option("--json", "as_json", is_flag=True, help="Print the answers as JSON, a line a text.")
@click.option("--form", metavar="NAME", help="A form of the language model that 'genre compress' made.")
def predict(run_folder: Path, *, texts: tuple[str, ...], file: Path | None, as_json: bool, form: str | None) -> None:
    """Ask a run with model.formulation: text about texts of yours.

    Every head answers: a probability, an amount, the likelihood of each class, or the labelled places in the text.

    \b
      genre predict runs/reviews --text "Runs small. I had to send it back."
      genre predict runs/reviews --file new.jsonl --json
    where new.jsonl has lines such as
      {"title": "Runs small", "review": "I had to send it back."}
    """
    rows: list[Any] = [*texts, *(_lines(file) if file else [])]
    if not rows:
        raise click.UsageError("say about what: --text or --file")
    from genre.commands.display import print_answers
    from genre.predicting import TextPredictor

    answers = TextPredictor.load(run_folder, form).predict(rows)
    if as_json:
        for answer in answers:
            click.echo(json.dumps(answer, ensure_ascii=False))
    else:
        print_answers(answers)


def _lines(file: Path) -> list[Any]:
    """The texts of a file. Raises `DataError` that names the line which is none."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not UTF-8 at byte {error.start}; save the file as UTF-8") from error
    rows = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f"{file}:{number}: not JSON ({error})") from error
        if not isinstance(row, str | dict):
            raise DataError(f'{file}:{number}: write a text in quotes, or its columns, as in {{"title": "..."}}')
        rows.append(row)
    return rows


@click.command()
@click.argument("config", metavar="RUN", type=click.Path(path_type=Path))
@click.argument("folder", metavar="FOLDER", type=click.Path(path_type=Path))
def merge(config: Path, folder: Path) -> None:
    """Write the fine-tuned language model of a RUN as a HuggingFace FOLDER.

    What lora, dora, adalora or ia3 learned is folded into its weights; other adapters that add to the model are
    refused. Towers and heads stay in the run. Other programs read the folder, and so does another configuration. RUN is
    the folder of a run, or its configuration file.

    \b
      genre merge runs/reviews models/reviews
    """
    opened = open_run(config, ())
    from genre.exporting import backbone_line, export

    reading = export(opened, folder)
    click.echo(f"{folder}: the whole language model, without adapter; to build on it, write under model:")
    click.echo(f"  {backbone_line(folder, reading)}")
