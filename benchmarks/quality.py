"""How well it recommends: our system, the same with parts switched off, every source, and tuned outside libraries.

    python benchmarks/quality.py --set beauty                     # ours for 3 seeds, parts and sources for one
    python benchmarks/quality.py --set beauty --peers recbole rectools
    python benchmarks/quality.py --set ml100k --peers recbole:SASRec --seeds 1 --parts none --cap 20

All stand on one ruler: the same training, validation and test rows, every item ranked that the person has not had (or
what was shown), ties against the system, compared user by user. Settings of all are chosen on validation; the rival
that is named is the best on test, which favours the rival. Libraries are installed in environments of their own
(``GENRE_PEERS``, else ~/.cache/genre/peers), only when ``--peers`` names them. What is finished is kept under ``runs/``
and not done again, so a run that was cut short goes on. Results: benchmarks/results/quality-SET.json and .svg, and
quality.md of all sets.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import genre
from genre.comparisons import Measured, Resamples, compare, interval
from genre.component import describe, name_of, names
from genre.config import Config
from genre.configfile import load
from genre.errors import GenreError
from genre.run import Run, machine, versions
from peers.environment import LIBRARIES, Unavailable
from peers.offer import Budget, Offer, Units
from peers.tables import draw, write_tables

HERE = Path(__file__).parent
RESULTS = HERE / "results"
RARE = 5
"""An item with fewer interactions in training counts as rare."""
RESAMPLES = 2000


@dataclass(frozen=True)
class Set:
    """A data set under one protocol."""

    config: str
    metric: str = "ndcg@10"
    """What systems are ordered by."""
    further: tuple[str, ...] = ("recall@10",)
    changes: tuple[str, ...] = ()
    """Overrides of the configuration: another split."""
    without: tuple[str, ...] = ()
    """Sources that the data cannot feed, or that are too slow for them."""
    parts: dict[str, list[str]] = field(default_factory=dict)
    """What can be changed of this set alone, as overrides."""
    minutes: float = 10
    """Of one run of ours on two cores, about; known better once there is one."""


SETS = {
    "beauty": Set("beauty", minutes=8),
    "video_games": Set("video_games", minutes=15),
    "ml100k": Set("with_ids", minutes=3),
    "movielens_small": Set("movielens_small", changes=("data.split=last",), minutes=4),
    "movielens_small_time": Set("movielens_small", changes=("data.split=time",), minutes=4),
    "lastfm": Set(
        "lastfm", further=("recall@10", "recall@20"), changes=("data.reader.rows=colakg", "data.split=given"), minutes=4
    ),
    "citeulike": Set("citeulike", metric="recall@50", further=("ndcg@10",), minutes=8),
    "citeulike_cold": Set(
        "citeulike",
        metric="recall@50",
        further=("ndcg@10",),
        changes=("data.split={type: cold_items, test: 0.2}", "model.ids=false"),
    ),
    "dkn_news": Set("dkn_news", metric="auc", further=("ndcg@10",), minutes=4),
    "deskdrop": Set(
        "deskdrop",
        changes=("data.split=time",),
        parts={
            "views alone": [
                "data.actions=[view]",
                "model.heads={next: {type: next_item}}",
                "train.early_stopping.metric=ndcg@10",
            ]
        },
        minutes=5,
    ),
}
LANGUAGE = ("content_knn", "text_similarity")
"""Sources and features that read the language model's vectors."""


@dataclass
class System:
    """What stands in the table."""

    name: str
    kind: str
    """``ours``, ``part`` (ours with one part changed), ``source`` or ``peer``."""
    units: list[Units] = field(default_factory=list)
    """Values of each metric for every test case; one for each seed."""
    facts: dict[str, Any] = field(default_factory=dict)

    def mean(self, metric: str, seeds: int | None = None) -> np.ndarray:
        """Value of each test case over the first ``seeds`` seeds."""
        return np.mean([one[metric] for one in self.units[:seeds]], axis=0)


