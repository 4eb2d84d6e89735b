"""What the rows of a log are worth, by the configuration."""

from __future__ import annotations

from typing import Any

import numpy as np

from genre.component import suggest
from genre.data import Log
from genre.errors import ConfigError
from genre.estimators import Doubles
from genre.labels import Label
from genre.learnsection import RewardSection
from genre.types import Bools


def rewards(section: RewardSection, log: Log, heads: dict[str, Any]) -> Doubles:
    """Reward of each row: ``[rows]``. Raises `ConfigError` where nothing of the log is worth anything."""
    worth = np.array([section.events.get(action, 0.0) for action in log.actions])
    reward = worth[log.action].astype(np.float64)
    numbers = {"value": log.value, **log.columns}
    for name, weight in section.columns.items():
        if name not in numbers:
            near = suggest(name, list(numbers))
            raise ConfigError([f"learn.reward.columns.{name}: the log has no such number; {near}"])
        reward += weight * np.nan_to_num(numbers[name].astype(np.float64))
    for name, weight in section.heads.items():
        text = getattr(heads.get(name), "label", None)
        if text is None:
            near = suggest(name, [head for head, one in heads.items() if hasattr(one, "label")])
            raise ConfigError([f"learn.reward.heads.{name}: no head of that name has a label; {near}"])
        reward += weight * np.nan_to_num(Label.parse(text).evaluate(log).astype(np.float64))
    if len(reward) and not reward.any():
        raise ConfigError(
            [f"learn.reward: no row of the log is worth anything; its actions are {', '.join(log.actions)}, as in "
             f"learn.reward.events: {{{log.actions[0]}: 1}}"]
        )  # fmt: skip
    return reward


def goes_on(person: Any, time: Doubles, session_minutes: float) -> Bools:
    """Of slates in the order of people and time: whether the session of each but the last goes on with the next."""
    return (np.diff(person) == 0) & ~(np.diff(time) > 60 * session_minutes)


def to_go(reward: Doubles, person: Any, time: Doubles, discount: float, session_minutes: float) -> Doubles:
    """Of slates in the order of people and time: what each earns, and the rest of its session, discounted."""
    own = reward.astype(np.float64)
    total = own
    if not discount or len(own) < 2:
        return total
    more = goes_on(person, time, session_minutes)
    # What is a slate further on is added in each pass, for all at once.
    while True:
        further = own.copy()
        further[:-1] += np.where(more, discount * total[1:], 0.0)
        if np.allclose(further, total, rtol=1e-12, atol=1e-12):
            return further
        total = further
