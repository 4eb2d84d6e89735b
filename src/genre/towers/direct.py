"""No tower."""

from __future__ import annotations

from typing import TYPE_CHECKING

from genre.component import component

if TYPE_CHECKING:
    from torch import nn


@component
class Direct:
    """Heads read the features as they are: a linear layer on the language model's output, as textbooks fine-tune.

    The choice for `text` and `cross` with all layers trained, and for heads that read a decoder's words; a person and
    an item need a net between them, so for two_tower take `separate`.
    """

    def build(self, width: int, dim: int, tasks: list[str]) -> nn.Module:
        from genre.towerlayers import DirectTowers

        return DirectTowers(tasks)

    def width_of(self, width: int, dim: int) -> int:
        return width
