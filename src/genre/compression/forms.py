"""A form of the language model on disk and in use: tokens in batches of like length, states, one vector a text."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from genre.backbones import Reading
from genre.compression.vectorcoding import VectorCoding
from genre.compressors import Form, Runner
from genre.text import batches_by_length
from genre.types import Bools, Floats, Ints

POOLINGS: dict[str, Callable[[Floats, Bools], Floats]] = {
    "mean": lambda states, real: (states * real[..., None]).sum(1) / real.sum(1, keepdims=True),
    "first": lambda states, real: states[:, 0],
    "last": lambda states, real: states[np.arange(len(states)), real.sum(1) - 1],
}


@dataclass(frozen=True)
class Served:
    """A form with what is around it in a trained model: how texts are read, and how states become a vector."""

    form: Form
    reading: Reading
    pooling: str
    unit: bool
    """Whether vectors are of unit length."""
    max_tokens: int
    attention: dict[str, Floats] | None = None
    """Weight and bias of a learned pooling."""

    @property
    def tokenizer(self) -> Any:
        """Of the form, whose words may be fewer than the language model's."""
        return self.form.tokenizer

    @property
    def vocabulary(self) -> None:
        """None: it makes vectors, and does not write."""

    @property
    def hidden_size(self) -> int:
        """Width of states and vectors."""
        return self.form.runner.hidden_size

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Token numbers of each text, at least one."""
        found = self.tokenizer(list(texts), truncation=True, max_length=self.max_tokens)["input_ids"]
        return [one or [self.tokenizer.eos_token_id or 0] for one in found]

    def encode(self, texts: Sequence[str], token_budget: int = 8192) -> Floats:
        """A vector a text: ``[texts, hidden]``; what stands in front of a query or a passage is up to the caller."""
        tokens = self.tokens(texts)
        vectors = np.empty((len(tokens), self.hidden_size), dtype=np.float32)
        for rows, states, real in self.read(tokens, token_budget):
            vectors[rows] = self.pooled(states, real)
        return vectors

    def read(
        self, tokens: Sequence[Sequence[int]], token_budget: int = 8192
    ) -> Iterator[tuple[np.ndarray, Floats, Bools]]:
        """Rows, states and which of them are real, in batches of similar length."""
        lengths = np.array([len(one) for one in tokens], dtype=np.int64)
        for batch in batches_by_length(lengths, token_budget):
            ids, real = padded([tokens[row] for row in batch.rows], self.tokenizer.pad_token_id or 0)
            yield batch.rows, self.form.runner.states(ids, real), real

    def pooled(self, states: Floats, real: Bools) -> Floats:
        """One vector a text from the states of its tokens."""
        if self.pooling == "attention":
            assert self.attention is not None
            scores = states @ self.attention["weight"][0] + self.attention["bias"][0]
            scores = np.where(real, scores, -np.inf)
            weights = np.exp(scores - scores.max(1, keepdims=True))
            vectors = ((weights / weights.sum(1, keepdims=True))[..., None] * states).sum(1)
        else:
            vectors = POOLINGS[self.pooling](states, real)
        if self.unit:
            vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return vectors.astype(np.float32, copy=False)

    def save(self, folder: Path) -> None:
        """Write the runner, the tokenizer, and ``form.json``."""
        from safetensors.numpy import save_file

        runner = folder / "runner"
        runner.mkdir(parents=True)
        self.form.runner.save(runner)
        self.tokenizer.save_pretrained(folder / "tokenizer")
        if self.attention is not None:
            save_file(self.attention, folder / "pooling.safetensors")
        facts = {
            "runtime": runtime_of(self.form.runner),
            "pooling": self.pooling,
            "unit": self.unit,
            "max_tokens": self.max_tokens,
            "query": self.reading.query,
            "passage": self.reading.passage,
            "temperature": self.reading.temperature,
            "coding": asdict(self.form.coding) if self.form.coding is not None else None,  # type: ignore[call-overload]
        }
        (folder / "form.json").write_text(json.dumps(facts, indent=1, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Served:
        """What `save` wrote; loads no layers of torch unless the form runs in it."""
        from safetensors.numpy import load_file
        from transformers import PreTrainedTokenizerFast

        facts = json.loads((folder / "form.json").read_text(encoding="utf-8"))
        # By its own class the tokenizer would be looked up in the language model's description, which is not here.
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder / "tokenizer")
        runner = load_runner(facts["runtime"], folder / "runner")
        pooling = folder / "pooling.safetensors"
        return cls(
            Form(runner, tokenizer, VectorCoding(**facts["coding"]) if facts["coding"] else None),
            Reading(facts["query"], facts["passage"], facts["temperature"]),
            facts["pooling"],
            facts["unit"],
            facts["max_tokens"],
            load_file(pooling) if pooling.exists() else None,
        )


def padded(tokens: Sequence[Sequence[int]], pad: int) -> tuple[Ints, Bools]:
    """Token lists as one array, and where it is real: ``[b, longest]`` each."""
    lengths = np.array([len(one) for one in tokens])
    real = np.arange(lengths.max()) < lengths[:, None]
    ids = np.full(real.shape, pad, dtype=np.int32)
    ids[real] = np.concatenate([np.asarray(one, dtype=np.int32) for one in tokens])
    return ids, real


def size_of(folder: Path) -> int:
    """Bytes of everything in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def runtime_of(runner: Runner) -> str:
    """The word for what a runner runs in."""
    return getattr(runner, "runtime", "torch")


def load_runner(runtime: str, folder: Path) -> Runner:
    """The runner that was saved in a folder."""
    if runtime == "torch":
        from genre.compression.network import Network

        return Network.load(folder)
    from genre.compression.runtimes import RUNTIMES

    return RUNTIMES[runtime].load(folder)
