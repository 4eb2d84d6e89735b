"""Items whose text shares words with that of the history."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveInt
from scipy import sparse

from genre.component import component, suggest
from genre.data import Histories, Log
from genre.errors import ConfigError
from genre.sources import Resources
from genre.text import words_of
from genre.types import Floats, State

if TYPE_CHECKING:
    import pyarrow as pa

BUCKETS = 1 << 20
"""Numbers that words are hashed to: so many that two words seldom meet, and no vocabulary needs to be kept."""

# Scripts written without spaces, or whose words carry endings: Han, kana and Hangul.
UNSPACED = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u3005\u3040-\u30ff\uac00-\ud7af\U00020000-\U0003134f"
RUNS = re.compile(rf"[{UNSPACED}]+|[^\W_{UNSPACED}]+")
BIGRAMS = re.compile(rf"[{UNSPACED}]")


@component
class BM25:
    """Items by the words that their texts share with those of the latest items, rare words counting for more.

    Finds names, brands and terms that the vectors of `content_knn` blur; does not know that two words mean the same.
    Answers new items, and people who only say what they like. Robertson and Zaragoza (2009),
    https://doi.org/10.1561/1500000019. Own weighting over the hashed counts of scikit-learn, as the bm25 packages keep
    a vocabulary of strings, which a state does not hold, and answer one query at a time.
    """

    top_k: PositiveInt = 300
    """Candidates to retrieve; more miss less and cost time."""
    columns: tuple[str, ...] = ()
    """Columns of the items table that are read, words or lists of words; none: all of them but the ids."""
    window: PositiveInt = 10
    """Latest items whose texts are the query; larger is steadier and forgets what a person wants now."""
    k1: NonNegativeFloat = 1.2
    """How much more a word counts that a text repeats; 0 only asks whether it is there."""
    b: Annotated[float, Field(ge=0, le=1)] = 0.75
    """How much a text's length is held against it; larger prefers short texts."""
    GRID: ClassVar[dict[str, list[Any]]] = {"window": [1, 3, 10, 50], "b": [0.3, 0.75]}

    def fit(self, log: Log, resources: Resources) -> State:
        counts = _counts(self._texts(resources.items))
        found = np.bincount(counts.indices, minlength=BUCKETS)
        # What stands in half of the texts or more tells nothing, and would make the product below dense.
        rarity = np.log(np.maximum((log.n_items - found + 0.5) / (found + 0.5), 1)) * (found > 0)
        average = np.array(max(counts.sum() / max(len(counts.indptr) - 1, 1), 1e-6), dtype=np.float32)
        known = sparse.csr_matrix(rarity[None, :].astype(np.float32))
        return {"weights": self._weights(counts, known, average), "rarity": known, "average": average}

    def extend(self, state: State, added: Resources) -> State:
        """Words that no item had so far count nothing until the next fit."""
        weights = self._weights(_counts(self._texts(added.items)), state["rarity"], state["average"])
        return {**state, "weights": sparse.csr_matrix(sparse.vstack([state["weights"], weights]))}

    def score(self, state: State, histories: Histories, resources: Resources) -> Floats:
        weights = state["weights"]
        recent = histories.latest(self.window)
        ones = np.ones(len(recent.item), dtype=np.float32)
        latest = sparse.csr_matrix((ones, (recent.owner, recent.item)), shape=(len(histories), weights.shape[0]))
        asked = latest @ _unit(weights)
        said = np.array([i for i, text in enumerate(histories.texts) if text], dtype=np.int64)
        if len(said):
            counts = _counts([histories.texts[i] or "" for i in said])
            words = _unit(_weighted(counts, state["rarity"]))
            place = (np.ones(len(said), dtype=np.float32), (said, np.arange(len(said))))
            asked = asked + sparse.csr_matrix(place, shape=(len(histories), len(said))) @ words
        return np.asarray((asked @ weights.T).todense(), dtype=np.float32)

    def _weights(self, counts: sparse.csr_matrix, rarity: sparse.csr_matrix, average: Floats) -> sparse.csr_matrix:
        """How much each word of a text speaks for the item."""
        lengths = np.asarray(counts.sum(1)).ravel()
        long = np.repeat(1 - self.b + self.b * lengths / average, np.diff(counts.indptr))
        gain = counts.data * (self.k1 + 1) / (counts.data + self.k1 * long)
        return _weighted(sparse.csr_matrix((gain, counts.indices, counts.indptr), shape=counts.shape), rarity)

    def _texts(self, items: pa.Table) -> list[str]:
        """The words of each item's columns."""
        for name in self.columns:
            if name not in items.column_names:
                why = f"there is no column '{name}' in the items; {suggest(name, items.column_names)}"
                raise ConfigError([f"bm25: columns: {why}"])
        columns = [words_of(items, name) for name in self.columns or _wordy(items)]
        return ["\n".join(row) for row in zip(*columns, strict=True)] if columns else [""] * items.num_rows


def _wordy(items: pa.Table) -> list[str]:
    """Columns of strings, or of lists of them, that are not ids."""
    import pyarrow as pa

    def words(kind: pa.DataType) -> bool:
        inner = kind.value_type if pa.types.is_list(kind) or pa.types.is_large_list(kind) else kind
        return pa.types.is_string(inner) or pa.types.is_large_string(inner)

    return [field.name for field in items.schema if field.name != "item_id" and words(field.type)]


def words(text: str) -> list[str]:
    """A text's words, in small letters; of scripts without spaces every two characters that stand side by side."""
    runs = RUNS.findall(unicodedata.normalize("NFKC", text).casefold())
    found: list[str] = []
    for run in runs:
        pairs = BIGRAMS.match(run) and len(run) > 1
        found += [run[i : i + 2] for i in range(len(run) - 1)] if pairs else [run]
    return found


def _counts(texts: Sequence[str]) -> sparse.csr_matrix:
    """How often each text has each word: ``[texts, BUCKETS]``."""
    from sklearn.feature_extraction.text import HashingVectorizer

    settings: dict[str, Any] = {"analyzer": words, "alternate_sign": False, "norm": None}
    return sparse.csr_matrix(HashingVectorizer(n_features=BUCKETS, **settings).transform(texts))


def _weighted(counts: sparse.csr_matrix, rarity: sparse.csr_matrix) -> sparse.csr_matrix:
    """Each entry times the rarity of its word; words that tell nothing leave."""
    data = (counts.data * rarity.toarray()[0][counts.indices]).astype(np.float32)
    # A copy, as zeros are taken out of the arrays in place.
    weighted = sparse.csr_matrix((data, counts.indices, counts.indptr), shape=counts.shape, copy=True)
    weighted.eliminate_zeros()
    return weighted


def _unit(weights: sparse.csr_matrix) -> sparse.csr_matrix:
    """Rows of length 1, so that a long text of the history does not outvote the short ones."""
    lengths = np.sqrt(np.asarray(weights.multiply(weights).sum(1)).ravel())
    data = weights.data / np.repeat(lengths, np.diff(weights.indptr))
    return sparse.csr_matrix((data, weights.indices, weights.indptr), shape=weights.shape)
