"""No fine-tuning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from genre.component import component

if TYPE_CHECKING:
    from genre.stack import Stack, Tuning


@component
class Frozen:
    """The language model stays as it came: its text vectors are computed once and everything after them is trained.

    The cheapest choice, and the one that every other adapter must beat.
    """

    def taps(self, depth: int) -> tuple[int, ...]:
        return (depth,)

    def apply(self, stack: Stack) -> Tuning:
        from genre.stack import Tuning

        return Tuning()