def parts_of(config: Config) -> dict[str, list[str]]:
    """The parts of a configuration that can be switched off one by one, as overrides; only those that it has."""
    model, pipeline = config.model, config.pipeline
    found: dict[str, list[str]] = {}
    still = ["model.adapter=frozen", "train.epochs=0"]
    asks_model = any(name_of(source) == "model" for source in pipeline.sources)
    if model.text:
        found["no language model"] = ["model.text=false", "model.ids=true", *still, *_without(config, LANGUAGE)]
    if model.text and config.train.epochs:
        found["not fine-tuned"] = still
    if model.text:
        found["no ids" if model.ids else "with ids"] = [f"model.ids={str(not model.ids).lower()}"]
    if name_of(pipeline.scorer) != "weighted":
        found["weighted scorer"] = ["pipeline.scorer=weighted"]
    ranking = {name: head for name, head in model.heads.items() if head.predicts == "ranking"}
    if len(model.heads) > 1 and ranking:
        name, head = next(iter(ranking.items()))
        found["one task"] = [f"model.heads={json.dumps({name: describe(head)})}"]
        if "." in config.train.early_stopping.metric and not config.train.early_stopping.metric.startswith(f"{name}."):
            found["one task"].append("train.early_stopping.metric=ndcg@10")
    if asks_model and len(pipeline.sources) > 1:
        found["no model"] = _without(config, ("model",))
    return found


def _without(config: Config, left_out: tuple[str, ...]) -> list[str]:
    """Overrides that leave sources and features out; empty where none is there, or nothing would stay."""
    found = []
    for section in ("sources", "features") if config.pipeline.scorer.reads == "features" else ("sources",):
        all_of_it = getattr(config.pipeline, section)
        kept = [describe(one) for one in all_of_it if name_of(one) not in left_out]
        if 0 < len(kept) < len(all_of_it):
            found.append(f"pipeline.{section}={json.dumps(kept)}")
    return found


