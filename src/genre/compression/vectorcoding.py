"""Item vectors in fewer dimensions, and in fewer bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from genre.types import Floats, State


@dataclass(frozen=True)
class VectorCoding:
    """Vectors turned into their strongest directions, then rounded. A `genre.compressors.Coding`."""

    dims: int | None = None
    """Directions that are kept; None for all, as they are."""
    bits: Literal[32, 8, 1] = 32
    """Of each number; with 1, eight-bit vectors lie beside to score the best ones again."""
    again: int = 0
    """Items a person that are scored again by eight bits."""

    def encode(self, vectors: Floats) -> State:
        """See `genre.compressors.Coding`."""
        kept: State = {}
        if self.dims is not None and self.dims < vectors.shape[1]:
            # Of the products, not of the spread: the mean counts as any other direction does.
            _, directions = np.linalg.eigh(vectors.T.astype(np.float64) @ vectors)
            kept["basis"] = np.ascontiguousarray(directions[:, ::-1][:, : self.dims], dtype=np.float32)
            vectors = vectors @ kept["basis"]
        if self.bits == 32:
            return kept | {"vectors": vectors}
        scales = np.maximum(np.abs(vectors).max(1), 1e-12) / 127
        kept |= {"codes": np.round(vectors / scales[:, None]).astype(np.int8), "scales": scales.astype(np.float32)}
        if self.bits == 1:
            kept["signs"] = np.packbits(vectors > 0, axis=1)
            kept["sizes"] = np.abs(vectors).mean(1).astype(np.float32)
        return kept

    def decode(self, kept: State) -> Floats:
        """See `genre.compressors.Coding`."""
        vectors = _near(kept)
        return vectors @ kept["basis"].T if "basis" in kept else vectors

    def scores(self, kept: State, asking: Floats) -> Floats:
        """See `genre.compressors.Coding`."""
        asking = asking @ kept["basis"] if "basis" in kept else asking
        near = _near(kept)
        if self.bits != 1:
            return asking @ near.T
        signs = np.unpackbits(kept["signs"], axis=1, count=asking.shape[1]).astype(np.float32) * 2 - 1
        scores = asking @ (signs * kept["sizes"][:, None]).T
        n = min(self.again, scores.shape[1])
        if not n:
            return scores
        best = np.argpartition(-scores, n - 1, axis=1)[:, :n]
        exact = np.einsum("pd,pnd->pn", asking, near[best])
        # What was not scored again stands below what was.
        below = np.maximum(scores.max(1) - exact.min(1), 0.0) + 1.0
        scores = scores - below[:, None]
        np.put_along_axis(scores, best, exact, 1)
        return scores.astype(np.float32)


def _near(kept: State) -> Any:
    """The kept vectors in floating point, in the directions that are kept."""
    if "vectors" in kept:
        return kept["vectors"]
    return kept["codes"].astype(np.float32) * kept["scales"][:, None]


def coding_of(form_coding: Any) -> VectorCoding:
    """The coding that a further step adds to."""
    return form_coding or VectorCoding()
