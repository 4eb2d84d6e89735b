"""What a second worker brings: steps a second of two that share every batch, beside two processes by themselves.

    python benchmarks/parallel.py [--seconds 30] [--repeats 3] [--rows "items, warm-up" ...] [--out FILE]

Two processes by themselves, at the same time on the same cores, are what the machine can give at most; two workers of
one team do the same steps of half a batch each, and tell each other gradients besides. Efficiency is the steps a second
of the team times two over those of the two processes together, as each of the team's steps is half a step for each
worker. One process alone stands beside both, to see what the cores take from each other.

Texts are made up and the language model is MiniLM-sized with random weights, as nothing is judged. One thread a
process. Repeats take turns, so that other work on the machine meets all three alike; each row is the median of them,
with the smallest and the largest. The losses of the first epoch, one process and the team beside each other, go into
the result too.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

MODES = ("alone", "two processes", "team of two")
ROWS = ("items, warm-up", "items, fine-tuning", "texts, fine-tuning")
PEOPLE, ITEMS, LENGTH, TEXTS = 600, 1700, 60, 1500
LAYERS, HIDDEN, VOCABULARY = 6, 384, 2000


def make(folder: Path) -> None:
    """A language model of MiniLM's size and two prepared logs."""
    import pyarrow as pa
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    from genre.config import DataSection
    from genre.datasets import Reading
    from genre.prepare import build

    words = ["[PAD]", "[UNK]", *(f"w{i}" for i in range(VOCABULARY))]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    made = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")
    made.save_pretrained(folder / "bert")
    shape = {"num_hidden_layers": LAYERS, "hidden_size": HIDDEN, "intermediate_size": 4 * HIDDEN}
    BertModel(BertConfig(vocab_size=len(words), num_attention_heads=12, **shape)).save_pretrained(folder / "bert")
    rng = np.random.default_rng(7)

    def texts(n: int) -> list[str]:
        return [" ".join(f"w{i}" for i in rng.integers(0, VOCABULARY, k)) for k in rng.integers(6, 24, n)]

    def save(name: str, n: int, per: int, items: int, split: Any, **columns: Any) -> None:
        log = {
            "user_id": [f"u{i // per}" for i in range(n)],
            "item_id": [f"i{i}" for i in rng.integers(0, items, n)],
            "value": rng.integers(1, 6, n).astype(float),
            "timestamp": np.arange(n) % per + 1_000_000,
            "file": ["made"] * n,
            "line": list(range(1, n + 1)),
            **columns,
        }
        sides = pa.table({"item_id": [f"i{i}" for i in range(items)], "title": texts(items)})
        reading = Reading(pa.table(log), sides, None, name=name, source="made", licence="none")
        build(reading, DataSection(reader={"type": "table"}, split=split), 7).save(folder / name)

    save("items", PEOPLE * LENGTH, LENGTH, ITEMS, "last")
    split = {"type": "random", "per": "log", "valid": 0.1, "test": 0.1}
    save("texts", TEXTS, 1, 50, split, text=texts(TEXTS))


def config_of(row: str, folder: Path) -> tuple[Any, Path]:
    """The configuration of a row, and where its data lie."""
    from genre.config import Config, DataSection

    data = DataSection(reader={"type": "table"})
    backbone = {"type": "huggingface", "path": str(folder / "bert")}
    model: dict[str, Any] = {"backbone": backbone}
    if row.startswith("texts"):
        model |= {"formulation": "text", "template": "{text}", "heads": {"stars": "regression"}}
        model |= {"adapter": {"type": "lora", "layers": LAYERS}}
        stop = {"metric": "stars.rmse"}
        return Config(data=data, model=model, train={"early_stopping": stop, "batch_size": 64}), folder / "texts"
    return Config(data=data, model=model, train={"batch_size": 64}), folder / "items"


