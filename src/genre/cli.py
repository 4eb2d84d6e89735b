"""The command line: a command for each stage, and those that look."""

from __future__ import annotations

import os
from pathlib import Path

import click

from genre.commands.arguments import STAGES, Commands, config_arguments, do_stage, open_run
from genre.commands.compare import compare
from genre.commands.compress import compress
from genre.commands.console import console
from genre.commands.demo import demo
from genre.commands.learn import learn
from genre.commands.profile import profile
from genre.commands.recommend import recommend
from genre.commands.refresh import drift, publish, refresh
from genre.commands.search import search
from genre.commands.serve import serve
from genre.commands.store import store
from genre.commands.text import merge, predict, text
from genre.commands.worker import worker

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
    from genre.commands.display import print_results

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
    from genre.commands.display import print_results

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
    from genre.commands.display import summarize
    from genre.configfile import open_values, read_space
    from genre.crosschecks import notes

    found = read_space(config, overrides)
    click.echo(f"{config}: OK")
    click.echo(summarize(found.config))
    for note in notes(found.config, found.given):
        click.echo(f"note: {note}")
    if found.space:
        click.echo(f"note: {open_values(found.space)}")


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
    from genre.commands import display

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
    from genre.commands.display import console
    from genre.data import Dataset

    opened = open_run(config, overrides)
    do_stage("prepare", opened)
    datacard.show(Dataset.load(opened.path("data")), console(markup=True))


commands.add_command(recommend)


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
    from genre.commands.display import print_addition, print_index
    from genre.run import Run

    run = Run.open(run_folder)
    if file is None:
        print_index(run)
    else:
        from genre.indexing import add

        print_addition(add(run, file), run_folder)


for _command in (compare, profile, search, predict, text, merge, compress, learn, serve, store):
    commands.add_command(_command)
for _command in (worker, refresh, publish, drift):
    commands.add_command(_command)
for _command in (console, demo):
    commands.add_command(_command)
