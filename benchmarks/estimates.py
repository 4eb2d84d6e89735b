"""Memory and time of trainings that were not run, by formula: a 7B language model on one card, 100 M interactions.

    python benchmarks/estimates.py [--lora RANK] [--interactions N] [--items N] [--workers N]

Prints the tables of docs/scale.md. Nothing here is measured: the shapes are those of the models, the machines are what
their makers say times a share that trainings reach, and every line is one product that stands in the code. Tokens a
step are ``train.token_budget``; weights, optimizer and what is sent are float32, as this package computes them, and the
column *in 16 bits* says what it would be if weights that are not trained were kept in two bytes.

Activations are those of Korthikanti et al. (2022), https://arxiv.org/abs/2205.05198, doubled for float32; operations
are 2 a weight and token forward, and as many for each of the two gradients that are asked for.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

GB = 1e9
FLOAT = 4
UTILISED = 0.35
"""Share of a machine's operations that a training reaches; 0.3 to 0.5 are usual."""


@dataclass(frozen=True)
class Machine:
    """One device."""

    name: str
    flops: float
    """Operations a second of matrix products in bfloat16 with float32 sums; of a processor in float32."""
    memory: float
    """Bytes."""
    network: float
    """Bytes a second to the next."""


LAPTOP = Machine("laptop, 8 cores", 5e11, 16 * GB, 1.25e8)
CARD = Machine("24 GB card (RTX 4090)", 165e12, 24 * GB, 12e9)
SERVER = Machine("80 GB card (H100, NVLink)", 990e12, 80 * GB, 450e9)
NODE = Machine("16-core machine, 10 Gbit/s", 1e12, 64 * GB, 1.25e9)


@dataclass(frozen=True)
class Model:
    """The layers of a language model."""

    name: str
    layers: int
    hidden: int
    heads: int
    key_heads: int
    inner: int
    gated: bool
    vocabulary: int

    @property
    def matrices(self) -> dict[str, tuple[int, int]]:
        """Weight matrices of one layer."""
        keys = self.hidden * self.key_heads // self.heads
        ups = {"up": (self.hidden, self.inner), "down": (self.inner, self.hidden)}
        ups |= {"gate": (self.hidden, self.inner)} if self.gated else {}
        square = (self.hidden, self.hidden)
        return {"query": square, "key": (self.hidden, keys), "value": (self.hidden, keys), "output": square, **ups}

    @property
    def weights(self) -> int:
        """Weights of all layers, without the table of word vectors, which stays on the processor."""
        return self.layers * sum(a * b for a, b in self.matrices.values())

    @property
    def words(self) -> int:
        """Weights of the table of word vectors."""
        return self.vocabulary * self.hidden

    def lora(self, rank: int, targets: tuple[str, ...] = ("query", "value")) -> int:
        """Weights that LoRA adds to all layers."""
        return self.layers * sum(rank * sum(self.matrices[name]) for name in targets)

    def inside(self, tokens: int, length: int) -> float:
        """Bytes of one layer's inner values for the gradient."""
        return 2 * tokens * self.hidden * (34 + 5 * self.heads * length / self.hidden)

    def entering(self, tokens: int) -> float:
        """Bytes of what enters all layers, which checkpointing keeps."""
        return self.layers * tokens * self.hidden * FLOAT


MODELS = (
    Model("MiniLM (6 layers)", 6, 384, 12, 12, 1536, False, 30522),
    Model("SmolLM2-135M", 30, 576, 9, 3, 1536, True, 49152),
    Model("Qwen3-0.6B", 28, 1024, 16, 8, 3072, True, 151936),
    Model("Llama-3.2-3B", 28, 3072, 24, 8, 8192, True, 128256),
    Model("Mistral-7B", 32, 4096, 32, 8, 14336, True, 32000),
)


@dataclass(frozen=True)
class Tuning:
    """What fine-tuning a model on one device takes."""

    model: Model
    rank: int | None
    """Of LoRA; None for all weights."""
    tokens: int
    """Tokens that go through at a time."""
    length: int
    """Tokens of a text."""
    checkpointing: bool
    parts: int = 1
    """Devices that hold a part of every weight each."""

    @property
    def trained(self) -> int:
        """Weights that are trained."""
        return self.model.weights if self.rank is None else self.model.lora(self.rank)

    def memory(self, frozen_bytes: int = FLOAT) -> float:
        """Bytes on each device: weights; gradient and both means of AdamW of what is trained; inner values."""
        frozen = 0 if self.rank is None else self.model.weights * frozen_bytes
        held = (frozen + self.trained * FLOAT * 4) / self.parts
        # A layer is put together while it computes, and the next is fetched meanwhile.
        gathered = 0 if self.parts == 1 else 2 * self.model.weights / self.model.layers * FLOAT
        inside = self.model.inside(self.tokens, self.length)
        kept = self.model.entering(self.tokens) + inside if self.checkpointing else self.model.layers * inside
        return held + gathered + kept

    @property
    def operations(self) -> float:
        """Of one token: forward, the gradient of what enters, that of what is trained, and forward once more."""
        passes = 2 + (1 if self.rank is None else self.trained / self.model.weights) + self.checkpointing
        return 2 * self.model.weights * passes

    def tokens_per_second(self, machine: Machine) -> float:
        """Of one device."""
        return machine.flops * UTILISED / self.operations


