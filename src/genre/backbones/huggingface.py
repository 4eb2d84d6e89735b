"""Any BERT-class encoder of the HuggingFace format."""

from __future__ import annotations

from genre.backbones import Loaded
from genre.component import component
from genre.huggingface import load_encoder


@component
class HuggingFace:
    """An encoder from a local folder or from the hub, when `minilm` is not the model you want.

    Needs ``config.json``, safetensors weights and a fast tokenizer; layers in order under ``encoder.layer`` (BERT,
    RoBERTa, XLM-R, ELECTRA, MPNet ...).
    """

    path: str = "sentence-transformers/all-MiniLM-L6-v2"
    """A folder, or a hub id, which is downloaded once (needs the network then)."""

    def load(self) -> Loaded:
        return load_encoder(self.path)
