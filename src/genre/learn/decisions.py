"""The slates that a run's log says were shown, with all that a policy might have shown instead."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genre.config import Config
from genre.data import PARTS, Dataset, Histories, Log
from genre.errors import ConfigError, DataError, RunError
from genre.estimators import Doubles
from genre.learn.logchecks import check_propensities, check_rewards, estimated
from genre.learn.rewardmodel import Situation
from genre.learn.rewards import goes_on, rewards, to_go
from genre.learnsection import LearnSection
from genre.policies import Arms, Feedback
from genre.resources import load_model
from genre.run import Run
from genre.types import Bools, Ints, State

BLOCK = 256
TABLE = "data/interactions.parquet"
MOST = 100_000_000
"""Numbers that are kept of slates and items at most: 800 MB."""


@dataclass(frozen=True)
class Decisions:
    """``n`` slates of ``k`` places at most, in the order of people and time, and ``m`` items to choose from."""

    item: NDArray[np.int64]
    """``[n, k]``: which of the ``m`` items was shown at each place; -1 below the end of a slate."""
    reward: Doubles
    """``[n, k]``: 0 below the end."""
    propensity: Doubles
    """``[n, k]``: 1 below the end."""
    part: NDArray[np.int8]
    """``[n]``: the part of the split that the slate belongs to."""
    catalogue: Ints
    """``[m]``: rows of the items table."""
    scores: Doubles
    """``[n, m]``: what the supervised model says of each, before what was shown was known."""
    known: Situation
    n_items: int
    facts: dict[str, Any]
    """How many slates were left out, by reason; how good estimated propensities are."""
    discount: float = 0.0
    """Share that counts of what the rest of a session earns."""
    ahead: Doubles = field(default_factory=lambda: np.zeros(0))
    """``[n]``: that share, which the reward of the first place holds."""
    following: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """``[n]``: the next slate of the same session; -1 where there is none, or none among these."""
    scales: State = field(default_factory=dict)
    """What makes the same contexts of another person: ``size`` divides people's vectors, ``head_mean`` and
    ``head_spread`` bring what heads predict to mean 0 and deviation 1."""
    heads: tuple[str, ...] = ()
    """The heads whose predictions are in the contexts."""

    def __post_init__(self) -> None:
        if not len(self.ahead):
            object.__setattr__(self, "ahead", np.zeros(len(self.item)))
            object.__setattr__(self, "following", np.full(len(self.item), -1))

    def __len__(self) -> int:
        return len(self.item)

    @property
    def shown(self) -> Bools:
        """``[n, k]``: places that were filled."""
        return self.item >= 0

    def arms(self, n: int) -> Arms:
        """What could be shown in one slate."""
        products = self.known.people[n] * self.known.items
        return Arms(self.catalogue, self.scores[n], np.concatenate([products, self.known.heads[n]], 1))

    @property
    def dim(self) -> int:
        """Length of a context."""
        return self.known.items.shape[1] + self.known.heads.shape[2]

    def feedback(self) -> Feedback:
        """All slates as feedback for a policy."""
        slate, place = np.nonzero(self.shown)
        item = self.item[slate, place]
        return Feedback(
            self.catalogue[item],
            self.reward[slate, place],
            self.known.of(slate, item),
            self.scores[slate, item],
            place.astype(np.int32),
            slate.astype(np.int64),
        )

    def where(self, mask: Bools) -> Decisions:
        """Some of the slates."""
        known = self.known
        kept = Situation(known.people[mask], known.items, known.heads[mask], known.person[mask])
        names = ("item", "reward", "propensity", "part", "scores", "ahead")
        number = np.where(mask, np.cumsum(mask) - 1, -1)
        after = self.following[mask]
        following = np.where(after >= 0, number[np.maximum(after, 0)], -1)
        return replace(self, known=kept, following=following, **{name: getattr(self, name)[mask] for name in names})


def decisions(config: Config, run: Run) -> Decisions:
    """The slates in a run's log. Raises `GenreError` where it holds none, or the run no model that ranks."""
    section = config.learn
    data = Dataset.load(run.path("data"))
    log = Log.of(data)
    reward = rewards(section.reward, log, config.model.heads)
    check_rewards(reward, TABLE)
    slate, place, rows, left = _slates(log, data, section)
    n, k = int(slate.max(initial=-1)) + 1, int(place.max(initial=-1)) + 1
    if not n:
        raise DataError(f"the log holds no slate that can be judged; left out: {left}")
    first = np.full(n, len(log))
    np.minimum.at(first, slate, rows)
    shown_items, at = np.unique(log.item[rows], return_inverse=True)
    names = _heads(config)
    if n * len(shown_items) * (1 + len(names)) > MOST:
        sizes = f"{n} slates times {len(shown_items)} items times {1 + len(names)} numbers"
        raise ConfigError([f"learn.items: {sizes} are too many to judge among; set fewer items, or heads"])
    logged = None if section.propensities == "estimated" else _logged(data, rows)
    # Only now, as it takes long: a log that cannot tell has been refused.
    model: Any = load_model(run, data)
    if model is None or getattr(model, "asking", None) is None or model.ranking_head is None:
        raise RunError(f"{run.folder}: judging and learning need a two_tower model with a head that ranks; train one")
    item, earned, chance = np.full((n, k), -1), np.zeros((n, k)), np.ones((n, k))
    item[slate, place], earned[slate, place] = at, reward[rows]
    histories = Histories.at(log, first)
    people, vectors = np.asarray(model.asking(histories), np.float64), np.asarray(model.item_vectors(), np.float64)
    items = vectors[shown_items]
    facts: dict[str, Any] = {"left_out": left}
    if logged is None:
        fitted = estimated(log.item[rows], people[slate], log.user[rows])
        logged, facts["propensities"] = fitted.propensity, fitted.facts
    chance[slate, place] = logged
    person, scores = log.user[first], people @ items.T
    discount, minutes = section.reward.discount, section.reward.session_minutes
    ahead = to_go(earned.sum(1), person, log.time[first], discount, minutes) - earned.sum(1)
    # What the rest of the session brings was earned by the slate as a whole: it counts at the top.
    earned[:, 0] += ahead
    size = float(np.sqrt(np.square(items).mean() * np.square(people).mean())) or 1.0
    heads = _predicted(names, model, histories, shown_items)
    mean, spread = heads.mean((0, 1)), np.maximum(heads.std((0, 1)), 1e-6)
    scales: State = {"size": np.array(size), "head_mean": mean, "head_spread": spread}
    known = Situation(people / size, items, (heads - mean) / spread, person)
    shown, part = shown_items.astype(np.int32), log.part[first]
    following = np.append(np.where(goes_on(person, log.time[first], minutes), np.arange(1, n), -1), -1)
    made = Decisions(item, earned, chance, part, shown, scores, known, log.n_items, facts)
    told = {"discount": discount, "ahead": ahead, "following": following}
    return replace(made, scales=scales, heads=tuple(names), **told)


