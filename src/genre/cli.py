"""The command line: a command for each stage, and those that look."""

from __future__ import annotations

import os
from pathlib import Path

import click

from genre.arguments import STAGES, Commands, config_arguments, do_stage, open_run
from genre.compresscommand import compress
from genre.errors import GenreError
from genre.profilecommand import profile
from genre.textcommand import merge, predict, text

# Stages, components and rich are imported inside the commands: they bring torch and more, and help must be instant.


def main() -> None:
    """Entry point of ``genre``."""
    # Read by OpenMP when torch loads: waiting threads then sleep instead of spinning, so that one library's idle
    # threads do not take the cores from another's; tokenizers would warn of its own threads when a process forks.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    commands(prog_name="genre")


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="genre-recommender")
def commands() -> None:
    """Recommendations by fine-tuning pretrained language models on several tasks at once.

    \b
    From a log to a measured recommender:
      genre data get movielens-100k
      genre run configs/quickstart.yaml
      genre recommend runs/quickstart --user 42

    CONFIG is a YAML file, or the folder of a run. After a file, settings may be overridden: train.epochs=3.
    """


@commands.command()
@config_arguments
def run(config: Path, overrides: tuple[str, ...]) -> None:
    """Do all stages in order and print the results.

    What is finished is not done again, unless what it was made from has changed; a training that was stopped goes on.

    \b
      genre run configs/quickstart.yaml
      genre run configs/quickstart.yaml name=no-text model.text=false
      genre run configs/quickstart.yaml pipeline.sources[1].reg=500 'evaluate.metrics=[ndcg@10]'
    """
    from genre.display import print_results

    opened = open_run(config, overrides)
    stages = [stage for stage in STAGES if stage != "rank" or opened.config.model.formulation.reads != "rows"]
    done = {stage: do_stage(stage, opened) for stage in stages}
    print_results(opened, done["evaluate"])


@commands.command()
@config_arguments
def prepare(config: Path, overrides: tuple[str, ...]) -> None:
    """Read, check and split the log.

    Writes data/ of the run. Rows that cannot be used are kept in data/rejected.parquet, each with its file, line and
    reason.

    \b
      genre prepare configs/quickstart.yaml data.split=time
    """
    do_stage("prepare", open_run(config, overrides))


@commands.command()
@config_arguments
def train(config: Path, overrides: tuple[str, ...]) -> None:
    """Fine-tune the model.

    Needs what prepare made; writes model/ of the run, with learning curves as a table and as TensorBoard events.

    \b
      genre train configs/quickstart.yaml train.epochs=3 model.adapter.r=16
    """
    do_stage("train", open_run(config, overrides))


@commands.command()
@config_arguments
def rank(config: Path, overrides: tuple[str, ...]) -> None:
    """Tune and fit the sources and the scorer.

    Needs what prepare and train made; writes rank/ of the run.

    \b
      genre rank configs/quickstart.yaml 'pipeline.sources=[model, ease, transitions]'
    """
    do_stage("rank", open_run(config, overrides))


@commands.command()
@config_arguments
def evaluate(config: Path, overrides: tuple[str, ...]) -> None:
    """Measure on the test part, beside the baselines.

    Before and after fine-tuning, with intervals. Needs what prepare, train and rank made; writes evaluate/ of the run.

    \b
      genre evaluate configs/quickstart.yaml evaluate.bootstrap=5000
    """
    from genre.display import print_results

    opened = open_run(config, overrides)
    print_results(opened, do_stage("evaluate", opened))


@commands.command()
@config_arguments
def report(config: Path, overrides: tuple[str, ...]) -> None:
    """Write report.html, with tables, plots and examples.

    One file that needs no other, in report/ of the run. Needs what the stages before it made.

    \b
      genre report runs/quickstart
    """
    do_stage("report", open_run(config, overrides))


@commands.command()
@config_arguments
def check(config: Path, overrides: tuple[str, ...]) -> None:
    """Tell all mistakes of a configuration at once.

    Each with its file and line; runs nothing.

    \b
      genre check configs/quickstart.yaml
      genre check configs/quickstart.yaml train.lr.rest=1e-2
    """
    from genre.configfile import read
    from genre.crosschecks import notes
    from genre.display import summarize

    loaded, given = read(config, overrides)
    click.echo(f"{config}: OK")
    click.echo(summarize(loaded))
    for note in notes(loaded, given):
        click.echo(f"note: {note}")


