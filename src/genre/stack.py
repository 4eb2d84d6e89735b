"""The part of a language model that is fine-tuned: its upper layers, and what an adapter puts beside them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from genre.backbones import Loaded
from genre.clock import heard, note, times
from genre.errors import GenreError

BERT = {
    "query": ("attention.self.query",),
    "key": ("attention.self.key",),
    "value": ("attention.self.value",),
    "output": ("attention.output.dense",),
    "up": ("intermediate.dense",),
    "down": ("output.dense",),
}
LLAMA = {
    "query": ("self_attn.q_proj",),
    "key": ("self_attn.k_proj",),
    "value": ("self_attn.v_proj",),
    "output": ("self_attn.o_proj",),
    "up": ("mlp.gate_proj", "mlp.up_proj"),
    "down": ("mlp.down_proj",),
}
PARTS = (BERT, LLAMA)
"""Where a layer has the weight matrices that `genre.adapters.Part` speaks of, by the style of its names."""


class Stack(nn.Module):
    """Layers from the first trained one to the top: states that enter ``[b, l, width]`` to those at the end.

    It is a copy whose weights are those of the loaded model, shared, not doubled, until an adapter opens them
    (`open_weights`). So one language model carries any number of adapters, each in a stack of its own. To change from
    one to another is to use another stack, or to load other weights into a stack with the same adapter.
    """

    prompt: nn.Module | None
    """``() -> [p, hidden]``: vectors put in front of every text's states, and taken away at the end."""
    prefix: nn.Module | None
    """``() -> cache`` whose ``update(key, value, layer)`` puts learned keys and values in front; has a ``length``."""
    ladder: nn.Module | None
    """``(states [b, l, taps * hidden], real) -> [b, l, hidden]``: runs beside the layers instead of through them."""

    def __init__(self, loaded: Loaded, taps: tuple[int, ...]) -> None:
        super().__init__()
        self.anatomy = loaded.anatomy
        self.taps = taps
        """Layers whose input states it takes, side by side in one vector."""
        self.hidden_size = loaded.hidden_size
        self.first = taps[-1]
        """The layer that the states enter."""
        self.layers = _shared(nn.ModuleList(list(loaded.layers)[self.first :]))
        self.norm = _shared(loaded.anatomy.norm) if loaded.anatomy.norm is not None else None
        self.prompt = self.prefix = self.ladder = None
        self.checkpointing = False
        """Whether a layer's inner values are computed anew for the backward pass: less memory, a third more time."""
        self.precision = torch.float32
        """Numbers in which it computes while it is trained; what it returns is float32."""
        self.closed = 0
        """Layers, from the lowest, that get no gradient for now."""
        self.noisy = False
        """Whether the language model's own dropout is on while training."""
        self.requires_grad_(False)
        self._pretrained = set(self.modules()) - {self}

    def train(self, mode: bool = True) -> Stack:
        """Switches what an adapter has put in, and the language model's own dropout if it is `noisy`."""
        for module in self.modules():
            module.training = mode and (self.noisy or module not in self._pretrained)
        return self

    @times("trained layers")
    def forward(self, states: Tensor, real: Tensor | None) -> Tensor:
        if heard() and len(self.layers):
            places = states.shape[0] * states.shape[1]
            note(texts=len(states), tokens=places if real is None else int(real.sum()), places=places)
        if (device := self.device).type != "cpu":
            # Masks and places are made where the states are.
            with device:
                return self._computed(states.to(device), None if real is None else real.to(device))
        return self._computed(states, real)

    @property
    def device(self) -> torch.device:
        """Where it computes; what enters is brought there."""
        return next((weight.device for weight in self.parameters()), torch.device("cpu"))

    def _computed(self, states: Tensor, real: Tensor | None) -> Tensor:
        if not self.training or self.precision == torch.float32:
            return self._through(states, real)
        # A cast weight is not kept: what is computed anew for the backward pass would not find it.
        with torch.autocast(states.device.type, self.precision, cache_enabled=False):
            return self._through(states, real).float()

    def _through(self, states: Tensor, real: Tensor | None) -> Tensor:
        if self.ladder is not None:
            states = self.ladder(states, real)
        added = 0
        if self.prompt is not None:
            front = self.prompt()
            added = len(front)
            states = torch.cat([front.to(states.dtype).expand(len(states), -1, -1), states], 1)
            real = None if real is None else torch.cat([real.new_ones(len(real), added), real], 1)
        before = 0 if self.prefix is None else int(self.prefix.length)  # type: ignore[arg-type]
        past = {} if self.prefix is None else {"past_key_values": self.prefix()}
        of = self.anatomy.inputs(states, real, before)
        for number, layer in enumerate(self.layers):
            with torch.set_grad_enabled(torch.is_grad_enabled() and number >= self.closed):
                states = self._layer(layer, states, of(layer) | past)
        states = states[:, added:] if added else states
        return states if self.norm is None else self.norm(states)

    def _layer(self, layer: nn.Module, states: Tensor, inputs: dict[str, Any]) -> Tensor:
        def run(entering: Tensor) -> Tensor:
            return layer(entering, **inputs)

        if self.checkpointing and torch.is_grad_enabled():
            return checkpoint(run, states, use_reentrant=False)  # type: ignore[return-value]
        return run(states)

    def open_weights(self, chosen: Callable[[str], bool]) -> None:
        """Make weights of its own out of the shared ones whose name is ``chosen``, and let them be trained."""
        for name, weight in list(self.named_parameters()):
            if chosen(name):
                owner, _, last = name.rpartition(".")
                setattr(self.get_submodule(owner), last, nn.Parameter(weight.detach().clone()))

    def parts(self, words: Iterable[str]) -> list[str]:
        """Names of the weight matrices that `genre.adapters.Part` calls so, in all its layers.

        Raises `GenreError` with those that there are, where a layer lacks one.
        """
        found: list[str] = []
        for number, layer in enumerate(self.layers):
            inside = {name for name, _ in layer.named_modules()}
            has = {word: places for names in PARTS for word, places in names.items() if inside.issuperset(places)}
            if lacks := [word for word in words if word not in has]:
                raise GenreError(
                    f"model.adapter: the language model's layers have no '{lacks[0]}'; they have {', '.join(has)}"
                )
            found += [f"layers.{number}.{place}" for word in words for place in has[word]]
        return found

    @property
    def depth(self) -> int:
        """Layers of the whole language model."""
        return len(self.anatomy.layers)


