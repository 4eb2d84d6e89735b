"""F1 of places in texts."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from genre.component import component
from genre.metrics import Predictions, Values
from genre.types import Ints


@component
class EntityF1:
    """F1 over the places of all texts: one is found where its first token, last token and label are all right.

    As in CoNLL: a token inside a place of another label, or after one outside, begins a place. Tjong Kim Sang and De
    Meulder (2003), https://aclanthology.org/W03-0419. NaN where there is no place and none is named.
    """

    needs: ClassVar[Literal["tokens"]] = "tokens"
    larger_is_better: ClassVar[bool] = True

    def measure(self, outcome: Predictions) -> Values:
        true, named = (_places(one.astype(np.int64), outcome.group) for one in (outcome.truth, outcome.prediction))
        either = int((true > 0).sum() + (named > 0).sum())
        found = int(((true == named) & (true > 0)).sum())
        return {"entity_f1": np.array(2 * found / either if either else np.nan)}


def _places(classes: NDArray[np.int64], text: Ints) -> NDArray[np.int64]:
    """Where a place begins, a number for its label and its last token, else 0: ``[n]``."""
    n, label, within = len(classes), (classes - 1) // 2, classes > 0
    follows = np.zeros(n, dtype=bool)
    follows[1:] = within[:-1] & (label[1:] == label[:-1]) & (text[1:] == text[:-1]) & (classes[1:] % 2 == 0)
    begins, goes_on = within & ~follows, np.append(follows[1:], False)[:n]
    places = np.zeros(n, dtype=np.int64)
    places[begins] = 1 + label[begins] * n + np.flatnonzero(within & ~goes_on)
    return places