def _slates(log: Log, data: Dataset, section: LearnSection) -> tuple[Any, Any, Any, dict[str, int]]:
    """Number, place and row of what was shown, and why slates were left out.

    Rows with one impression are one slate, in the order of ``position``; a row without one is a slate of its own.
    """
    position = np.nan_to_num(data.interactions["position"].to_numpy(zero_copy_only=False).astype(np.float64))
    rows = np.arange(len(log))
    alone = log.impression < 0
    keys = np.stack([log.user, np.where(alone, -1, log.impression), np.where(alone, rows, -1)])
    _, number = np.unique(keys, axis=1, return_inverse=True)
    order = np.lexsort((rows, position, number))
    number, rows = number[order], rows[order]
    place = np.arange(len(rows)) - np.searchsorted(number, number)
    counts = np.bincount(log.item[rows], minlength=log.n_items)
    wanted = np.argsort(-counts, kind="stable")[: section.items]
    outside = np.zeros(int(number.max(initial=-1)) + 1, dtype=bool)
    outside[number[~np.isin(log.item[rows], wanted)]] = True
    good = ~outside[number] & (place < section.slate)
    left = {f"an item beyond the {section.items} shown most (learn.items)": int(outside.sum())}
    number, place, rows = number[good], place[good], rows[good]
    # Numbered anew, in the order of their first rows: of people and time.
    names, number = np.unique(number, return_inverse=True)
    first = np.full(len(names), len(log))
    np.minimum.at(first, number, rows)
    rank = np.empty(len(names), dtype=np.int64)
    rank[np.argsort(first, kind="stable")] = np.arange(len(names))
    return rank[number], place, rows, {why: count for why, count in left.items() if count}


def _logged(data: Dataset, rows: Any) -> Doubles:
    """The log's own propensities. Raises `DataError` where one is none."""
    column = data.interactions["propensity"].to_numpy(zero_copy_only=False).astype(np.float64)
    used = np.ones(len(column))
    used[rows] = column[rows]
    check_propensities(used, TABLE)
    return column[rows]


def _heads(config: Config) -> list[str]:
    """Heads that predict one number of a person and an item."""
    return [
        name
        for name, head in config.model.heads.items()
        if head.predicts in ("binary", "regression") and head.reads == "features"
    ]


def _predicted(names: list[str], model: Any, histories: Histories, items: Ints) -> Doubles:
    """What some heads predict of every person and item: ``[n, m, heads]``."""
    n, m = len(histories), len(items)
    said = np.zeros((n, m, len(names)))
    for start in range(0, n, BLOCK):
        some = histories.take(np.arange(start, min(start + BLOCK, n)))
        owner = np.repeat(np.arange(len(some), dtype=np.int32), m)
        for at, name in enumerate(names):
            values = model.predict(name, some, np.tile(items, len(some)).astype(np.int32), owner)
            said[start : start + len(some), :, at] = values.reshape(len(some), m)
    return said


def of_part(found: Decisions, part: str) -> Decisions:
    """The slates of one part of the split. Raises `DataError` where there is none."""
    kept = found.where(found.part == PARTS.index(part))
    if not len(kept):
        raise DataError(f"no slate of the log is of the part '{part}'; choose a data.split that keeps some for it")
    return kept
