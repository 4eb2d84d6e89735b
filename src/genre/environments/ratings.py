"""A world of ratings that are all known."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveInt, WithJsonSchema

from genre.component import Slot, component
from genre.datasets import Reader
from genre.environments import World
from genre.errors import DataError
from genre.sections import Share, slot
from genre.text import texts_of

NAMED = {"type": "object", "properties": {"type": {"type": "string"}}, "required": ["type"]}


@component
class Ratings:
    """Plays back a log in which people rated nearly everything, so that what any policy earns is a fact.

    For Jester (its people who rated all jokes) and, less densely, the random test of Coat (``part: test``), where a
    person is offered the 16 coats drawn for them. For sparse logs take `simulator`, whose answers are a model's.
    A reward is the rating, brought to 0 to 1 by the lowest and highest of the log.
    """

    reader: Annotated[Reader, Slot("datasets"), WithJsonSchema({"anyOf": [{"type": "string"}, NAMED]})] = slot(
        "datasets", "jester"
    )
    """Where the ratings are read."""
    part: str | None = None
    """Rows of this part of the log alone are played back, and the others are the past (Coat: ``test``); none: each
    person is either played or past."""
    dense: Share = 1.0
    """Least share of the items that a person must have rated to be played; smaller lets in more people."""
    visits: PositiveInt = 20
    """Times that each person comes; more tell more of the later ones, and of fewer people."""
    new: Share = 0.2
    """Share of the items, drawn by the seed, that are new: of which the past knows nothing."""
    offer: Literal["all", "new", "old"] = "all"
    """Which items may be shown."""
    past: Share = 0.5
    """Share of the people who are past: what is known before anything is shown. Ignored where ``part`` is set."""
    text: str = "text"
    """Column of the items that is an item's text, or a template such as ``{title} ({year})``."""
    noise: Annotated[float, Field(ge=0)] = 0.0
    """Standard deviation of a reward around the rating; larger makes it harder."""
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
        columns = {name: np.array(log[name].to_pylist()) for name in ("user_id", "item_id")}
        names, person = np.unique(columns["user_id"], return_inverse=True)
        ids = items["item_id"].to_pylist()
        row = {one: number for number, one in enumerate(ids)}
        item = np.array([row[one] for one in columns["item_id"].tolist()])
        value = np.array(log["value"].to_pylist(), dtype=np.float64)
        value = (value - value.min()) / max(float(np.ptp(value)), 1e-12)
        parts = np.array(log["part"].to_pylist()) if self.part else np.full(len(value), "")
        played = np.asarray(parts == (self.part or ""))
        table, earlier = np.full((len(names), len(ids)), np.nan), np.full((len(names), len(ids)), np.nan)
        table[person[played], item[played]] = value[played]
        earlier[person[~played], item[~played]] = value[~played]
        return self._of(table, earlier if self.part else None, texts, rounds, seed)

    def _of(self, table: np.ndarray, earlier: np.ndarray | None, texts: list[str], rounds: int, seed: int) -> World:
        rng = np.random.default_rng([seed, 11])
        n_items = table.shape[1]
        new = np.zeros(n_items, dtype=bool)
        new[rng.permutation(n_items)[: round(self.new * n_items)]] = True
        people = rng.permutation(len(table))
        rated = np.isfinite(table).sum(1)
        fit = rated >= max(1, self.dense * n_items)
        before = earlier if earlier is not None else table[people[: round(self.past * len(table))]]
        rest = people if earlier is not None else people[round(self.past * len(table)) :]
        playing = np.asarray(rest[fit[rest]])[: max(1, rounds // self.visits)]
        if not len(playing):
            raise DataError(f"simulate.environment.dense: nobody rated {self.dense:.0%} of the items; set it lower")
        past = before.copy()
        past[:, new] = np.nan
        order = np.resize(rng.permutation(np.repeat(np.arange(len(playing)), self.visits)), rounds)
        offered = {"all": None, "new": new, "old": ~new}[self.offer]
        return World(
            table[playing], self.noise, past, new, tuple(texts), order.astype(np.int32), self.drift, self.delay, offered
        )
