"""Hidden states of texts below the first trained layer: computed once per distinct text, kept on disk.

A store is named by what its states depend on (weights and tokenizer, layer, longest text); within it every text is
found by its own hash. States are bfloat16, ragged, memory-mapped: memory does not grow with the catalogue.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from genre.backbones import Loaded
from genre.clock import note, timed, times
from genre.errors import GenreError
from genre.files import cache_folder, digest, replacing_folder
from genre.parallel import team
from genre.progress import progress
from genre.text import batches_by_length

if TYPE_CHECKING:
    from torch import Tensor

Hash = bytes
Place = tuple[int, int, int]
"""Segment, first row in it, number of tokens."""


@dataclass(frozen=True)
class HiddenStates:
    """The states of some texts, in their order."""

    segments: list[NDArray[np.uint16]]
    """Each ``[tokens, width]``, bfloat16 bits, memory-mapped; the width is the model's, times the layers tapped."""
    segment: NDArray[np.int64]
    """``[texts]``."""
    start: NDArray[np.int64]
    lengths: NDArray[np.int64]
    """Tokens of each text."""

    def __len__(self) -> int:
        return len(self.lengths)

    @times("read states")
    def batch(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor | None]:
        """States of some texts ``[b, longest, width]``, float32, and which are real ``[b, longest]`` (None if all)."""
        import torch

        lengths = self.lengths[rows]
        longest = int(lengths.max())
        steps = np.arange(longest)
        real = steps < lengths[:, None]
        at = self.start[rows, None] + np.minimum(steps, lengths[:, None] - 1)
        bits = np.empty((len(rows), longest, self.segments[0].shape[1]), dtype=np.uint16)
        for number in np.unique(self.segment[rows]):
            mine = self.segment[rows] == number
            bits[mine] = self.segments[number][at[mine]]
        note(texts=len(rows), read=bits.nbytes)
        states = torch.from_numpy(bits.view(np.int16)).view(torch.bfloat16).float()
        return states, None if real.all() else torch.from_numpy(real)


_kept: ContextVar[Path | None] = ContextVar("kept", default=None)


@contextmanager
def states_in(folder: Path) -> Iterator[None]:
    """Inside, states are kept in ``folder`` instead of in the cache, so that none is there already."""
    token = _kept.set(folder)
    try:
        yield
    finally:
        _kept.reset(token)


@times("find states")
def hidden_states(
    loaded: Loaded, tokens: Sequence[Sequence[int]], taps: tuple[int, ...], budget: int = 8192
) -> HiddenStates:
    """States that enter the layers ``taps`` (the depth stands for the last layer's output), side by side, of all texts.

    Only texts that the store does not have yet are computed, by several workers a part each. Raises `GenreError` on a
    state that is not finite.
    """
    key = {"revision": loaded.revision, "layers": list(taps), "dtype": "bfloat16"}
    store = (_kept.get() or cache_folder() / "hidden") / digest(key)[:32]
    hashes = [hashlib.sha256(np.asarray(one, dtype=np.int32).tobytes()).digest()[:16] for one in tokens]
    width = loaded.hidden_size * len(taps)
    segments, places = _read(store, width)
    # Workers of other machines may write to another store; then what they have computed is still missing here.
    for parts in dict.fromkeys((team().size, team().local_size, 1)):
        missing = {h: one for h, one in zip(hashes, tokens, strict=True) if h not in places}
        # Nobody writes before all have seen what is missing, or they would see something else.
        if not team().total(np.array([float(len(missing))]))[0]:
            break
        own = list(missing)[team().rank % parts :: parts]
        if own:
            _compute(loaded, {h: missing[h] for h in own}, taps, budget, store)
        team().wait()
        segments, places = _read(store, width)
    found = np.array([places[h] for h in hashes], dtype=np.int64).reshape(-1, 3)
    return HiddenStates(segments, found[:, 0], found[:, 1], found[:, 2])


@dataclass(frozen=True)
class PassingStates:
    """The same for texts that will not come again, or are too many to keep: computed when asked for."""

    loaded: Loaded
    tokens: Sequence[Sequence[int]]
    taps: tuple[int, ...]
    lengths: NDArray[np.int64]

    @classmethod
    def of(cls, loaded: Loaded, tokens: Sequence[Sequence[int]], taps: tuple[int, ...]) -> PassingStates:
        """Of some texts."""
        return cls(loaded, tokens, taps, np.array([len(one) for one in tokens], dtype=np.int64))

    def __len__(self) -> int:
        return len(self.tokens)

    def batch(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor | None]:
        """See `HiddenStates.batch`."""
        chosen = [self.tokens[i] for i in rows]
        _, real = padded(self.loaded, chosen)
        states = lower_states(self.loaded, chosen, self.taps)
        return states, None if bool(real.all()) else real


