"""A language model as one torch module without an adapter, of which layers, heads, neurons and words can be cut."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from genre.anatomy import Decoder, Encoder
from genre.backbones import Loaded
from genre.errors import GenreError
from genre.merging import merge
from genre.stack import PARTS, Stack
from genre.types import Bools, Floats, Ints


class Network(nn.Module):
    """Embeddings, layers, norm: from tokens to states. A `genre.compressors.Runner`."""

    def __init__(self, anatomy: Any, kept: tuple[int, ...]) -> None:
        super().__init__()
        self.anatomy = anatomy
        self.hidden_size: int = anatomy.hidden_size
        self.kept = kept
        """Which layers of the whole model these are."""
        # Registered under names of its own, so that the weights in a file are found whatever the family.
        self.embeddings: nn.Module = anatomy._embeddings
        self.widened = getattr(anatomy, "_widened", None)
        self.layers: nn.ModuleList = anatomy.layers
        self.norm: nn.Module | None = anatomy.norm
        self.rotary = getattr(anatomy, "_rotary", None)
        self.requires_grad_(False)
        self.eval()

    @classmethod
    def of(cls, loaded: Loaded, stack: Stack | None = None) -> Network:
        """A copy of a whole language model, with what was fine-tuned in ``stack`` folded in.

        Raises `GenreError` for an adapter that cannot be folded into the model's weights.
        """
        # What was written with words of its own is not needed to make vectors.
        anatomy: Any = copy.deepcopy(loaded.anatomy)
        if stack is not None:
            merge(stack)
            for number, layer in enumerate(stack.layers):
                anatomy.layers[stack.first + number].load_state_dict(layer.state_dict())
            if stack.norm is not None:
                anatomy.norm.load_state_dict(stack.norm.state_dict())
        return cls(anatomy, tuple(range(len(anatomy.layers))))

    @property
    def config(self) -> Any:
        """HuggingFace's description of the whole model."""
        return next(module.config for module in self.layers.modules() if hasattr(module, "config"))

    @property
    def words(self) -> nn.Embedding:
        """The vector of each token."""
        found: Any = getattr(self.embeddings, "word_embeddings", self.embeddings)
        return found

    def forward(self, ids: Tensor, real: Tensor | None) -> Tensor:
        states = self.anatomy.embed(ids)
        of = self.anatomy.inputs(states, real, 0)
        for layer in self.layers:
            states = layer(states, **of(layer))
        return states if self.norm is None else self.norm(states)

    @torch.inference_mode()
    def states(self, ids: Ints, real: Bools) -> Floats:
        """See `genre.compressors.Runner`."""
        mask = None if real.all() else torch.from_numpy(real)
        return self(torch.from_numpy(ids.astype(np.int64)), mask).numpy()

    def copied(self, kept: tuple[int, ...] | None = None) -> Network:
        """A copy with weights of its own, of some of its layers (numbered as they stand here)."""
        anatomy: Any = copy.deepcopy(self.anatomy)
        chosen = tuple(range(len(self.layers))) if kept is None else kept
        anatomy.layers = nn.ModuleList([anatomy.layers[number] for number in chosen])
        return Network(anatomy, tuple(self.kept[number] for number in chosen))

    def parts(self, number: int) -> dict[str, list[nn.Linear]]:
        """The weight matrices of a layer, in the words of `genre.adapters.Part`. Raises `GenreError` without such."""
        layer = self.layers[number]
        inside = dict(layer.named_modules())
        for names in PARTS:
            if all(place in inside for places in names.values() for place in places):
                return {word: [inside[place] for place in places] for word, places in names.items()}  # type: ignore[misc]
        raise GenreError(f"the layers of {self.config.model_type} have no parts that can be told apart, so none is cut")

    @property
    def head_size(self) -> int:
        """Width of an attention head."""
        own = getattr(self.config, "head_dim", None)
        return own or self.config.hidden_size // self.config.num_attention_heads

    def save(self, folder: Path) -> None:
        """Its weights as safetensors, and what they are weights of."""
        save_file(
            {name: tensor.contiguous().clone() for name, tensor in self.state_dict().items()},
            folder / "weights.safetensors",
        )
        facts = {"kept": list(self.kept), "config": self.config.to_dict(), "causal": bool(self.anatomy.causal)}
        (folder / "network.json").write_text(json.dumps(facts, indent=1, default=str), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Network:
        """What `save` wrote."""
        from transformers import AutoConfig, AutoModel

        facts = json.loads((folder / "network.json").read_text(encoding="utf-8"))
        weights = load_file(folder / "weights.safetensors")
        described = dict(facts["config"])
        config = AutoConfig.for_model(described.pop("model_type"), **described)
        whole = AutoModel.from_config(config, attn_implementation="sdpa").float()
        anatomy: Any = Decoder(whole) if facts["causal"] else Encoder(whole)
        anatomy.layers = nn.ModuleList([anatomy.layers[number] for number in facts["kept"]])
        made = cls(anatomy, tuple(facts["kept"]))
        for name, module in made.named_modules():
            if isinstance(module, nn.Linear | nn.Embedding) and f"{name}.weight" in weights:
                resize(module, weights[f"{name}.weight"].shape)
        made.load_state_dict(weights, strict=False)
        return made.requires_grad_(False).eval()


def resize(module: nn.Linear | nn.Embedding, shape: torch.Size) -> None:
    """Give a module weights of another shape, to be filled by whoever asks."""
    if module.weight.shape == shape:
        return
    module.weight = nn.Parameter(torch.empty(shape), requires_grad=False)
    if isinstance(module, nn.Embedding):
        module.num_embeddings = shape[0]
        return
    module.out_features, module.in_features = shape
    if module.bias is not None:
        module.bias = nn.Parameter(torch.empty(shape[0]), requires_grad=False)


def keep_rows(module: nn.Linear, rows: Tensor) -> None:
    """Leave only some of a linear map's outputs."""
    weight, bias = module.weight.detach()[rows].clone(), None if module.bias is None else module.bias.detach()[rows]
    resize(module, weight.shape)
    module.weight.data = weight
    if bias is not None:
        module.bias.data = bias.clone()


def keep_columns(module: nn.Linear, columns: Tensor) -> None:
    """Leave only some of a linear map's inputs."""
    weight, bias = module.weight.detach()[:, columns].clone(), module.bias
    module.weight = nn.Parameter(weight, requires_grad=False)
    module.in_features, module.bias = weight.shape[1], bias
