"""One text, several answers."""

from __future__ import annotations

from typing import ClassVar, Literal

from genre.component import component
from genre.data import Log
from genre.formulations import Asked, Propose, every_row


@component
class Text:
    """The text of each row of the interactions (a review, a title) is read, and every head answers from it.

    For labels of a text: its stars, whether it recommends, how many found it helpful, which words are names. Nobody's
    history is read, so it recommends nothing; for that take `two_tower` or `cross`.
    """

    reads: ClassVar[Literal["rows"]] = "rows"

    def ask(self, log: Log, part: str, seed: int, propose: Propose) -> Asked:
        return every_row(log, part)