@commands.command("list")
@click.argument("kind", required=False)
@click.argument("name", required=False)
def list_(kind: str | None, name: str | None) -> None:
    """Show the components that a configuration can name.

    All kinds, the components of one KIND, or the component NAME of it in full.

    \b
      genre list
      genre list sources
      genre list adapters lora
    """
    from genre import display

    click.echo(display.listing(kind, name), nl=False)


@commands.command()
def schema() -> None:
    """Print the JSON Schema of the configuration.

    For editors that complete and check YAML.

    \b
      genre schema > genre.schema.json
    and at the top of a configuration:
      # yaml-language-server: $schema=genre.schema.json
    """
    import json

    from genre.configfile import schema as made

    click.echo(json.dumps(made(), indent=1, ensure_ascii=False))


@commands.group(cls=Commands)
def data() -> None:
    """Get a public data set, or look at a prepared one.

    \b
      genre data get movielens-100k
      genre data show runs/quickstart
    """


@data.command("get")
@click.argument("name", required=False)
def get(name: str | None) -> None:
    """Download a data set into the cache folder.

    Without a NAME, say which there are. The cache folder is GENRE_CACHE, else ~/.cache/genre.

    \b
      genre data get movielens-100k
      genre data get chinese-reviews
    """
    from genre import download

    if name is None:
        click.echo("\n".join(download.NAMES))
    else:
        download.get(name)


@data.command("show")
@config_arguments
def show(config: Path, overrides: tuple[str, ...]) -> None:
    """Print counts, distributions, rows and problems.

    Prepares the data first where that is not done.

    \b
      genre data show configs/quickstart.yaml
      genre data show runs/quickstart
    """
    from genre import datacard
    from genre.data import Dataset
    from genre.display import console

    opened = open_run(config, overrides)
    do_stage("prepare", opened)
    datacard.show(Dataset.load(opened.path("data")), console(markup=True))


@commands.command()
@click.argument("run_folder", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--user", metavar="ID", help="A user of the data.")
@click.option(
    "--history", metavar="IDS", help="Item ids, oldest first, with commas between: for a person not in the data."
)
@click.option("--text", help="What the person says they like; alone, or with a user or a history.")
@click.option("--k", type=click.IntRange(min=1), default=10, show_default=True, help="Length of the list.")
@click.option("--json", "as_json", is_flag=True, help="Print the slate as JSON.")
@click.option("--form", metavar="NAME", help="A form of the language model that 'genre compress' made.")
def recommend(
    run_folder: Path,
    *,
    user: str | None,
    history: str | None,
    text: str | None,
    k: int,
    as_json: bool,
    form: str | None,
) -> None:
    """Recommend items with a finished run.

    With their scores, the sources they came from, and what each task predicts.

    \b
      genre recommend runs/quickstart --user 42
      genre recommend runs/quickstart --history "50,181,172" --k 5
      genre recommend runs/quickstart --text "slow science fiction about memory" --json
    """
    from genre.display import print_slate, slate_json
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
    if as_json:
        click.echo(slate_json(slate, pipeline.data))
    else:
        print_slate(slate, pipeline.data)


@commands.command()
@click.argument("run_folder", metavar="RUN", type=click.Path(path_type=Path))
@click.option(
    "--add", "file", type=click.Path(path_type=Path), help="Items to add: CSV, JSON lines or Parquet, a row an item."
)
def index(run_folder: Path, *, file: Path | None) -> None:
    """Let new items join the catalogue of a finished RUN, without training.

    Each needs an item_id and the columns of model.template; it is recommended for its text, by the model and by sources
    that read texts. Given again it changes nothing, or is brought up to date if its row has changed. Without a file,
    say what has been added. evaluate and report leave added items aside.

    \b
      genre index runs/quickstart --add new_items.csv
      genre index runs/quickstart
    """
    from genre.display import print_addition, print_index
    from genre.run import Run

    run = Run.open(run_folder)
    if file is None:
        print_index(run)
    else:
        from genre.indexing import add

        print_addition(add(run, file), run_folder)


for _command in (profile, predict, text, merge, compress):
    commands.add_command(_command)
