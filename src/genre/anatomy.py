"""How the layers of encoders and decoders are fed, so that any part of a language model can be run on its own."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


def anatomy_of(whole: Any, model: nn.Module, vocabulary: Tensor | None) -> Encoder | Decoder | None:
    """How ``model`` is fed layer by layer; None for a family where that does not give what it gives as a whole.

    ``whole`` is ``model`` itself, or that with an output layer whose word vectors are ``vocabulary``.
    """
    parts = vars(model)["_modules"]
    if {"layers", "norm", "embed_tokens", "rotary_emb"} <= set(parts):
        anatomy = Decoder(model)
    elif "embeddings" in parts and hasattr(parts.get("encoder"), "layer"):
        anatomy = Encoder(model)
    else:
        return None
    return anatomy if _is_right(whole, anatomy, vocabulary) else None


@torch.no_grad()
def _is_right(whole: Any, anatomy: Encoder | Decoder, vocabulary: Tensor | None) -> bool:
    """Whether the layers, fed one by one, do to two short texts what the whole model does.

    Families differ in what stands before, between and after their layers, and what they hand them; a name tells little.
    """
    pad = whole.config.pad_token_id or 0
    ids = (pad + 1 + torch.arange(14).view(2, 7)) % whole.config.vocab_size
    real = torch.arange(7) < torch.tensor([[7], [4]])
    ids[~real] = pad
    try:
        expected = whole(input_ids=ids, attention_mask=real.long())
        states = anatomy.embed(ids)
        of = anatomy.inputs(states, real, 0)
        for layer in anatomy.layers:
            states = layer(states, **of(layer))
        states = states if anatomy.norm is None else anatomy.norm(states)
        found = states if vocabulary is None else states @ vocabulary.T
        right = expected.last_hidden_state if vocabulary is None else expected.logits
        return bool((found - right)[real].norm() < 1e-4 * right[real].norm())
    except Exception:  # whatever a layer raises that is not fed as it is used to
        return False


class Encoder:
    """BERT-class: every token sees every real one. Position is in the embeddings."""

    causal = False

    def __init__(self, model: nn.Module) -> None:
        self.norm: nn.Module | None = None
        self.layers: nn.ModuleList = model.encoder.layer  # type: ignore[union-attr]
        self.hidden_size: int = model.config.hidden_size  # type: ignore[union-attr]
        self._embeddings: Any = model.embeddings
        # ELECTRA's embeddings are narrower than its layers.
        self._widened: Any = getattr(model, "embeddings_project", nn.Identity())

    def embed(self, ids: Tensor) -> Tensor:
        return self._widened(self._embeddings(input_ids=ids))

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
        config: Any = model.config
        self.hidden_size: int = config.hidden_size
        self._embeddings: Any = model.embed_tokens
        self._rotary: Any = model.rotary_emb
        # Gemma 3 turns local and global layers by different angles.
        self._by_kind = "layer_type" in inspect.signature(self._rotary.forward).parameters
        window = getattr(config, "sliding_window", None)
        self._windows = {"full_attention": None, "sliding_attention": window}
        alike = "full_attention" if window is None else "sliding_attention"
        self._kinds: list[str] = getattr(config, "layer_types", None) or [alike] * len(self.layers)

    def embed(self, ids: Tensor) -> Tensor:
        return self._embeddings(ids)

    def inputs(self, states: Tensor, real: Tensor | None, before: int) -> Callable[[nn.Module], dict[str, Any]]:
        length = states.shape[1]
        places = torch.arange(before, before + length)[None]
        kinds = set(self._kinds)
        masks = {kind: _causal(length, before, real, self._windows[kind]) for kind in kinds}
        turns = {kind: self._rotary(states, places, *([kind] if self._by_kind else [])) for kind in kinds}

        def of(layer: nn.Module) -> dict[str, Any]:
            kind = self._kinds[layer.self_attn.layer_idx]  # type: ignore[union-attr, index]
            return {"attention_mask": masks[kind], "position_ids": places, "position_embeddings": turns[kind]}

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