@dataclass(frozen=True)
class Log:
    """A log of interactions, and the part of a model that is trained on it while the language model is held still."""

    interactions: int
    people: int
    items: int
    dim: int = 128
    layers: int = 2
    window: int = 50
    negatives: int = 4096
    words: int = 20
    """Tokens of an item's text."""

    @property
    def in_memory(self) -> float:
        """Bytes of the log as arrays, and of its windows: user, item, action, value, time, impression, part, order."""
        return self.interactions * (4 + 4 + 4 + 4 + 8 + 4 + 1 + 3 * 8)

    @property
    def states_on_disk(self) -> float:
        """Bytes of the states below the trained layers, of every item's text, by MiniLM."""
        return self.items * self.words * MODELS[0].hidden * 2

    @property
    def tables(self) -> float:
        """Bytes of the items' own vectors with gradient and AdamW, and of their text vectors."""
        return self.items * FLOAT * (4 * self.dim + MODELS[0].hidden)

    def operations(self, batch: int, workers: int) -> float:
        """Of a worker's step: towers and softmax of its events, the projection of every item that the batch touches."""
        events = min(batch * self.window, self.interactions)
        touched = min(self.items, self.negatives + events)
        of_event = self.layers * (12 * self.dim**2 + 2 * self.window * self.dim)
        of_event += self.dim * min(self.items, self.negatives + events)
        return 6 * (events / workers * of_event + touched * MODELS[0].hidden * self.dim)

    @property
    def sent(self) -> float:
        """Bytes that a worker sends and receives a step: the gradients twice round, the items' table above all."""
        towers = self.layers * 12 * self.dim**2 + MODELS[0].hidden * self.dim
        return 2 * FLOAT * (self.items * self.dim + towers)

    def epoch(self, batch: int, workers: int, machine: Machine) -> tuple[float, float]:
        """Seconds of computing and of sending in an epoch."""
        steps = max(1.0, self.interactions / (batch * self.window))
        share = 0.0 if workers == 1 else (workers - 1) / workers
        computing = steps * self.operations(batch, workers) / (machine.flops * UTILISED)
        return computing, steps * share * self.sent / machine.network


def of_models(rank: int, tokens: int, length: int) -> None:
    """Fine-tuning by model, on one card and in parts on eight."""
    print(f"| model | fine-tuned | GB a device | in 16 bits | fits 24 GB | tokens/s on the {CARD.name} |")
    print("|---|---|---|---|---|---|")
    for model in MODELS:
        for how, parts in ((rank, 1), (None, 1), (None, 8)):
            one = Tuning(model, how, tokens, length, checkpointing=True, parts=parts)
            name = "all weights" if how is None else f"LoRA {how}"
            name += f", in {parts} parts" if parts > 1 else ""
            memory, halved = one.memory() / GB, one.memory(2) / GB
            fits = "yes" if memory < 24 else ("in 16 bits" if halved < 24 else "no")
            small = f"{halved:.1f}" if how else "-"
            print(f"| {model.name} | {name} | {memory:.1f} | {small} | {fits} | {one.tokens_per_second(CARD):,.0f} |")


def of_seven(rank: int, tokens: int, length: int) -> None:
    """The parts of the memory of a 7B model with LoRA, and the time of 100,000 texts."""
    model = MODELS[-1]
    one = Tuning(model, rank, tokens, length, checkpointing=True)
    parts = {
        "weights of the layers, float32": model.weights * FLOAT,
        "the same in 16 bits": model.weights * 2,
        "LoRA: weights, gradient, AdamW": one.trained * FLOAT * 4,
        f"what enters {model.layers} layers, {tokens} tokens": model.entering(tokens),
        "inner values of one layer": model.inside(tokens, length),
        "table of words, on the processor": model.words * FLOAT,
    }
    print("| part of the memory | GB |\n|---|---|")
    for name, size in parts.items():
        print(f"| {name} | {size / GB:.2f} |")
    texts = 100_000
    for machine in (CARD, SERVER):
        hours = texts * length / one.tokens_per_second(machine) / 3600
        print(f"\n{texts:,} texts of {length} tokens, one epoch on the {machine.name}: {hours:.1f} h")


def of_logs(log: Log, most: int) -> None:
    """An epoch of the warm-up by the number of workers."""
    print(f"memory a worker: log {log.in_memory / GB:.1f} GB, tables {log.tables / GB:.1f} GB; states on disk ", end="")
    print(f"{log.states_on_disk / GB:.1f} GB; sent a step {log.sent / GB:.2f} GB\n")
    print("| workers | batch (people) | computing, s an epoch | sending, s | together | faster than one |")
    print("|---|---|---|---|---|---|")
    for batch in (256, 1024):
        alone = sum(log.epoch(batch, 1, NODE))
        for workers in [n for n in (1, 2, 4, 8, 16, 32) if n <= most]:
            computing, sending = log.epoch(batch, workers, NODE)
            row = f"| {workers} | {batch} | {computing:,.0f} | {sending:,.0f} | {computing + sending:,.0f} | "
            print(row + f"{alone / (computing + sending):.1f} |")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lora", type=int, default=8, help="rank of LoRA")
    parser.add_argument("--tokens", type=int, default=2048, help="train.token_budget")
    parser.add_argument("--length", type=int, default=128, help="tokens of a text")
    parser.add_argument("--interactions", type=int, default=100_000_000)
    parser.add_argument("--people", type=int, default=2_000_000)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, default=16)
    options = parser.parse_args()
    of_models(options.lora, options.tokens, options.length)
    print()
    of_seven(options.lora, options.tokens, options.length)
    print()
    of_logs(Log(options.interactions, options.people, options.items), options.workers)


if __name__ == "__main__":
    main()
