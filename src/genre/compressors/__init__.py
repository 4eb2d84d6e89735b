"""Compressors: how the language model of a finished run is made smaller and faster to ask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from genre.backbones import Shape
from genre.types import Bools, Floats, Ints, State


class Runner(Protocol):
    """What makes states of tokens, in whatever program it runs."""

    hidden_size: int
    """Width of the states."""

    def states(self, ids: Ints, real: Bools) -> Floats:
        """A state a token: ``[texts, longest, hidden]``; ``real`` is true at tokens, which come first in each row."""
        ...

    def save(self, folder: Path) -> None:
        """Write everything it needs into an empty folder: safetensors, ONNX and the like, never pickle."""
        ...


class Coding(Protocol):
    """How the vectors of items are kept, and people's vectors are compared with what is kept."""

    def encode(self, vectors: Floats) -> State:
        """What is kept of ``vectors [items, dim]``: arrays."""
        ...

    def decode(self, kept: State) -> Floats:
        """The vectors as nearly as they can be had back: ``[items, dim]``."""
        ...

    def scores(self, kept: State, asking: Floats) -> Floats:
        """What stands for the product of each of ``asking [people, dim]`` and each item: ``[people, items]``."""
        ...


@dataclass(frozen=True)
class Form:
    """A language model that was fine-tuned, in one of the forms that it can be served in."""

    runner: Runner
    tokenizer: Any
    """HuggingFace's fast one."""
    coding: Coding | None = None
    """How item vectors that it makes are kept; None for as they are."""


@dataclass(frozen=True)
class Material:
    """What a step may learn from: nothing of it is a label, or a text of the validation or the test part."""

    texts: Sequence[str]
    """The texts of the run, as they are read, each once."""
    vectors: Callable[[], Floats]
    """What the model makes of each of them before any step: ``[texts, hidden]``."""
    pooled: Any
    """``(states [b, l, hidden], real [b, l]) -> vectors [b, hidden]``, in torch."""
    max_tokens: int
    """Longest text, in tokens."""
    folder: Path
    """An empty folder for files that the form after the step runs from."""
    seed: int


class Compressor(Protocol):
    """One step: from a form to another. Steps follow each other in the order of the configuration."""

    gives: ClassVar[Literal["weights", "program", "vectors"]]
    """``weights`` that a further step can work on; a ``program`` that runs and is not changed any more; or another
    way to keep item ``vectors``, which leaves the language model as it is and may come anywhere."""

    def check(self, shape: Shape) -> Shape:
        """The shape that comes out. Raises `ValueError` that says why a model of this shape cannot be compressed so."""
        ...

    def compress(self, form: Form, material: Material) -> Form:
        """The form after the step; the one before is left as it was. Raises `GenreError` where that cannot be done."""
        ...