@dataclass
class Quality:
    """One data set's benchmark, step by step."""

    name: str
    seeds: int
    root: Path
    budget: Budget
    overrides: list[str] = field(default_factory=list)
    """Of the configuration, for all of our runs."""
    systems: list[System] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    """What could not be measured, and why."""
    asked: dict[tuple[str, int], int] = field(default_factory=dict)
    """Row of each test case, a person or an impression, of the first run."""

    def __post_init__(self) -> None:
        self.set = SETS[self.name]
        self.file = HERE.parent / "configs" / f"{self.set.config}.yaml"
        self.config = load(self.file, [*self.set.changes, *self.overrides])
        # One split for all seeds: each is asked the same of the same people.
        self.changes = [*self.set.changes, f"data.seed={self.config.seed}", *self.overrides]
        self.parts = {**parts_of(self.config), **self.set.parts}
        self.metrics = (self.set.metric, *(m for m in self.set.further if m != self.set.metric))

    def estimate(self, parts: list[str], peers: list[tuple[str, str]]) -> str:
        """How long it may take, before it starts."""
        minutes = self._known_minutes() or self.set.minutes
        ours = minutes * (self.seeds + len(parts))
        outside = len(peers) * self.budget.most_seconds() / 60
        return (
            f"{self.name}: about {ours:.0f} minutes for ours and its parts, and at most about {outside:.0f} for peers; "
            "less what is finished"
        )

    def _known_minutes(self) -> float | None:
        manifest = self.root / self._run_name("whole", self.config.seed) / "manifest.json"
        if not manifest.exists():
            return None
        stages = json.loads(manifest.read_text(encoding="utf-8"))["stages"]
        return sum(stage["seconds"] for stage in stages.values()) / 60 if "evaluate" in stages else None

    def _run_name(self, variant: str, seed: int) -> str:
        return f"quality-{self.name}-{variant.replace(' ', '-')}-{seed}"

    def go(self, parts: list[str], peers: list[tuple[str, str]]) -> None:
        """Everything, in the order in which it is of use."""
        seed = self.config.seed
        every = [name for name in names("sources") if name not in ("model", *self.set.without)]
        first = self._run("whole", seed, [f"evaluate.baselines={json.dumps(every)}"])
        self.first, self.offer = first, Offer.of(first)
        ours = System("genre", "ours", [self._units(first, "genre")], {"seeds": [seed], "seconds": _seconds(first)})
        self.systems = [ours, System("model", "part", [self._units(first, "model")])]
        before = System("genre_before", "part", [self._units(first, "genre_before")])
        self.systems += [before, *(System(name, "source", [self._units(first, name)]) for name in every)]
        self.systems = [one for one in self.systems if one.units[0]]
        self.evaluated = json.loads((first.path("evaluate") / "metrics.json").read_text(encoding="utf-8"))
        for one in self.systems:
            one.facts |= {"settings": self.evaluated["settings"].get(one.name)} if one.kind == "source" else {}
        for library, model in peers:
            self._peer(library, model)
        for variant in parts:
            self._part(variant, seed)
        for more in range(seed + 1, seed + self.seeds):
            run = self._run("whole", more, ["evaluate.baselines=[popular]"])
            ours.units.append(self._units(run, "genre"))
            ours.facts["seeds"].append(more)

    def _run(self, variant: str, seed: int, changes: list[str]) -> Run:
        name = self._run_name(variant, seed)
        print(f"{name} ...", flush=True)
        started = time.perf_counter()
        run = genre.run(self.file, [*self.changes, *changes, f"seed={seed}", f"name={name}"], self.root)
        print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)
        return run

    def _units(self, run: Run, system: str) -> Units:
        """Values of each test case, in the order of the first run's cases; empty where the system was not measured.

        A part that changes what is known of people may ask of fewer of them: the others are NaN, and not compared.
        """
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        table = pq.read_table(run.path("evaluate") / "units.parquet")
        mine = table.filter(pc.equal(table["system"].cast("string"), system))  # pyright: ignore[reportAttributeAccessIssue]
        asked = list(zip(mine["user_id"].to_pylist(), mine["impression"].to_pylist(), strict=True))
        keys = [name for name in mine.column_names if name not in ("system", "user_id", "impression")]
        if not asked:
            return {}
        self.asked = self.asked or {case: row for row, case in enumerate(asked)}
        known = np.array([case in self.asked for case in asked])
        rows = np.array([self.asked[case] for case in asked if case in self.asked])
        units = {key: np.full(len(self.asked), np.nan) for key in keys}
        for key, values in units.items():
            values[rows] = mine[key].to_numpy().astype(np.float64)[known]
        return units

    def _part(self, variant: str, seed: int) -> None:
        try:
            run = self._run(variant, seed, [*self.parts[variant], "evaluate.baselines=[popular]"])
        except GenreError as error:
            self.missing[variant] = str(error)
            return
        self.systems.append(System(variant, "part", [self._units(run, "genre")], {"seconds": _seconds(run)}))

    def _peer(self, library: str, model: str) -> None:
        try:
            units, facts = self.offer.peer(library, model, self.budget)
        except Unavailable as error:
            print(error, flush=True)
            self.missing[f"{library} {model}"] = str(error)
            return
        self.systems.append(System(f"{library} {model}", "peer", [units], facts))

    def result(self) -> dict[str, Any]:
        """All of it as data."""
        resamples = Resamples.of(self.offer.cases.user, RESAMPLES, self.config.seed)
        rare = self.offer.rare(RARE)
        rows: list[dict[str, Any]] = []
        ours = self.systems[0]
        for one in self.systems:
            n = len(one.units)
            values = {metric: one.mean(metric) for metric in self.metrics}
            measured = resamples.means(values)
            row: dict[str, Any] = {"name": one.name, "kind": one.kind, **one.facts, "of_seeds": n}
            row["values"] = {metric: found.as_json() for metric, found in measured.items()}
            row["each_seed"] = {
                metric: [float(np.nanmean(unit[metric])) for unit in one.units] for metric in self.metrics
            }
            row["rare"] = float(np.nanmean(values[self.set.metric][rare])) if rare.any() else None
            if one is not ours:
                # A part changed is compared at its own seed; what stands outside with the mean of our seeds.
                both = {m: ours.mean(m, n if one.kind == "part" else None) for m in self.metrics}
                base = resamples.means({m: np.where(np.isnan(values[m]), np.nan, both[m]) for m in self.metrics})
                row["ours_less_this"] = {m: against(base[m], measured[m]) for m in self.metrics}
            rows.append(row)
        rivals = [row for row in rows if row["kind"] in ("source", "peer")]
        best = {m: max(rivals, key=lambda row, m=m: row["values"][m]["value"] or 0.0)["name"] for m in self.metrics}
        contract = {**self.evaluated["contract"], "seeds": ours.facts["seeds"], "bootstrap": RESAMPLES}
        return {
            "set": self.name, "contract": contract, "metric": self.set.metric, "metrics": list(self.metrics),
            "rare": {"fewer_than": RARE, "cases": int(rare.sum())}, "systems": rows, "best_rival": best,
            "missing": self.missing, "overrides": self.changes, "peers": vars(self.budget),
            "machine": machine(), "versions": versions(),
        }  # fmt: skip


