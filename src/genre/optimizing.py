"""Torch optimizers that components build from."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim import Optimizer


class Together(Optimizer):
    """Several optimizers, each of weights of its own, as one: they share its groups and its state."""

    def __init__(self, parts: list[Optimizer]) -> None:
        self.parts = parts
        super().__init__([group for part in parts for group in part.param_groups], {})
        self._share()

    def _share(self) -> None:
        start = 0
        for part in self.parts:
            end = start + len(part.param_groups)
            part.param_groups, part.state = self.param_groups[start:end], self.state
            start = end

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._share()

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Step each. There is no closure to call, as none of them evaluates the loss again."""
        assert closure is None
        for part in self.parts:
            part.step()
