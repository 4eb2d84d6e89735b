"""How the layers of encoders and decoders are fed, so that any part of a language model can be run on its own."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

BERT_PARTS: dict[str, tuple[str, ...]] = {
    "query": ("attention.self.query",),
    "key": ("attention.self.key",),
    "value": ("attention.self.value",),
    "output": ("attention.output.dense",),
    "up": ("intermediate.dense",),
    "down": ("output.dense",),
}
LLAMA_PARTS: dict[str, tuple[str, ...]] = {
    "query": ("self_attn.q_proj",),
    "key": ("self_attn.k_proj",),
    "value": ("self_attn.v_proj",),
    "output": ("self_attn.o_proj",),
    "up": ("mlp.gate_proj", "mlp.up_proj"),
    "down": ("mlp.down_proj",),
}


class Encoder:
    """BERT-class: every token sees every real one. Position is in the embeddings."""

    causal = False

    def __init__(self, model: nn.Module) -> None:
        self.norm: nn.Module | None = None
        self.parts = BERT_PARTS
        self.layers: nn.ModuleList = model.encoder.layer  # type: ignore[union-attr]
        self.hidden_size: int = model.config.hidden_size  # type: ignore[union-attr]
        self._embeddings: Any = model.embeddings

    def embed(self, ids: Tensor) -> Tensor:
        return self._embeddings(input_ids=ids)

    def inputs(self, states: Tensor, real: Tensor | None, before: int) -> Callable[[nn.Module], dict[str, Any]]:
        mask = None
        if real is not None and not bool(real.all()):
            mask = _behind(before, real)[:, None, None, :]
        return lambda layer: {"attention_mask": mask}


class Decoder:
    """GPT-class with rotary positions (Llama, Qwen, Mistral, Gemma): a token sees itself and earlier ones."""

    causal = True

    def __init__(self, model: nn.Module) -> None:
        self.layers: nn.ModuleList = model.layers  # type: ignore[assignment]
        self.norm: nn.Module | None = model.norm  # type: ignore[assignment]
        self.parts = LLAMA_PARTS
        self.config: Any = model.config
        self.hidden_size: int = self.config.hidden_size
        self._embeddings: Any = model.embed_tokens
        self._rotary: Any = model.rotary_emb
        # Gemma 3 turns local and global layers by different angles.
        self._by_type = "layer_type" in inspect.signature(self._rotary.forward).parameters

    def embed(self, ids: Tensor) -> Tensor:
        return self._embeddings(ids)

    def inputs(self, states: Tensor, real: Tensor | None, before: int) -> Callable[[nn.Module], dict[str, Any]]:
        length = states.shape[1]
        places = torch.arange(before, before + length)[None]
        kinds = set(self.config.layer_types) if self._by_type else {None}
        turns = {kind: self._rotary(states, places, kind) if kind else self._rotary(states, places) for kind in kinds}
        masks: dict[int | None, Tensor] = {}

        def of(layer: nn.Module) -> dict[str, Any]:
            attention: Any = layer.self_attn
            window = getattr(attention, "sliding_window", None)
            if window not in masks:
                masks[window] = _causal(length, before, real, window)
            kind = self.config.layer_types[attention.layer_idx] if self._by_type else None
            return {"attention_mask": masks[window], "position_ids": places, "position_embeddings": turns[kind]}

        return of


def _behind(before: int, real: Tensor) -> Tensor:
    """The mask of ``real`` tokens with ``before`` positions in front that are always seen."""
    return torch.cat([real.new_ones(len(real), before), real], 1) if before else real


def _causal(length: int, before: int, real: Tensor | None, window: int | None) -> Tensor:
    """Which position sees which: ``[b or 1, 1, length, before + length]``; nothing further back than ``window``."""
    ago = torch.arange(before, before + length)[:, None] - torch.arange(before + length)
    sees = ago >= 0
    if window is not None:
        sees &= (ago < window) | (torch.arange(before + length) < before)
    return sees[None, None] if real is None else sees[None, None] & _behind(before, real)[:, None, None, :]