def against(ours: Measured, other: Measured) -> dict[str, Any] | None:
    """Our value less the other's with its interval and verdict, and the same as a share of the other's."""
    found = compare(ours, other, larger_is_better=True)
    if found is None or not other.value or ours.draws is None or other.draws is None or ours.value is None:
        return found
    with np.errstate(divide="ignore", invalid="ignore"):
        share = interval(ours.draws / other.draws - 1)
    return {**found, "relative": ours.value / other.value - 1, "relative_ci95": share}


def _seconds(run: Run) -> dict[str, float]:
    return {stage: facts["seconds"] for stage, facts in run.manifest["stages"].items()}


def chosen_peers(words: list[str]) -> list[tuple[str, str]]:
    """``recbole`` for all of its models, ``recbole:SASRec`` for one."""
    found = []
    for word in words:
        library, _, model = word.partition(":")
        if library not in LIBRARIES or (model and model not in LIBRARIES[library]):
            known = [f"{name}:{one}" for name, models in LIBRARIES.items() for one in models]
            raise SystemExit(f"no peer '{word}'; there are {', '.join([*LIBRARIES, *known])}")
        found += [(library, one) for one in ([model] if model else LIBRARIES[library])]
    return list(dict.fromkeys(found))


def main() -> None:
    """Read the command line, do the sets, write tables and pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", nargs="+", choices=list(SETS), default=list(SETS), help="all by default")
    parser.add_argument("--seeds", type=int, default=3, help="of our system; parts, sources and peers have one")
    parser.add_argument("--parts", nargs="*", default=["all"], help="'all', 'none', or some by name")
    parser.add_argument(
        "--peers", nargs="*", default=[], help=f"of {', '.join(LIBRARIES)}; recbole:SASRec for one model"
    )
    parser.add_argument(
        "--trials", type=int, default=12, help="settings that a peer tries, as many as a source's grid has"
    )
    parser.add_argument("--cap", type=float, default=60, help="processor seconds of a peer's trial")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of a peer")
    parser.add_argument("--override", action="append", default=[], metavar="PATH=VALUE", help="of all our runs")
    parser.add_argument("--root", type=Path, default=Path("runs"), help="where runs are kept")
    chosen = parser.parse_args()
    peers = chosen_peers(chosen.peers)
    RESULTS.mkdir(exist_ok=True)
    for name in chosen.set:
        quality = Quality(
            name, chosen.seeds, chosen.root, Budget(chosen.trials, chosen.cap, chosen.threads), chosen.override
        )
        have = quality.parts
        parts = {"all": list(have), "none": []}.get(" ".join(chosen.parts), [p for p in chosen.parts if p in have])
        for absent in {*chosen.parts} - {*have, "all", "none"}:
            print(f"{name} has no part '{absent}'; it has {', '.join(have)}", flush=True)
        print(quality.estimate(parts, peers), flush=True)
        try:
            quality.go(parts, peers)
        except GenreError as error:
            print(f"{name}: not measured: {error}", flush=True)
            continue
        result = quality.result()
        out = RESULTS / f"quality-{name}.json"
        out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        draw(result, RESULTS / f"quality-{name}.svg")
        print(write_tables(RESULTS)[name], flush=True)


if __name__ == "__main__":
    main()
