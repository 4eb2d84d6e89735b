"""People and items apart."""

from __future__ import annotations

from typing import ClassVar, Literal

from genre.component import component
from genre.data import Log
from genre.formulations import Asked, Propose, every_row


@component
class TwoTower:
    """A vector of each item from its text, a vector of each person from their history; heads read both.

    All items can be ranked at once, and an item's text is read once however often it occurs: the choice to retrieve by.
    `cross` reads a person and an item together, sees more and costs a pass for every pair.
    """

    reads: ClassVar[Literal["items"]] = "items"

    def ask(self, log: Log, part: str, seed: int, propose: Propose) -> Asked:
        return every_row(log, part)