def steps(row: str, folder: Path, seconds: float, out: Path) -> None:
    """Train for so many seconds, and write steps a second and the losses of the first epoch: a worker's work."""
    from genre.data import Dataset
    from genre.fitting import Fitter
    from genre.parallel import team
    from genre.textfitting import TextFitter

    config, at = config_of(row, folder)
    data = Dataset.load(at)
    fitter = TextFitter(config, data) if row.startswith("texts") else Fitter(config, data)
    phase = "warmup" if "warm-up" in row else "finetune"
    steppers = fitter.steppers(phase)
    fitter.probe(phase)
    team().wait()
    marks: list[tuple[float, int]] = [(time.perf_counter(), 0)]
    losses: dict[str, float] = {}

    def advance(done: int) -> None:
        marks.append((time.perf_counter(), marks[-1][1] + done))

    number = 0
    while not stopped(marks, seconds):
        number += 1
        found = fitter.epoch(phase, number, steppers, advance)
        losses = losses or found
    took, done = marks[-1][0] - marks[0][0], marks[-1][1]
    if team().leads:
        out.write_text(json.dumps({"steps_per_second": done / took, "losses": losses}), encoding="utf-8")


def stopped(marks: list[tuple[float, int]], seconds: float) -> bool:
    """Whether the time is over, by the first worker's clock."""
    from genre.parallel import team

    over = np.array([float(marks[-1][0] - marks[0][0] > seconds) if team().leads else 0.0])
    return bool(team().total(over)[0])


def by_itself(out: Path, row: str, folder: Path, seconds: float) -> None:
    """One of two processes that know nothing of each other but when to begin: each a team of its own."""
    from genre.parallel import Team, joining, team

    number = team().rank
    team().wait()
    with joining(Team()):
        steps(row, folder, seconds, out.with_name(f"{out.stem}-{number}.json"))


def measured(mode: str, row: str, folder: Path, seconds: float) -> dict[str, Any]:
    """Steps of a whole batch a second in one of the modes."""
    from genre.executors.local import Local

    out = folder / "steps.json"
    if mode == "two processes":
        Local(workers=2, retries=0).run(by_itself, out, row, folder, seconds)
        both = [json.loads((folder / f"steps-{n}.json").read_text(encoding="utf-8")) for n in range(2)]
        return {"steps_per_second": sum(one["steps_per_second"] for one in both), "losses": both[0]["losses"]}
    if mode == "alone":
        steps(row, folder, seconds, out)
    else:
        Local(workers=2, retries=0).run(steps, row, folder, seconds, out)
    return json.loads(out.read_text(encoding="utf-8"))


def summary(row: str, found: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """A row of the result."""
    speeds = {mode: [one["steps_per_second"] for one in of] for mode, of in found.items()}
    rates = [team / two for team, two in zip(speeds["team of two"], speeds["two processes"], strict=True)]
    one, team = (found[mode][0]["losses"] for mode in ("alone", "team of two"))
    return {
        "row": row,
        "steps_per_second": {mode: statistics.median(of) for mode, of in speeds.items()},
        "efficiency": {"median": statistics.median(rates), "from": min(rates), "to": max(rates)},
        "loss_apart": max(abs(one[name] - team[name]) for name in one),
        "losses": {"alone": one, "team of two": team},
    }


def main() -> None:
    """Measure the rows and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rows", nargs="*", choices=ROWS, default=list(ROWS))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "parallel.json")
    options = parser.parse_args()
    if os.environ.get("OMP_NUM_THREADS") != "1":
        sys.exit("set OMP_NUM_THREADS=1: a process here is one core")
    rows = []
    with tempfile.TemporaryDirectory(prefix="genre-parallel-") as name:
        folder = Path(name)
        os.environ["GENRE_CACHE"] = str(folder / "cache")
        make(folder)
        for row in options.rows:
            found: dict[str, list[dict[str, Any]]] = {mode: [] for mode in MODES}
            for _ in range(options.repeats):
                for mode in MODES:
                    found[mode].append(measured(mode, row, folder, options.seconds))
            rows.append(summary(row, found))
            speeds = ", ".join(f"{mode} {speed:.2f}" for mode, speed in rows[-1]["steps_per_second"].items())
            share = rows[-1]["efficiency"]
            print(f"{row}: steps/s {speeds}; efficiency {share['median']:.0%}", end="")
            print(f" [{share['from']:.0%}, {share['to']:.0%}]; losses {rows[-1]['loss_apart']:.1e} apart", flush=True)
    load = os.getloadavg()[0]
    facts = {
        "cores": os.cpu_count(),
        "load": load,
        "seconds": options.seconds,
        "repeats": options.repeats,
        "rows": rows,
    }
    options.out.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
