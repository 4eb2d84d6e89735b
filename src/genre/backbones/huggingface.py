"""Any encoder or decoder of the HuggingFace format."""

from __future__ import annotations

from genre.backbones import Loaded, Reading, Shape
from genre.component import component
from genre.huggingface import load, shape_of


@component
class HuggingFace:
    """A model from a local folder or from the hub, when none of the named ones is what you want.

    Needs ``config.json``, safetensors weights and a fast tokenizer. Encoders with their layers under ``encoder.layer``
    (BERT, RoBERTa, XLM-R, ELECTRA ...) and decoders with rotary positions (Llama, Qwen, Mistral, Gemma 3 ...); a model
    whose layers, run one by one, do not give what it gives as a whole is refused.
    """

    path: str = "sentence-transformers/all-MiniLM-L6-v2"
    """A folder, or a hub id, which is downloaded once (needs the network then)."""
    query_prefix: str = ""
    """What the model was taught to see in front of what a person says; e5 models want ``query: ``."""
    passage_prefix: str = ""
    """What it was taught to see in front of an item's text; e5 models want ``passage: ``."""

    def shape(self) -> Shape | None:
        return shape_of(self.path)

    def load(self) -> Loaded:
        return load(self.path, Reading(self.query_prefix, self.passage_prefix))
