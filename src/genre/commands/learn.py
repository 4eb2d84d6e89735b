"""The commands that judge policies by logs, play them in worlds, and learn them from logs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from genre.commands.arguments import Commands, config_arguments, open_run

TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".gz")


@click.group(cls=Commands)
def learn() -> None:
    """Explore, judge policies by logs, learn from logs.

    \b
      genre learn evaluate runs/shop          what learn.policy would have earned
      genre learn simulate configs/bandit.yaml policies against each other in a world
      genre learn fit runs/shop               a better policy, if the log can show that it is better
    """


@learn.command("evaluate")
@click.argument("source", metavar="RUN|FILE", type=click.Path(path_type=Path, exists=True))
@click.argument("overrides", metavar="[PATH=VALUE]...", nargs=-1)
@click.option("--supported", is_flag=True, help="Judge a log without chance where both policies show the same.")
@click.option("--estimated", is_flag=True, help="Estimate the propensities, whatever the log says.")
def evaluate(source: Path, overrides: tuple[str, ...], *, supported: bool, estimated: bool) -> None:
    """What a policy would have earned, by the log that another wrote.

    Of a RUN, or the configuration file of one: learn.policy, which learns from the slates before the test part and is
    judged on those of it. Of a table (CSV, JSON lines, Parquet): a policy of yours, with a row a shown item and the
    columns reward, target (its probability by the judged policy) and propensity (its probability when it was shown);
    also slate_id, position, user_id, predicted and expected of a reward model.

    \b
      genre learn evaluate runs/shop
      genre learn evaluate shop.yaml learn.policy=linucb
      genre learn evaluate log.csv
    """
    from dataclasses import replace

    from genre.learn.evaluation import evaluate as work
    from genre.learn.evaluation import evaluate_table
    from genre.learnsection import LearnSection

    if source.suffix in TABLES:
        section = LearnSection(propensities="estimated" if estimated else "log")
        show(evaluate_table(source, section, supported))
        return
    opened = open_run(source, overrides)
    config = opened.config
    if estimated:
        config = replace(config, learn=replace(config.learn, propensities="estimated"))
    show(work(config, opened, supported))
    click.echo(f"-> {opened.path('learn') / 'evaluate.json'}")


@learn.command("simulate")
@config_arguments
@click.option("--without-texts", is_flag=True, help="Let no language model read the items.")
def simulate(config: Path, overrides: tuple[str, ...], *, without_texts: bool) -> None:
    """Policies against each other in a world made from data.

    Plays learn.simulate.policies in learn.simulate.environment and tells their regret, also by the visits of new
    people, with intervals over repetitions. Writes learn/simulate.json and learn/simulate.svg of the run.

    \b
      genre learn simulate configs/bandit.yaml learn.simulate.seeds=5
    """
    opened = open_run(config, overrides)
    from genre.learn.simulate import simulate as work

    result = work(opened.config, opened.path("learn"), not without_texts, click.echo)
    rows = []
    for name, found in result["policies"].items():
        keys = ("regret", "first_visits", "of_best", "new_items")
        rows.append((name, *(between(found[key]["value"], found[key]["ci95"]) for key in keys)))
    _table("regret over all rounds and over the first visits of new people", ("policy", *HEADS), rows)
    if result["world"]:
        click.echo("the world: " + ", ".join(f"{name} {value:.3f}" for name, value in result["world"].items()))
    click.echo(f"-> {opened.path('learn') / 'simulate.json'}, simulate.svg")


@learn.command("fit")
@config_arguments
def fit(config: Path, overrides: tuple[str, ...]) -> None:
    """Learn from a run's log by learn.fit; published only if the test part shows that it may be.

    doubly_robust, policy_gradient and conservative_q make a policy over the model's scores. They start at the
    supervised model and are held near it (leash), learn on the train part, stop by the valid part, and are judged on
    the test part: the gate (learn.gate) lets a policy pass if the lower end of its gain over the log is above 0 and no
    guarded measure is worse. Writes learn/candidate, and learn/policy if it passed.

    preference and group_relative train a cross model on that re-ranks, held near the supervised one (beta). Refused if
    NDCG@10 or the hit rate of its lists is surely lower. Writes a run, learn/NAME-LEARNER, for recommend, compress and
    serve; learn/candidate if refused.

    Both write learn/learn.json and learn/learn.html of the run.

    \b
      genre learn fit runs/shop
      genre learn fit reranked.yaml learn.fit=preference
    """
    opened = open_run(config, overrides)
    if opened.config.learn.fit.makes == "model":
        _model(opened)
    else:
        _policy(opened)
    click.echo(f"-> {opened.path('learn') / 'learn.json'}, learn.html")


def _policy(opened: Any) -> None:
    from genre.learn.fit import fit as work

    result = work(opened.config, opened, click.echo)
    gate, key = result["gate"], result["gate"]["estimator"]["type"]
    rows = [
        (name, between(one["value"], one["ci"]), between(one["gain"]["value"], one["gain"]["ci"]))
        for name, one in ((name, found["values"].get(key)) for name, found in result["systems"].items())
        if one is not None
    ]
    _table(
        f"mean reward of a {result['judged']} of the test part, by {key}",
        ("policy", "value", "gain over the log"),
        rows,
    )
    click.echo("published" if gate["published"] else "not published: " + "; ".join(gate["why"]))


def _model(opened: Any) -> None:
    from genre.learn.model import learn_model

    result = learn_model(opened.config, opened, click.echo)
    gate = result["gate"]
    rows = [
        (name, *(between(one["value"], one["ci95"]) for one in found.values()))
        for name, found in result["systems"].items()
    ]
    beside = [one for one in gate["comparisons"].values() if one is not None]
    rows.append(("learned less supervised", *(between(one["difference"], one["ci95"]) for one in beside)))
    _table(f"re-ranked lists of {result['users']} test people", ("model", *gate["comparisons"]), rows)
    click.echo("published" if gate["published"] else "not published: " + "; ".join(gate["why"]))
    click.echo(f"-> {result['run']}")


HEADS = ("regret", "of first visits", "earned of the best", "places of new items")


def show(result: dict[str, Any]) -> None:
    """What a policy would have earned by each estimator, then what to mistrust."""
    rows = [("the log itself", between(result["logging"]["value"], result["logging"]["ci"]), "", "")]
    for name, found in result["values"].items():
        gain = found["gain"]
        low = gain["ci"] and gain["ci"][0]
        surely = "better" if low is not None and low > 0 else ""
        surely = "worse" if gain["ci"] and gain["ci"][1] < 0 else surely
        rows.append((name, between(found["value"], found["ci"]), between(gain["value"], gain["ci"]), surely))
    _table("mean reward of a slate, with intervals", ("estimator", "value", "gain over the log", ""), rows)
    found = result["diagnostics"]
    click.echo(
        f"{found['slates']} slates, {found['effective']:.0f} effective; weights: mean {found['mean']:.3f}, highest "
        f"{found['highest']:.1f}, zero {found['zero']:.0%}"
    )
    for name, why in result["left_out"].items():
        click.echo(f"{name}: left out, {why}")
    for warning in result["warnings"]:
        click.echo(f"note: {warning}", err=True)


def between(value: float | None, ends: Iterable[float] | None) -> str:
    """A number and its interval."""
    if value is None:
        return "-"
    return f"{value:.4f}" + ("" if ends is None else " [{:.4f}, {:.4f}]".format(*ends))


def _table(title: str, heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    from rich import box
    from rich.table import Table

    from genre.commands.display import console

    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    for i, head in enumerate(heads):
        table.add_column(head, justify="right" if i else "left")
    for row in rows:
        table.add_row(*row)
    console().print(table)
