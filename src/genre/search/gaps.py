"""How far apart groups of people, or of items, are served: the fairness gap as an objective of a search.

Of people it is the difference between groups of users of Li et al., User-oriented Fairness in Recommendation (2021),
https://arxiv.org/abs/2104.10671, taken over all pairs of groups; of items the same over groups of relevant items.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from genre.cases import Cases
from genre.errors import GenreError
from genre.metrics import Metric, Ranking
from genre.searchsection import BY_HISTORY, BY_POPULARITY, Gap
from genre.slices import FEWEST, Slice, slices
from genre.systems import mean, measure, subset
from genre.types import Ints

if TYPE_CHECKING:
    import pyarrow as pa

PREFIX = {BY_HISTORY: "user_history_", BY_POPULARITY: "item_popularity_"}
"""How the names of slices begin that divide all cases."""


def groups_of(cases: Cases, counts: Ints, users: pa.Table, by: str) -> list[Slice]:
    """The groups that ``by`` makes of the cases, but for those that are too small to tell anything.

    Raises `GenreError` where the users have no such column, or fewer than two groups are left.
    """
    columns = [name for name in users.column_names if name != "user_id"]
    if by not in PREFIX and by not in columns:
        known = f"they have {', '.join(columns)}" if columns else "they have none"
        raise GenreError(f"search.objectives: the users have no column '{by}'; {known}; or history, or popularity")
    begins = PREFIX.get(by, f"{by}=")
    found = [one for one in slices(cases, counts, users) if one.name.startswith(begins) and len(one.rows) >= FEWEST]
    if len(found) < 2:
        what = f"'{by}' makes {len(found)} group(s) of at least {FEWEST} of the {len(cases)} cases of validation"
        raise GenreError(f"search.objectives: {what}, and a gap needs two; group by something else")
    return found


def gap(ranking: Ranking, groups: list[Slice], metric: Metric, key: str) -> float:
    """The largest difference of a metric's mean between two groups; NaN where fewer than two have a value."""
    means = [mean(measure(subset(ranking, one.rows, one.targets), [metric])[key]) for one in groups]
    known = [one for one in means if one is not None]
    return float(np.ptp(known)) if len(known) > 1 else float("nan")


def insist_on_groups(objectives: list[str], cases: Cases, counts: Ints, users: pa.Table) -> None:
    """Raise `GenreError` for a gap that these data have no groups for, before any trial fails of it."""
    for gap_asked in filter(None, map(Gap.of, objectives)):
        groups_of(cases, counts, users, gap_asked.by)
