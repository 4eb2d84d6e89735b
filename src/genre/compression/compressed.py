"""A trained model whose texts are read by a compressed language model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from genre.compression.forms import Served
from genre.compression.network import Network
from genre.compression.vectorcoding import coding_of
from genre.compressors import Form
from genre.data import Dataset, Histories
from genre.errors import RunError
from genre.files import unseal
from genre.model import TrainedModel
from genre.prompts import item_texts
from genre.sheets import Rows, Sheet
from genre.states import load_state
from genre.textencoder import TextEncoder, build, load
from genre.textmodel import Read, TrainedTexts, load_heads
from genre.types import Floats, State

FORMAT = 1
"""Version of the layout of ``compress/NAME/`` of a run."""


@dataclass
class CompressedModel(TrainedModel):
    """A `two_tower` model that reads texts by a compressed language model."""

    form: Any = None
    kept: State = field(default_factory=dict)
    """The item vectors as they are kept, and compared with those of people; ``vectors`` is what they say."""

    @classmethod
    def of(cls, model: TrainedModel, form: Served, data: Dataset) -> CompressedModel:
        """A model with the vectors that the form's reading of the catalogue gives."""
        made = cls(model.model, model.vectors, None, model.folder, form)
        return made.with_vectors(made.vectors_from(made.read_items(data)))

    def with_vectors(self, vectors: torch.Tensor) -> CompressedModel:
        """With other item vectors, kept as the form says."""
        return self.with_kept(coding_of(self.form.form.coding).encode(vectors.numpy()))

    def with_kept(self, kept: State) -> CompressedModel:
        """With item vectors that are kept so already."""
        vectors = torch.from_numpy(coding_of(self.form.form.coding).decode(kept))
        return replace(self, vectors=vectors, kept=kept)

    def joined(self, vectors: Floats) -> CompressedModel:
        """See `TrainedModel.joined`."""
        return self.with_vectors(torch.cat([self.vectors, torch.from_numpy(vectors)]))

    def score_next(self, histories: Histories) -> Floats:
        """See `TrainedModel.score_next`."""
        return coding_of(self.form.form.coding).scores(self.kept, self.asking(histories))

    @torch.inference_mode()
    def vectors_from(self, texts: Floats) -> torch.Tensor:
        """Vectors of the catalogue's items from those of their texts: ``[items, dim]``."""
        return self.model.eval().items(torch.from_numpy(texts), torch.arange(len(texts)))

    def read_items(self, data: Dataset) -> Floats:
        """What the form makes of each item's text: ``[items, hidden]``."""
        return self.form.encode(item_texts(self.model.section, self.form, data))

    def embed(self, texts: list[str]) -> Floats:
        """See `TrainedModel.embed`."""
        return self.form.encode([self.form.reading.query + text for text in texts])

    @torch.inference_mode()
    def vectors_of(self, data: Dataset) -> Floats:
        """See `TrainedModel.vectors_of`."""
        return self.model.project(torch.from_numpy(self.read_items(data))).numpy()


@dataclass
class CompressedTexts(TrainedTexts):
    """A `text` or `cross` model that reads by a compressed language model; that is its ``loaded``, ``text`` is none."""

    @classmethod
    def of(cls, model: Any, form: Served) -> CompressedTexts:
        """Trained heads with a form."""
        nothing: Any = None
        stands_for: Any = form
        return cls(model, nothing, stands_for)

    @torch.inference_mode()
    def readings(self, sheet: Sheet, most_bytes: float = 0) -> Iterator[tuple[Rows, Read]]:
        """See `TrainedTexts.readings`."""
        form: Any = self.loaded
        ends = sheet.asked_lengths
        for rows, states, _ in form.read(sheet.tokens, self.token_budget):
            prompt = np.arange(states.shape[1]) < ends[rows][:, None]
            pooled = torch.from_numpy(form.pooled(states, prompt))
            yield rows, Read(pooled, torch.from_numpy(states).float() if self.model.reads_tokens else None)


def original(folder: Path, section: Any) -> tuple[Served, TextEncoder]:
    """The language model of a trained model's folder in its first form, and the encoder that it is made of.

    Raises `GenreError` for an adapter that cannot be folded into the language model's weights.
    """
    loaded = load(section.backbone)
    encoder, _ = build(section, loaded)
    weights = folder / "text.safetensors"
    if weights.exists():
        encoder.load_state_dict(load_file(weights), strict=False)
    encoder.eval()
    pool = {name.removeprefix("score."): value.numpy() for name, value in encoder.pool.state_dict().items()}
    network = Network.of(loaded, encoder.stack)
    form = Form(network, loaded.tokenizer)
    served = Served(form, loaded.reading, section.pooling, encoder.unit, section.max_tokens, pool or None)
    return served, encoder


def load_form(folder: Path, model_hash: str | None) -> Served:
    """The form of a run in its folder. Raises `RunError` where it is missing, damaged, or of another model."""
    if not folder.exists():
        made = sorted(path.parent.name for path in folder.parent.glob("*/manifest.json"))
        known = f"made are {', '.join(made)}" if made else "none was made yet"
        raise RunError(f"{folder}: no such form; {known}; make it with 'genre compress {folder.parent.parent}'")
    remedy = f"genre compress {folder.parent.parent} --with {folder.name}"
    manifest = unseal(folder, FORMAT, remedy)
    if manifest["model"] != model_hash:
        raise RunError(f"{folder}: was made from another model than the one here; run '{remedy}' again")
    return Served.load(folder)


def load_compressed(folder: Path, form: Path, data: Dataset) -> CompressedModel | CompressedTexts:
    """A model folder with a form of its language model, none of whose layers is loaded unless the form needs them."""
    digest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["hash"]
    served = load_form(form, digest)
    if (folder / "heads.safetensors").exists():
        return CompressedTexts.of(load_heads(folder, data, served), served)
    model = TrainedModel.load(folder, data)
    kept = load_state(form / "items.safetensors")
    return CompressedModel(model.model, model.vectors, None, folder, served).with_kept(kept)
