"""Logs of which the truth is known: people who rated everything that they might have been shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from genre.component import Slot
from genre.data import PARTS
from genre.estimators import Evidence
from genre.learn.decisions import Decisions
from genre.learn.rewardmodel import RewardModel, Situation

ARMS = 20


@dataclass(frozen=True)
class Known:
    """People, each with the same number of items of known reward."""

    reward: np.ndarray
    """``[people, m]``, 0 to 1."""
    about: np.ndarray
    """``[people, m, f]``: what is known of a person and an item."""
    scores: np.ndarray
    """``[people, m]``: what a supervised model says, which has seen other ratings."""

    def chances(self, temperature: float, explore: float = 0.0, by: np.ndarray | None = None) -> np.ndarray:
        """A softmax over standardised scores."""
        scores = self.scores if by is None else by
        scores = (scores - scores.mean(1, keepdims=True)) / np.maximum(scores.std(1, keepdims=True), 1e-12)
        mass = np.exp((scores - scores.max(1, keepdims=True)) / temperature)
        return (1 - explore) * mass / mass.sum(1, keepdims=True) + explore / scores.shape[1]


def jester() -> Known:
    """Jester's people who rated all jokes: 20 jokes to choose from, the other 80 tell who they are."""
    table = _table("jester")
    full = table[np.isfinite(table).all(1)]
    rng = np.random.default_rng(0)
    jokes = rng.permutation(table.shape[1])
    arms, other = jokes[:ARMS], jokes[ARMS:]
    half = np.arange(len(full)) < len(full) // 2
    centred = full[:, other] - full[half][:, other].mean(0)
    _, _, directions = np.linalg.svd(centred[half], full_matrices=False)
    person = centred @ directions[:8].T
    person /= person.std(0)
    rows = np.concatenate([np.ones((len(full), 1)), person], 1)
    past, later = rows[half], rows[~half]
    fitted = np.linalg.solve(past.T @ past + 10 * np.eye(rows.shape[1]), past.T @ full[half][:, arms])
    # The supervised model saw a tenth of what it might have: a good start that can be bettered.
    few = rng.permutation(np.flatnonzero(half))[: half.sum() // 10]
    weak = np.linalg.solve(rows[few].T @ rows[few] + 30 * np.eye(rows.shape[1]), rows[few].T @ full[few][:, arms])
    about = later[:, None, 1:] * fitted.T[None, :, 1:]
    return Known(full[~half][:, arms], about, later @ weak)


def coat() -> Known:
    """Coat's random test: 16 coats a person, drawn evenly; who they are and what the coats are is known in words."""
    found = Slot("datasets").build("coat").read()
    log: Any = found.interactions.to_pylist()
    people = _flags(found.users, ("gender", "age", "location", "fashion_interest"))
    coats = _flags(found.items, ("gender", "kind", "colour"))
    mine: dict[int, list[tuple[int, float]]] = {}
    past = []
    for row in log:
        person, item, value = int(row["user_id"]), int(row["item_id"]), (row["value"] - 1) / 4
        if row["part"] == "test":
            mine.setdefault(person, []).append((item, value))
        else:
            past.append((person, item, value))
    person, item, value = (np.array(column) for column in zip(*past, strict=True))
    rows = _crossed(people[person], coats[item])
    weights = np.linalg.solve(rows.T @ rows + 30 * np.eye(rows.shape[1]), rows.T @ (value - value.mean()))
    who = sorted(mine)
    items = np.array([[one for one, _ in mine[person]] for person in who])
    reward = np.array([[value for _, value in mine[person]] for person in who])
    scores = _crossed(people[who][:, None, :], coats[items]) @ weights
    # There are 290 people: what they share with many others alone is learned from a log.
    gender = people[:, : len(set(found.users["gender"].to_pylist()))]
    return Known(reward, _crossed(gender[who][:, None, :], coats[items]), scores)


def _crossed(people: np.ndarray, coats: np.ndarray) -> np.ndarray:
    shape = np.broadcast_shapes(people.shape[:-1], coats.shape[:-1])
    both = (people[..., :, None] * coats[..., None, :]).reshape(*shape, -1)
    return np.concatenate([np.broadcast_to(coats, (*shape, coats.shape[-1])), both], -1)


def _flags(table: Any, names: tuple[str, ...]) -> np.ndarray:
    columns = []
    for name in names:
        words = table[name].to_pylist()
        columns += [[float(word == one) for word in words] for one in sorted(set(words))]
    return np.array(columns).T


def _table(name: str) -> np.ndarray:
    log = Slot("datasets").build(name).read().interactions
    person = np.array([int(one) for one in log["user_id"].to_pylist()])
    item = np.array([int(one) for one in log["item_id"].to_pylist()])
    value = np.array([float(one) for one in log["value"].to_pylist()])
    table = np.full((person.max() + 1, item.max() + 1), np.nan)
    table[person, item] = (value + 10) / 20
    return table


def logged(known: Known, people: np.ndarray, logging: np.ndarray, rng: np.random.Generator) -> Decisions:
    """What a policy with these chances showed to some people, one item each."""
    n, m = len(people), known.reward.shape[1]
    shown = (rng.random((n, 1)) > np.cumsum(logging[people], 1)).sum(1).clip(0, m - 1)
    situation = Situation(np.zeros((n, 0)), np.zeros((m, 0)), known.about[people], people.astype(np.int32))
    part = np.full(n, PARTS.index("train"), dtype=np.int8)
    return Decisions(
        item=shown[:, None],
        reward=known.reward[people, shown][:, None],
        propensity=logging[people, shown][:, None],
        part=part,
        catalogue=np.arange(m, dtype=np.int32),
        scores=known.scores[people],
        known=situation,
        n_items=m,
        facts={},
    )


def evidence_of(found: Decisions, target: np.ndarray) -> Evidence:
    """Evidence on a policy whose chances, ``[n, m]``, are at hand."""
    rows, shown = np.arange(len(found)), found.item[:, 0]
    model = RewardModel.fit(found.known, rows, shown, np.zeros(len(rows), dtype=np.int64), found.reward[:, 0], 1)
    said = model.predict(found.known, rows)
    columns = (target[rows, shown], said[rows, shown], (target * said).sum(1))
    return Evidence(found.reward, found.propensity, *(column[:, None] for column in columns))
