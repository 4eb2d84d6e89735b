"""Small worlds with known answers, and a tiny language model to live in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from genre.config import Config, DataSection
from genre.data import Dataset
from genre.datasets import Reading
from genre.prepare import build

WORDS = [
    f"{colour}{thing}" for colour in ("red", "green", "blue", "grey") for thing in ("cup", "hat", "pen", "box", "bag")
]


PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS, *[f"word{i}" for i in range(200)], "yes", "no"]


def tiny_backbone(folder: Path, layers: int = 2, hidden: int = 32) -> dict[str, Any]:
    """A random BERT with a vocabulary of toy words, saved as HuggingFace saves; as `model.backbone` names it."""
    import torch
    from tokenizers import processors
    from transformers import BertConfig, BertModel

    ends = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    _tokenizer(ends).save_pretrained(folder)
    torch.manual_seed(0)
    model = BertModel(
        BertConfig(
            vocab_size=len(PIECES),
            hidden_size=hidden,
            num_hidden_layers=layers,
            num_attention_heads=2,
            intermediate_size=2 * hidden,
            max_position_embeddings=64,
        )
    )
    model.save_pretrained(folder)
    return {"type": "huggingface", "path": str(folder)}


def tiny_decoder(folder: Path, layers: int = 2, hidden: int = 32) -> dict[str, Any]:
    """The same as a Llama: two query heads that share one key head, rotary positions, tied words."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    _tokenizer(None).save_pretrained(folder)
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(PIECES),
            hidden_size=hidden,
            num_hidden_layers=layers,
            num_attention_heads=2,
            num_key_value_heads=1,
            intermediate_size=2 * hidden,
            max_position_embeddings=128,
            tie_word_embeddings=True,
            pad_token_id=0,
            bos_token_id=2,
            eos_token_id=3,
        )
    )
    model.save_pretrained(folder)
    return {"type": "huggingface", "path": str(folder)}


def _tokenizer(ends: Any) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(PIECES)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    special: dict[str, Any] = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    if ends is None:
        special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "bos_token": "[CLS]", "eos_token": "[SEP]"}
    else:
        made.post_processor = ends
    return PreTrainedTokenizerFast(tokenizer_object=made, **special)


def circle(n_users: int = 60, n_items: int = 20, length: int = 12, seed: int = 0) -> Reading:
    """Users walk around a circle of items, each from a place of their own: the next item is certain.

    Items with an even number are liked (value 5), odd ones are not (value 1).
    """
    rng = np.random.default_rng(seed)
    starts = rng.integers(0, n_items, n_users)
    user = np.repeat(np.arange(n_users), length)
    item = (starts[user] + np.tile(np.arange(length), n_users)) % n_items
    log = pa.table(
        {
            "user_id": [f"u{u}" for u in user],
            "item_id": [f"i{i}" for i in item],
            "action": ["rate"] * len(user),
            "value": np.where(item % 2 == 0, 5.0, 1.0),
            "timestamp": np.tile(np.arange(length), n_users) + 1_000_000,
            "file": ["circle"] * len(user),
            "line": list(range(1, len(user) + 1)),
        }
    )
    titles = [f"{WORDS[i % len(WORDS)]} word{i}" for i in range(n_items)]
    items = pa.table({"item_id": [f"i{i}" for i in range(n_items)], "title": titles})
    users = pa.table({"user_id": [f"u{u}" for u in range(n_users)], "gender": ["FM"[u % 2] for u in range(n_users)]})
    return Reading(log, items, users, name="circle", source="made", licence="none")


def dataset(reading: Reading, split: Any = "last", seed: int = 7, **settings: Any) -> Dataset:
    """A prepared dataset in memory; its hash is set as if it had been saved."""
    data = build(reading, DataSection(reader={"type": "table"}, split=split, **settings), seed)
    data.manifest["hash"] = "toy"
    return data


def config(backbone: dict[str, Any], **sections: dict[str, Any]) -> Config:
    """A small configuration for the circle; sections given by name change it."""
    model = {
        "backbone": backbone,
        "dim": 32,
        "max_history": 16,
        "dropout": 0.0,
        "user": {"type": "transformer", "layers": 1},
        "adapter": {"type": "lora", "layers": 1, "r": 4},
        "heads": {
            "next": "next_item",
            "rating": {"type": "regression", "weight": 0.2},
            "like": {"type": "binary", "weight": 0.2},
        },
        **sections.get("model", {}),
    }
    train = {"warmup_epochs": 3, "epochs": 2, "batch_size": 16, "lr": {"rest": 5e-3}, **sections.get("train", {})}
    rest = {name: section for name, section in sections.items() if name not in ("model", "train")}
    return Config(data=DataSection(reader={"type": "table"}), model=model, train=train, **rest)


def reviews(n: int = 240, seed: int = 0) -> Reading:
    """Texts that say what they are labelled with: their colour is the stars, their thing whether it is recommended.

    Stars are 1, 2, 4 and 5 for red, green, blue and grey; cups and hats are recommended; a tenth of the labels is
    missing; each text has a span, ``thing``, at its second word.
    """
    rng = np.random.default_rng(seed)
    colour, thing, noise = rng.integers(0, 4, n), rng.integers(0, 5, n), rng.integers(0, 3, n)
    words = [WORDS[5 * c + t] for c, t in zip(colour, thing, strict=True)]
    filler = [f"word{i}" for i in noise]
    missing = rng.random(n) < 0.1
    log = pa.table(
        {
            "user_id": [f"u{i}" for i in range(n)],
            "item_id": [f"i{t}" for t in thing],
            "action": ["review"] * n,
            "value": np.array([1.0, 2.0, 4.0, 5.0])[colour],
            "recommended": pa.array(np.where(missing, np.nan, (thing < 2).astype(float)), from_pandas=True),
            "colour": [("red", "green", "blue", "grey")[c] for c in colour],
            "text": [f"{a} {b}" for a, b in zip(filler, words, strict=True)],
            "names": [[f"{len(a) + 1}:{len(a) + 1 + len(b)}:thing"] for a, b in zip(filler, words, strict=True)],
            "file": ["reviews"] * n,
            "line": list(range(1, n + 1)),
        }
    )
    items = pa.table({"item_id": [f"i{t}" for t in range(5)], "title": ["cup", "hat", "pen", "box", "bag"]})
    return Reading(log, items, None, name="reviews", source="made", licence="none")


def text_config(backbone: dict[str, Any], **sections: dict[str, Any]) -> Config:
    """A small configuration for the reviews; sections given by name change it."""
    model = {
        "formulation": "text",
        "backbone": backbone,
        "template": "{text}",
        "dim": 32,
        "dropout": 0.0,
        "adapter": {"type": "lora", "layers": 1, "r": 4},
        "heads": {"stars": "regression", "recommended": {"type": "binary", "label": "recommended"}},
        **sections.get("model", {}),
    }
    stop = {"metric": "stars.rmse", "patience": 20}
    train = {"warmup_epochs": 3, "epochs": 3, "batch_size": 16, "lr": {"rest": 5e-3}, "early_stopping": stop}
    train |= sections.get("train", {})
    rest = {name: section for name, section in sections.items() if name not in ("model", "train")}
    return Config(data=DataSection(reader={"type": "table"}), model=model, train=train, **rest)
