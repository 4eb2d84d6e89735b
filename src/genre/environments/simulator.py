"""A world of people like those of a log."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, WithJsonSchema
from scipy import sparse

from genre.component import Slot, component
from genre.datasets import Reader
from genre.environments import Doubles, World
from genre.errors import DataError
from genre.sections import Share, slot
from genre.text import texts_of

NAMED = {"type": "object", "properties": {"type": {"type": "string"}}, "required": ["type"]}


@component
class Simulator:
    """People whose tastes are a matrix factorisation of a log of ratings; a reward is 1 or 0, by the chance it gives.

    For logs too sparse for `ratings`. What wins here wins among people as that model sees them, so its own fit on
    held-out ratings stands in the results beside the error of each item's mean: where it is hardly better, the world
    is made up. ``drift`` and ``delay`` make the world harder in the two ways that real ones are.
    """

    reader: Annotated[Reader, Slot("datasets"), WithJsonSchema({"anyOf": [{"type": "string"}, NAMED]})] = slot(
        "datasets", "movielens"
    )
    """Where the log is read."""
    liked: float = 4.0
    """Least value that counts as liked; larger makes rewards rarer."""
    rank: PositiveInt = 8
    """Length of the taste vectors; larger fits closer."""
    reg: NonNegativeFloat = 5.0
    """Pull of the vectors to zero; larger fits less closely."""
    most_items: PositiveInt = 200
    """The most rated items alone; more are harder and slower."""
    visits: PositiveInt = 20
    """Times that each person comes."""
    new: Share = 0.2
    """Share of the items, drawn by the seed, that are new: of which the past knows nothing."""
    offer: Literal["all", "new", "old"] = "all"
    """Which items may be shown."""
    past: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Share of the people who are past; the others come."""
    text: str = "title"
    """Column of the items that is an item's text, or a template such as ``{title} ({year})``."""
    drift: Share = 0.0
    """Share of people's tastes that has changed by the last round; larger makes old feedback worth less."""
    delay: NonNegativeInt = 0
    """Rounds until a slate's feedback comes; larger makes policies without chance show the same for longer."""

    def build(self, rounds: int, seed: int) -> World:
        found = self.reader.read()
        log, items = found.interactions, found.items
        if items is None:
            raise DataError("simulate.environment.text: the data set has no table of items to read")
        texts = texts_of(items, self.text, "simulate.environment.text")
        names, counts = np.unique(np.array(log["item_id"].to_pylist()), return_counts=True)
        kept = names[np.argsort(-counts, kind="stable")[: self.most_items]]
        rows = np.isin(log["item_id"].to_pylist(), kept)
        item = np.searchsorted(np.sort(kept), np.array(log["item_id"].to_pylist())[rows])
        _, person = np.unique(np.array(log["user_id"].to_pylist())[rows], return_inverse=True)
        value = np.array([float(one) for one in log["value"].to_pylist()])[rows]
        liked = (value >= self.liked).astype(np.float64)
        shape = (int(person.max()) + 1, len(kept))
        rng = np.random.default_rng([seed, 13])
        held = rng.random(len(liked)) < 0.1
        train = sparse.csr_matrix((liked[~held], (person[~held], item[~held])), shape)
        seen = sparse.csr_matrix((np.ones((~held).sum()), (person[~held], item[~held])), shape)
        chance, mean = self._fit(train, seen)
        facts = {
            "held_out_rmse": _rmse(liked[held], chance[person[held], item[held]]),
            "item_mean_rmse": _rmse(liked[held], mean[item[held]]),
            "ratings": float(len(liked)),
        }
        known = dict(zip(items["item_id"].to_pylist(), texts, strict=True))
        own = tuple(known[one] for one in np.sort(kept).tolist())
        return self._world(chance, train, seen, own, facts, rounds, rng)

    def _fit(self, train: Any, seen: Any) -> tuple[Doubles, Doubles]:
        """Chance of liking for every pair, and for each item; by alternating ridge regressions."""
        overall = train.sum() / seen.sum()
        mean = np.asarray((train.sum(0) + 10 * overall) / (seen.sum(0) + 10)).ravel()
        left = train - seen.multiply(mean[None, :]).tocsr()
        rng = np.random.default_rng(0)
        people = np.zeros((train.shape[0], self.rank + 1))
        items = np.concatenate([np.ones((train.shape[1], 1)), 0.1 * rng.normal(size=(train.shape[1], self.rank))], 1)
        for _ in range(15):
            people = _solved(left, seen, items, self.reg)
            tastes = _solved(left.T.tocsr(), seen.T.tocsr(), people, self.reg)
            items[:, 1:] = tastes[:, 1:]
        return np.clip(mean + people @ items.T, 0.02, 0.98), mean

    def _world(
        self,
        chance: Doubles,
        train: Any,
        seen: Any,
        texts: tuple[str, ...],
        facts: dict[str, float],
        rounds: int,
        rng: Any,
    ) -> World:
        n_people, n_items = chance.shape
        new = np.zeros(n_items, dtype=bool)
        new[rng.permutation(n_items)[: round(self.new * n_items)]] = True
        people = rng.permutation(n_people)
        before, rest = people[: round(self.past * n_people)], people[round(self.past * n_people) :]
        past = np.where(seen[before].toarray() > 0, train[before].toarray(), np.nan)
        past[:, new] = np.nan
        playing = rest[: max(1, rounds // self.visits)]
        order = np.resize(rng.permutation(np.repeat(np.arange(len(playing)), self.visits)), rounds)
        offered = {"all": None, "new": new, "old": ~new}[self.offer]
        return World(
            chance[playing], -1.0, past, new, texts, order.astype(np.int32), self.drift, self.delay, offered, facts
        )


def _solved(left: Any, seen: Any, other: Doubles, reg: float) -> Doubles:
    """Ridge regression of each row of ``left``, where it was ``seen``, on the vectors of the columns."""
    width = other.shape[1]
    grams = (seen @ (other[:, :, None] * other[:, None, :]).reshape(len(other), -1)).reshape(-1, width, width)
    return np.linalg.solve(grams + reg * np.eye(width), (left @ other)[:, :, None])[:, :, 0]


def _rmse(true: Doubles, said: Doubles) -> float:
    return float(np.sqrt(np.square(true - said).mean()))
