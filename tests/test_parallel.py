"""Several workers make what one makes: losses, validation and scores, whatever the heads, balancers and adapters."""

from __future__ import annotations

import json
import os
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from genre.batches import TrainingLog
from genre.config import Config
from genre.configfile import load
from genre.crosschecks import contradictions
from genre.data import Log
from genre.errors import ConfigError, GenreError
from genre.executors.local import Local
from genre.heads import Examples, counted
from genre.noise import Dealt, dealt_noise
from genre.parallel import Team, joining, team
from genre.sharing import Share
from genre.train import train_in_team
from genre.yamlfile import dotted
from toyworld import circle, config, dataset, reviews, text_config, tiny_backbone

TOLERANCE = 1e-4
SHORT = {"warmup_epochs": 1, "epochs": 2}
LISTS = {"like": {"type": "listwise", "label": "value >= 4"}, "next": "next_item"}
ALL = {
    "next": {"type": "next_item", "negatives": 5, "mask_seen": True},
    "views": {"type": "contrastive", "items": 8, "weight": 0.3},
    "rating": {"type": "multiclass", "label": "value", "class_weights": "balanced"},
    "amount": {"type": "ordinal", "label": "value", "weight": 0.2},
}
NOISY = {"type": "lora", "layers": 1, "r": 4, "dropout": 0.2}
STARS = {"stars": "regression", "recommended": {"type": "binary", "label": "recommended"}}
TOKENS = {**STARS, "colour": {"type": "multiclass", "label": "colour"}, "names": {"type": "token", "label": "names"}}
ITEMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "sampled": {"model": {"heads": ALL, "dropout": 0.2, "adapter": NOISY}, "train": {**SHORT, "graph_tokens": 0}},
    "uncertainty": {"model": {"balance": "uncertainty", "towers": "ple"}, "train": {**SHORT, "token_budget": 256}},
    "gradnorm": {"model": {"balance": "gradnorm"}, "train": SHORT},
    "pcgrad": {"model": {"balance": "pcgrad", "dropout": 0.1}, "train": SHORT},
    "upgrad": {"model": {"balance": "upgrad"}, "train": {**SHORT, "ema": 0.9}},
    "dwa": {"model": {"balance": "dwa", "adapter": "adalora"}, "train": SHORT},
    "lists": {"model": {"heads": LISTS, "max_history": 3}, "train": SHORT},
    "parts of items": {"model": {"adapter": "full", "pooling": "attention"}, "train": {**SHORT, "graph_tokens": 0}},
    "few": {"train": {**SHORT, "batch_size": 1, "warmup_epochs": 0, "epochs": 1}},
}
TEXTS: dict[str, dict[str, Any]] = {
    "text": {"model": {"dropout": 0.2}, "train": {**SHORT, "token_budget": 256}},
    "tokens": {"model": {"heads": TOKENS, "balance": "upgrad"}, "train": SHORT},
    "contrast": {"train": {**SHORT, "contrastive_start": 1}},
    "freelb": {"train": {**SHORT, "perturb": "freelb"}},
    "rdrop": {"model": {"dropout": 0.2}, "train": {**SHORT, "perturb": "rdrop"}},
    "all": {"model": {"adapter": "full", "pooling": "attention"}, "train": SHORT},
    "parts of texts": {"model": {"adapter": "full"}, "train": {**SHORT, "token_budget": 256}},
}
PAIRS = {
    "formulation": {"type": "cross", "targets": 3, "negatives": 2, "pool": 10, "prompt": "{history:8} [SEP] {item}"},
    "template": "{title}",
    "max_tokens": 32,
    "heads": {"chosen": {"type": "listwise", "label": "chosen"}},
}


