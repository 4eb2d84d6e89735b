"""`genre learn simulate`: policies play the same worlds, and their regret is told with intervals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from genre.component import describe, names
from genre.config import Config
from genre.environments import Doubles, World
from genre.errors import ConfigError
from genre.files import write_json, write_text
from genre.learn.figures import regret_curves
from genre.learn.knowledge import Kind, Knowledge
from genre.learn.playing import Played, play

POINTS = 60
"""Points of a curve."""


def simulate(config: Config, folder: Path, texts: bool = True, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Play ``learn.simulate.policies`` in its environment; writes ``simulate.json`` and ``simulate.svg``.

    With ``texts`` the language model of ``model.backbone`` reads the items, and policies know what its vectors tell.
    """
    section = config.learn.simulate
    if section.environment is None:
        known = ", ".join(names("environments"))
        raise ConfigError([f"learn.simulate.environment: set what to play in, one of {known}"])
    played: dict[str, list[Played]] = {name: [] for name in section.policies}
    facts: list[dict[str, float]] = []
    read = _reader(config) if texts else None
    world: World | None = None
    for seed in range(section.seeds):
        world = section.environment.build(section.rounds, config.seed + seed)
        kind: Kind = "past" if read is None else "text"
        knowledge = Knowledge.of(world, kind, None if read is None else read(world.texts))
        for name, policy in section.policies.items():
            played[name].append(play(world, policy, knowledge, section.slate, config.seed + seed))
        facts.append(world.facts)
        say(f"{seed + 1}/{section.seeds}")
    result = {
        "environment": describe(section.environment),
        "rounds": section.rounds,
        "slate": section.slate,
        "seeds": section.seeds,
        "texts": texts,
        "world": {name: float(np.mean([one[name] for one in facts])) for name in facts[0]},
        "policies": {name: told(some) for name, some in played.items()},
    }
    write_json(folder / "simulate.json", result)
    write_text(folder / "simulate.svg", regret_curves(result["policies"]))
    return result


def _reader(config: Config) -> Callable[[tuple[str, ...]], Doubles]:
    from genre.model import text_embedder

    embed, kept = text_embedder(config), {}

    def read(texts: tuple[str, ...]) -> Doubles:
        if texts not in kept:
            kept[texts] = np.asarray(embed(list(texts)), dtype=np.float64)
        return kept[texts]

    return read


def told(played: list[Played]) -> dict[str, Any]:
    """Totals and curves of one policy's repetitions, each with a 95 % interval."""
    regret = np.stack([one.regret for one in played])
    first = np.stack([_by_visit(one) for one in played])
    at = np.unique(np.linspace(0, regret.shape[1] - 1, POINTS).astype(int))
    return {
        "regret": estimate(regret.sum(1)),
        "regret_a_round": estimate(regret.mean(1)),
        "reward": estimate(np.array([one.reward.sum() for one in played])),
        "of_best": estimate(np.array([one.reward.sum() / max(one.best.sum(), 1e-12) for one in played])),
        "new_items": estimate(np.array([one.new.mean() for one in played])),
        "first_visits": estimate(first.sum(1)),
        "curve": {"round": (at + 1).tolist(), "regret": [estimate(one) for one in np.cumsum(regret, 1)[:, at].T]},
        "cold": {"visit": list(range(1, first.shape[1] + 1)), "regret": [estimate(one) for one in first.T]},
    }


def _by_visit(one: Played, most: int = 20) -> Doubles:
    """Mean regret of people's first, second, ... visit."""
    visits = min(most, int(one.visit.max()) + 1)
    counts = np.bincount(one.visit, minlength=visits)[:visits]
    return np.bincount(one.visit, one.regret, visits)[:visits] / np.maximum(counts, 1)


def estimate(values: Doubles) -> dict[str, Any]:
    """Mean over repetitions with a 95 % interval, by Student's t: few, and near to normal."""
    from scipy.stats import t

    mean, n = float(values.mean()), len(values)
    half = float(t.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n))
    return {"value": mean, "ci95": [mean - half, mean + half]}
