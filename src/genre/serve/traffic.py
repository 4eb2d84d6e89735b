"""The share of slates that were answered to, with what is known of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from genre.store import Store
from genre.store.traffic import By, Counted, counted

Window = Literal["hour", "day"]
SECONDS: dict[Window, float] = {"hour": 3600.0, "day": 86400.0}
Z = 1.959964
"""Deviations on either side of 95 of 100."""


@dataclass(frozen=True)
class Traffic:
    """Some slates, and how they were answered to."""

    since: float | None
    """When the window began; None for all together."""
    model: str | None
    rung: str | None
    experiment: str | None
    arm: str | None
    users: int
    slates: int
    answered: int
    rate: float
    ci95: tuple[float, float] | None
    """None for fewer than two users."""


def traffic(
    store: Store, by: By, window: Window, since: float, until: float, actions: list[str]
) -> tuple[list[Traffic], list[Traffic]]:
    """All together, and by windows of UTC hours or days."""
    seconds = SECONDS[window]
    found = [_told(one, seconds) for one in counted(store.access, by, seconds, since, until, actions)]
    return [one for one in found if one.since is None], [one for one in found if one.since is not None]


def _told(one: Counted, seconds: float) -> Traffic:
    since = None if one.window is None else one.window * seconds
    facts = (one.model, one.rung, one.experiment, one.arm, one.users, one.slates, one.hits)
    return Traffic(since, *facts, one.hits / one.slates, interval(one))


def interval(one: Counted) -> tuple[float, float] | None:
    """The 95 % interval of the rate, where users are what is drawn and a user's slates belong together.

    The variance is that of a ratio of sums over users; the slates are then counted as so many independent ones as would
    have that variance, and Wilson's interval taken of these: Franco et al. (2019), https://pmc.ncbi.nlm.nih.gov/articles/PMC6690503,
    who recommend it, and say that with few users it is somewhat too short.
    """
    n, rate, users = one.slates, one.hits / one.slates, one.users
    if users < 2:
        return None
    hh, hn, nn = one.squares
    spread = max(hh - 2 * rate * hn + rate * rate * nn, 0.0) * users / (users - 1) / n**2
    # Where all fared alike their spread says nothing: each user is then one that is known, and no more.
    independent = min(rate * (1 - rate) / spread, float(n)) if spread > 0 else float(users)
    middle = (rate + Z * Z / (2 * independent)) / (1 + Z * Z / independent)
    half = Z * (rate * (1 - rate) / independent + (Z / (2 * independent)) ** 2) ** 0.5 / (1 + Z * Z / independent)
    return max(0.0, middle - half), min(1.0, middle + half)