def shown() -> Any:
    """The circle, in which two events in a row were shown together and the second was passed over."""
    reading = circle(n_users=24)
    n = reading.interactions.num_rows
    step = np.arange(n) % 12
    action = ["skip" if s % 2 and s < 8 else "rate" for s in step]
    log = reading.interactions.set_column(reading.interactions.column_names.index("action"), "action", [action])
    pages = [f"p{i // 2}" for i in range(n)]
    stamps = np.repeat(np.arange(n // 2), 2) % 6 + 1_000_000
    log = log.append_column("impression_id", [pages])
    log = log.set_column(log.column_names.index("timestamp"), "timestamp", [stamps])
    return type(reading)(log, reading.items, reading.users, name="shown", source="made", licence="none")


def make(folder: Path) -> None:
    """The language model and the data of all cases."""
    tiny_backbone(folder / "bert")
    dataset(circle(n_users=40)).save(folder / "circle")
    dataset(shown()).save(folder / "shown")
    dataset(reviews(n=100), {"type": "random", "per": "log", "valid": 0.2, "test": 0.2}).save(folder / "reviews")


def cases(folder: Path) -> dict[str, tuple[Config, Path]]:
    """A configuration and the data of each case."""
    backbone = {"type": "huggingface", "path": str(folder / "bert")}
    found = {
        name: (config(backbone, **{"train": SHORT} | s), folder / ("shown" if name == "lists" else "circle"))
        for name, s in ITEMS.items()
    }
    found |= {name: (text_config(backbone, **sections), folder / "reviews") for name, sections in TEXTS.items()}
    stop = {"metric": "chosen.grouped_auc"}
    pairs = text_config(backbone, model=PAIRS, train={**SHORT, "batch_size": 30, "early_stopping": stop})
    return found | {"pairs": (pairs, folder / "circle")}


def train_all(folder: Path, made: Path) -> None:
    """Train every case: the work of one process, or of each of several."""
    os.environ["GENRE_CACHE"] = str(made / "cache")
    for name, (conf, data) in cases(folder).items():
        divided = name.startswith("parts") and not team().alone
        with joining(replace(team(), shard="full")) if divided else nullcontext():
            train_in_team(conf, data, made / name, "key")


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """What one process made of every case, and what two workers made."""
    folder = tmp_path_factory.mktemp("parallel")
    make(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENRE_CACHE", "")
        train_all(folder, folder / "one")
    Local(workers=2).run(train_all, folder, folder / "two")
    return folder / "one", folder / "two"


@pytest.mark.parametrize("name", [*ITEMS, *TEXTS, "pairs"])
def test_two_workers_learn_what_one_learns(both: tuple[Path, Path], name: str):
    one, two = (pq.read_table(folder / name / "curves.parquet").to_pylist() for folder in both)
    assert len(one) == len(two) > 0
    for alone, shared in zip(one, two, strict=True):
        for key, value in alone.items():
            if key.startswith(("loss/", "valid/")) and value is not None:
                assert shared[key] == pytest.approx(value, abs=TOLERANCE), (alone["phase"], alone["epoch"], key)
    teams = [json.loads((folder / name / "training.json").read_text())["workers"] for folder in both]
    assert teams == [1, 2]


def test_weights_in_parts_are_saved_whole(both: tuple[Path, Path]):
    one, two = (load_file(folder / "parts of items" / "finetuned" / "text.safetensors") for folder in both)
    assert one.keys() == two.keys()
    for name, weight in one.items():
        assert two[name].shape == weight.shape
        torch.testing.assert_close(two[name], weight, atol=1e-3, rtol=1e-3)


def halves(total: int) -> list[np.ndarray]:
    """Two workers' numbers of so many entries."""
    return [np.arange(rank, total, 2) for rank in range(2)]


def test_what_is_dropped_is_dealt_out():
    """Each worker drops, and leaves random numbers standing, as one worker with the whole batch."""
    states = torch.randn(5, 4, 8)
    layer = nn.Dropout(0.5)

    def drawn(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        torch.manual_seed(3)
        return layer(values), torch.rand(2)

    whole, after = drawn(states)
    for rows in halves(5):
        with dealt_noise(Dealt.of(rows, 5)):
            mine, standing = drawn(states[torch.from_numpy(rows)])
        torch.testing.assert_close(mine, whole[torch.from_numpy(rows)])
        torch.testing.assert_close(standing, after)


@pytest.mark.parametrize("masked", ["none", "bool", "float", "causal"])
def test_dropped_attention_is_dealt_out(masked: str):
    query, key, value = (torch.randn(6, 2, 3, 4) for _ in range(3))
    seen = torch.rand(6, 1, 3, 3) > 0.2
    seen[..., 0] = True
    masks = {"bool": seen, "float": torch.where(seen, 0.0, -1e4)}

    def attended(rows: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(3)
        mask = masks[masked][rows] if masked in masks else None
        of = (query[rows], key[rows], value[rows])
        return nn.functional.scaled_dot_product_attention(*of, mask, dropout_p=0.3, is_causal=masked == "causal")

    whole = attended(torch.arange(6))
    for rows in halves(6):
        with dealt_noise(Dealt.of(rows, 6)):
            mine = attended(torch.from_numpy(rows))
        torch.testing.assert_close(mine, whole[torch.from_numpy(rows)], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("size", "n"), [(1, 5), (3, 7), (4, 2), (2, 0)])
def test_things_are_dealt_once_each(size: int, n: int):
    workers = [Team(rank=rank, size=size) for rank in range(size)]
    assert sorted(i for one in workers for i in one.mine(n)) == list(range(n))
    assert [i for one in workers for i in range(n)[one.stretch(n)]] == list(range(n))


def test_windows_with_a_list_in_common_stay_together():
    log = Log.of(dataset(shown())).parts("train")
    batches = TrainingLog(log, {"like": log.value}, 2, None).epoch(1000, np.random.default_rng(0))
    batch = next(batches)
    shares = [Share.of(batch, Team(rank=rank, size=2)) for rank in range(2)]
    groups = [set(share.batch.group[share.batch.group >= 0].tolist()) for share in shares]
    assert not groups[0] & groups[1]
    assert groups[0] | groups[1] == set(batch.group[batch.group >= 0].tolist())
    assert sum(len(share.batch.item) for share in shares) == len(batch.item)
    assert all(len(share.batch.candidates) == len(batch.candidates) for share in shares)


def test_a_head_that_does_not_tell_its_count_is_refused():
    class Own:
        label = ""
        weight = 1.0

    examples = Examples(torch.zeros(2), torch.zeros(2, 3), torch.zeros(2))
    with pytest.raises(GenreError, match="no label and no method counts"):
        counted(Own(), None, examples)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("sections", "place", "why"),
    [
        ({"executor": {"workers": 2, "shard": "full"}}, "executor.shard", "needs model.adapter: full"),
        (
            {"executor": {"shard": "full"}, "model": {"adapter": "full"}},
            "executor.shard",
            "executor.workers is 1",
        ),
        (
            {"executor": {"workers": 2, "shard": "full"}, "model": {"adapter": "full"}, "train": {"ema": 0.9}},
            "train.ema",
            "keeps whole weights",
        ),
    ],
)
def test_what_workers_cannot_do_is_told(sections: dict[str, Any], place: str, why: str):
    conf = config({"type": "minilm"}, **{**sections, "executor": {"type": "local", **sections["executor"]}})
    found = {dotted(at): text for at, text in contradictions(conf, lambda at: True, [])}
    assert why in found[place]


@pytest.mark.parametrize("word", ["tensor", "tp"])
@pytest.mark.parametrize("kind", ["local", "ray"])
def test_tensor_parallel_is_refused_with_its_reason(word: str, kind: str, tmp_path: Path):
    path = tmp_path / "c.yaml"
    path.write_text(f"data: {{reader: movielens}}\nexecutor: {{type: {kind}, workers: 2, shard: {word}}}\n")
    with pytest.raises(ConfigError) as caught:
        load(path)
    (problem,) = caught.value.problems
    assert "executor.shard" in problem
    assert "has all workers read the same texts, and here each reads its own; take full" in problem
