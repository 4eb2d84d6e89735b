"""Executors: where the work of a stage is done, and by how many workers together."""

from __future__ import annotations

from typing import Any, Protocol

from genre.parallel import Shard, Work


class Executor(Protocol):
    """One place to work in."""

    @property
    def workers(self) -> int:
        """How many work together."""
        ...

    @property
    def shard(self) -> Shard:
        """Whether each keeps all weights of the language model."""
        ...

    @property
    def here(self) -> bool:
        """Whether the work is done by this process, by itself."""
        ...

    def run(self, work: Work, *given: Any) -> None:
        """Call ``work(*given)`` in every worker at once, each a member of one `genre.parallel.Team`.

        A worker that is lost (killed, its machine gone) ends the others too, and all begin anew, a bounded number of
        times: the work must go on from the files it finds. Raises `GenreError` as the work does, or when workers keep
        being lost.
        """
        ...
