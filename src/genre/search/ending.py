"""The end of a search: leaders trained again, baselines searched as long, the winner, the test part read, the page."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from genre.component import name_of
from genre.errors import GenreError
from genre.files import write_json, write_text
from genre.runcomparison import Comparison
from genre.search.crew import Work
from genre.search.loop import Search
from genre.search.outcomes import chosen_of, default_number, ordered, outcome, pareto
from genre.search.rivals import BASELINE, judge_of, rivals
from genre.search.study import Trials, quietly
from genre.search.winner import RULE, Contender, Verdict, choose, expected_best
from genre.searchsection import PIPELINE

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

CALLS = {
    "trial": "genre.search.trial:trial",
    "final": "genre.search.trial:final",
    "baseline": BASELINE,
}
COMPARED = ("ndcg@10", "recall@10", "mrr@10")
"""Measures of rankings by which the winner and the defaults are compared on test."""


@dataclass
class Ending:
    """What comes after the trials; each step keeps what it made, so that a second start does not do it again."""

    search: Search
    trials: Trials
    calls: dict[str, str] = field(default_factory=lambda: dict(CALLS))

    def __post_init__(self) -> None:
        self.config, self.home = self.search.config, self.search.home
        self.section, self.objectives = self.config.search, self.search.objectives
        self.first = self.objectives[0]
        self.larger = self.search.larger[0]
        self.found: list[FrozenTrial] = self.trials.all()

    def conclude(self) -> dict[str, Any]:
        """All of it; what `search.json` holds. Raises `GenreError` where no trial came to its end."""
        default = default_number(self.found, self.search.space)
        best = ordered(self.found, self.larger)
        if not best:
            reasons = "; ".join(dict.fromkeys(outcome(one, self.objectives) for one in self.found))
            raise GenreError(f"no trial came to its end: {reasons}")
        leaders = [one.number for one in best if one.number != default][: self.section.leaders]
        self.search.note("leaders")
        contenders = self._repeated([*([default] if default is not None else []), *leaders])
        standard = None if default is None else contenders.get(default)
        verdict = choose(standard, list(contenders.values()), self.larger)
        if verdict is None:
            raise GenreError(f"{self.home}: none of the leading trials could be trained again; see its repeats/")
        baselines = rivals(self.search, self.calls["baseline"])
        self.search.note("test")
        runs = self._read_test(verdict, default)
        found = self._facts(verdict, contenders, baselines, default) | {"test": self._compared(runs)}
        write_text(self.home / "best.yaml", self._best(verdict.winner))
        write_json(self.home / "search.json", found)
        self.search.note("ended")
        return found

    def _repeated(self, numbers: list[int]) -> dict[int, Contender]:
        """Trials trained again, with seeds that the search has not used; those that fail with one are left out."""
        seeds = [self.config.seed + 1 + i for i in range(self.section.repeats)]
        places = {(n, seed): self.home / "repeats" / f"{n:04d}-{seed}" for n in numbers for seed in seeds}
        by_number = {one.number: one for one in self.found}
        works = []
        for (number, seed), place in places.items():
            plain = self.search.document(chosen_of(by_number[number], self.search.space).values, seed)
            arguments = {"values": plain, "folder": str(place), "objectives": self.objectives}
            works.append(Work(place.name, self.calls["trial"], arguments, place / "log.txt"))
        news = self.search.work_off(works, "again, with another seed:")
        found = {}
        for number in numbers:
            mine = [news[places[number, seed].name] for seed in seeds]
            if all(one.kind == "done" for one in mine):
                folders = [places[number, seed] for seed in seeds]
                found[number] = _contender(number, [one.data for one in mine], folders, self.first)
        return found

    def _read_test(self, verdict: Verdict, default: int | None) -> dict[str, Path]:
        """The winner and the defaults as whole runs; the only ones that read the test part, and once."""
        numbers = {"winner": verdict.winner} | ({"defaults": default} if default is not None else {})
        if default == verdict.winner:
            numbers = {"defaults": verdict.winner}
        by_number = {one.number: one for one in self.found}
        works = []
        for name, number in numbers.items():
            plain = self.search.document(chosen_of(by_number[number], self.search.space).values, self.config.seed)
            place = self.home / name
            works.append(Work(name, self.calls["final"], {"values": plain, "folder": str(place)}, place / "log.txt"))
        news = self.search.work_off(works, "measured on test:")
        if lost := [name for name in numbers if news[name].kind != "done"]:
            raise GenreError(f"{self.home / lost[0]}: {news[lost[0]].data.get('reason')}; see log.txt there")
        return {name: self.home / name for name in numbers}

    def _compared(self, runs: dict[str, Path]) -> dict[str, Any]:
        """What the runs came to on test, and the paired difference of the winner to the defaults."""
        metrics = {name: _json(folder / "evaluate" / "metrics.json") for name, folder in runs.items()}
        first = next(iter(metrics.values()))
        systems = [one for one in ("genre", "model") if one in first["systems"]]
        values = {
            name: {s: {k: v for k, v in found["systems"][s].items() if v["value"] is not None} for s in systems}
            for name, found in metrics.items()
        }
        pair = [runs["defaults"], runs["winner"]] if len(runs) > 1 else []
        beside = [one for one in Comparison(pair).differences if one["metric"] in COMPARED] if pair else []
        return {"values": values, "gate": first["gate"], "comparisons": beside}

    def _best(self, number: int) -> str:
        trial = next(one for one in self.found if one.number == number)
        values = {k: v for k, v in chosen_of(trial, self.search.space).values.items() if k != "search"}
        values = {"name": f"{self.config.name}-best", **{k: v for k, v in values.items() if k != "name"}}
        head = f"# What 'genre search' chose: trial {number} of {self.home}. Ready for 'genre run'.\n"
        return head + yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=100)

    def _facts(
        self,
        verdict: Verdict,
        contenders: dict[int, Contender],
        baselines: dict[str, list[dict[str, Any]]],
        default: int | None,
    ) -> dict[str, Any]:
        again = {
            str(n): {"values": c.values.tolist(), "mean": c.mean, "train_seconds": c.seconds}
            for n, c in contenders.items()
        }
        return {
            "name": self.config.name,
            "objectives": dict(zip(self.objectives, self.search.larger, strict=True)),
            "searcher": name_of(self.section.searcher),
            "pruner": name_of(self.section.pruner) if self.search.column else "none",
            "space": {one.name: one.words() for one in self.search.space.parameters.values()},
            "points": None if np.isinf(self.search.space.count()) else self.search.space.count(),
            "defaults": default,
            "trials": [self._row(one) for one in self.found if one.state.is_finished()],
            "repeats": again,
            "rule": RULE.format(leaders=self.section.leaders, repeats=self.section.repeats),
            "verdict": verdict.as_json(),
            "pareto": pareto(self.found, self.search.larger) if len(self.objectives) > 1 else [],
            "importances": importances(self.trials, len(self.objectives)),
            "baselines": baselines,
            "best_of_n": self._best_of_n(baselines),
            "saved": saved(self.found),
            "seconds": float(self.trials.study.user_attrs.get("seconds", 0.0)),
        }

    def _row(self, one: FrozenTrial) -> dict[str, Any]:
        values = dict(zip(self.objectives, one.values, strict=True)) if one.state.name == "COMPLETE" else {}
        took = None if one.duration is None else round(one.duration.total_seconds(), 2)
        result = one.user_attrs.get("result", {})
        row = {"number": one.number, "state": one.state.name.lower(), "chosen": one.params, "values": values}
        row |= {"seconds": took, "epochs": result.get("epochs"), "train_seconds": result.get("train_seconds")}
        row |= {"reason": one.user_attrs.get("reason"), "attempts": one.user_attrs.get("attempts", 1)}
        return row | {"curve": {str(step): value for step, value in one.intermediate_values.items()}}

    def _best_of_n(self, baselines: dict[str, list[dict[str, Any]]]) -> dict[str, list[float]]:
        """The best expected after so many trials: of the model, of each baseline."""
        own = [one.values[0] for one in self.found if one.state.name == "COMPLETE"]
        if judge_of(self.first) != self.first and self.first != PIPELINE:
            baselines = {}  # they are judged by another measure than the model
        known = {name: [t["value"] for t in found if t["value"] is not None] for name, found in baselines.items()}
        of = {"the model": own, **known}
        return {name: expected_best(values, self.larger) for name, values in of.items() if values}


def _contender(number: int, results: list[dict[str, Any]], folders: list[Path], objective: str) -> Contender:
    units = [np.load(folder / "units.npz")["value"] for folder in folders if (folder / "units.npz").exists()]
    same = len(units) == len(folders) and len({one.shape for one in units}) == 1
    return Contender(
        number,
        np.array([one["values"][objective] for one in results], dtype=np.float64),
        float(np.mean([one["train_seconds"] for one in results])),
        np.stack(units) if same else None,
    )


def importances(trials: Trials, objectives: int) -> dict[str, float]:
    """How much of what differs between trials goes with each value; by fANOVA, of those that all trials have.

    Hutter, Hoos and Leyton-Brown (2014), https://proceedings.mlr.press/v32/hutter14.html. Empty where there is too
    little to tell.
    """
    import optuna

    done = [one for one in trials.all() if one.state.name == "COMPLETE"]
    if len(done) < 4 or len({tuple(one.values) for one in done}) < 2:
        return {}
    with quietly():
        try:
            target = (lambda one: one.values[0]) if objectives > 1 else None
            evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
            return optuna.importance.get_param_importances(trials.study, evaluator=evaluator, target=target)
        except (ValueError, RuntimeError, ImportError):
            return {}


def saved(trials: list[FrozenTrial]) -> dict[str, float]:
    """What stopping trials early saved: epochs that they would have had if they had gone on like the others."""
    whole = [one.user_attrs["result"]["epochs"] for one in trials if one.state.name == "COMPLETE"]
    stopped = [one.user_attrs["result"]["epochs"] for one in trials if one.state.name == "PRUNED"]
    mean = float(np.mean(whole)) if whole else 0.0
    kept = sum(max(0.0, mean - one) for one in stopped)
    trained = float(sum(whole) + sum(stopped))
    return {"stopped": len(stopped), "epochs_trained": trained, "epochs_saved": round(kept, 1)}


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
