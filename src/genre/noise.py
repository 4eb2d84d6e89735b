"""What chance drops, dealt out: workers that share a batch drop what one worker would drop of the whole batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode


@dataclass(frozen=True)
class Standing:
    """Where random numbers stand, on the processor and on every accelerator."""

    host: Tensor
    devices: list[Tensor]

    @classmethod
    def now(cls) -> Standing:
        """At this moment."""
        return cls(torch.get_rng_state(), torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [])

    def put_back(self) -> None:
        """Let them stand there again."""
        torch.set_rng_state(self.host)
        if self.devices:
            torch.cuda.set_rng_state_all(self.devices)

    @contextmanager
    def again(self) -> Iterator[None]:
        """Inside, what is drawn is what was drawn from there; afterwards they stand where they stood."""
        before = Standing.now()
        self.put_back()
        try:
            yield
        finally:
            before.put_back()


@dataclass(frozen=True)
class Dealt:
    """Which of a batch's entries a worker has."""

    rows: Tensor
    """Their numbers."""
    total: int
    """Entries of the whole batch."""

    @classmethod
    def of(cls, rows: NDArray[Any], total: int) -> Dealt:
        """From numbers as an array."""
        return cls(torch.from_numpy(rows), total)

    def drawn(self, draw: Callable[..., Tensor], like: Tensor) -> Tensor:
        """A draw of the whole batch's shape, and of it this worker's entries."""
        whole = draw([self.total, *like.shape[1:]], device=like.device, dtype=like.dtype)
        return whole[self.rows.to(like.device)]


class DealtNoise(TorchFunctionMode):
    """Draws for the whole batch wherever a tensor has this worker's entries first.

    So random numbers stand at the same place in all workers, and where one worker alone would have them.
    """

    def __init__(self, flat: Dealt, deep: Dealt) -> None:
        super().__init__()
        self.flat, self.deep = flat, deep

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is functional.dropout:
            return self._dropout(func, *args, **kwargs)
        if func is functional.scaled_dot_product_attention and kwargs.get("dropout_p", 0.0) > 0:
            return self._attention(*args, **kwargs)
        if func is torch.rand_like and (dealt := self._of(args[0])) is not None:
            return dealt.drawn(torch.rand, args[0])
        return func(*args, **kwargs)

    def _of(self, tensor: Tensor) -> Dealt | None:
        dealt = self.flat if tensor.ndim < 3 else self.deep
        return dealt if len(tensor) == len(dealt.rows) else None

    def _dropout(
        self, func: Any, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
    ) -> Tensor:
        dealt = self._of(input)
        if not training or p == 0 or dealt is None:
            return func(input, p, training, inplace)
        return input * dealt.drawn(lambda *of, **kind: torch.empty(*of, **kind).bernoulli_(1 - p), input).div_(1 - p)

    def _attention(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        """Attention step by step, as it is computed where weights are dropped."""
        if enable_gqa:
            times = query.shape[-3] // key.shape[-3]
            key, value = key.repeat_interleave(times, -3), value.repeat_interleave(times, -3)
        weights = query @ key.transpose(-2, -1) * (scale or 1 / math.sqrt(query.shape[-1]))
        if is_causal:
            attn_mask = torch.ones(weights.shape[-2:], dtype=torch.bool).tril()
        if attn_mask is not None:
            weights = (
                weights.masked_fill(~attn_mask, -torch.inf) if attn_mask.dtype == torch.bool else weights + attn_mask
            )
        return self._dropout(functional.dropout, weights.softmax(-1), dropout_p) @ value


@contextmanager
def dealt_noise(flat: Dealt, deep: Dealt | None = None) -> Iterator[None]:
    """Inside, what is dropped of tensors of two dimensions goes by ``flat``, of more by ``deep``, else likewise."""
    with DealtNoise(flat, deep or flat):
        yield


def padded_to(entering: Tensor, real: Tensor | None, longest: int) -> tuple[Tensor, Tensor | None]:
    """States ``[b, l, width]`` and which are ``real``, made as long as those of the whole batch are."""
    missing = longest - entering.shape[1]
    if missing <= 0:
        return entering, real
    if real is None:
        real = torch.ones(entering.shape[:2], dtype=torch.bool)
    return functional.pad(entering, (0, 0, 0, missing)), functional.pad(real, (0, missing))