States = HiddenStates | PassingStates


AT_ONCE = 8192
"""Texts that are cut up at a time."""


@times("tokenise")
def tokenize(loaded: Loaded, texts: Sequence[str], max_tokens: int) -> list[list[int]]:
    """Token numbers of each text, at least one: an empty text is the end-of-text token where nothing else is added."""
    tokens: list[list[int]] = []
    # What a tokenizer notes beside the numbers takes a hundred times their memory; here it is that of some texts only.
    for start in range(0, len(texts), AT_ONCE):
        some = list(texts[start : start + AT_ONCE])
        tokens += loaded.tokenizer(some, truncation=True, max_length=max_tokens)["input_ids"]
    note(texts=len(tokens))
    return [one or [loaded.tokenizer.eos_token_id or 0] for one in tokens]


def _read(store: Path, width: int) -> tuple[list[NDArray[np.uint16]], dict[Hash, Place]]:
    segments: list[NDArray[np.uint16]] = []
    places: dict[Hash, Place] = {}
    for folder in sorted(p for p in store.glob("*") if not p.name.startswith(".")):
        index = np.load(folder / "index.npy", allow_pickle=False)
        tokens = int(index["length"].sum())
        states = np.memmap(folder / "states.bf16", dtype=np.uint16, mode="r").reshape(-1, width)
        if len(states) != tokens:
            raise GenreError(f"{folder}: holds {len(states)} tokens where its index says {tokens}; delete this folder")
        starts = np.cumsum(index["length"]) - index["length"]
        number = len(segments)
        entries = zip(index["hash"], starts, index["length"], strict=True)
        places.update({h.tobytes(): (number, int(s), int(n)) for h, s, n in entries})
        segments.append(states)
    return segments, places


INDEX = np.dtype([("hash", np.uint8, (16,)), ("length", np.int32)])


def _compute(
    loaded: Loaded, missing: dict[Hash, Sequence[int]], taps: tuple[int, ...], budget: int, store: Path
) -> None:
    """Write the states of ``missing`` as one new segment, in the order in which batches come out."""
    tokens = list(missing.values())
    lengths = np.array([len(one) for one in tokens], dtype=np.int64)
    names = list(missing)
    order: list[int] = []
    segment = digest([name.hex() for name in names])[:16]
    with replacing_folder(store / segment) as folder:
        with (folder / "states.bf16").open("wb") as file, progress("hidden states", len(names)) as advance:
            for batch in batches_by_length(lengths, budget):
                states = lower_states(loaded, [tokens[i] for i in batch.rows], taps)
                with timed("write states"):
                    for i, one in zip(batch.rows, states, strict=True):
                        note(written=file.write(_bits(one[: lengths[i]])))
                order += batch.rows.tolist()
                advance(len(batch.rows))
        index = np.empty(len(order), dtype=INDEX)
        index["hash"] = [np.frombuffer(names[i], dtype=np.uint8) for i in order]
        index["length"] = lengths[order]
        np.save(folder / "index.npy", index, allow_pickle=False)


@times("frozen layers")
def lower_states(loaded: Loaded, tokens: Sequence[Sequence[int]], taps: tuple[int, ...]) -> Tensor:
    """Run the embeddings and the layers below the last tap over some token lists: ``[b, longest, width]``."""
    import torch

    ids, real = padded(loaded, tokens)
    note(texts=len(tokens), tokens=sum(len(one) for one in tokens), places=ids.numel())
    found = []
    with torch.no_grad():
        states = loaded.anatomy.embed(ids)
        of = loaded.anatomy.inputs(states, real, 0)
        for number in range(taps[-1] + 1):
            if number in taps:
                found.append(states)
            if number < taps[-1]:
                layer = loaded.layers[number]
                states = layer(states, **of(layer))
    states = torch.cat(found, -1)
    if not torch.isfinite(states).all():
        raise GenreError("the language model gave hidden states that are not finite; its weights are damaged")
    return states


def padded(loaded: Loaded, tokens: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Token lists as one tensor, and where it is real: ``[b, longest]`` each."""
    import torch

    longest = max(len(one) for one in tokens)
    pad = loaded.tokenizer.pad_token_id or 0
    ids = torch.tensor([[*one] + [pad] * (longest - len(one)) for one in tokens])
    real = torch.tensor([[True] * len(one) + [False] * (longest - len(one)) for one in tokens])
    return ids, real


def _bits(states: Tensor) -> bytes:
    import torch

    return states.to(torch.bfloat16).contiguous().view(torch.int16).numpy().tobytes()