def computes_bfloat16() -> bool:
    """Whether the processor has instructions for bfloat16; without them it works, slower than float32."""
    known = getattr(torch.cpu, "get_capabilities", None)  # not there in older versions, which then say nothing
    return known is None or any(known().get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def _shared(module: Any) -> Any:
    """A copy of the module tree around the same weights."""
    kept: dict[int, Any] = {id(tensor): tensor for tensor in [*module.parameters(), *module.buffers()]}
    configs = [part.config for part in module.modules() if hasattr(part, "config")]
    return copy.deepcopy(module, kept | {id(config): config for config in configs})


@dataclass
class Tuning:
    """What an adapter asks of the training loop beyond trained weights."""

    rate: Callable[[str], float] = lambda name: 1.0
    """Factor on the learning rate of the stack's weight of that name."""
    penalty: Callable[[], Tensor] | None = None
    """Added to the loss of every step of the language model."""
    after_step: Callable[[int, int], None] | None = None
    """Called with the step just made and how many there will be at most, while the gradients are still there."""
    state: Callable[[], dict[str, Tensor]] = dict
    """What has to be kept, beside the weights, for a training to go on as if unbroken."""
    restore: Callable[[dict[str, Tensor]], None] = lambda state: None
    """Puts back what `state` gave."""
