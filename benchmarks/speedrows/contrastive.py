"""Two texts of a pair are brought together and those of a batch apart: our training step, and sentence-transformers'.

The pairs are titles of items that a person chose one right after the other. Both train MiniLM's two top layers with
AdamW at one rate from the same start, on the same batches in the same order, without dropout, with the cross-entropy of
cosines over the batch; the losses of both stand beside the times. Ours reads each distinct title of a batch once, in
batches of like length, from the states below the trained layers: in the first epoch these are made, later they are
there. Theirs (https://sbert.net) runs all layers over each title, padded to the longest of the batch.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch

from genre.component import Slot
from genre.config import ModelSection, TrainSection
from genre.hidden import hidden_states, states_in, tokenize
from genre.stepping import Stepper
from genre.textencoder import build, load
from peers.asking import Asked
from peers.environment import Unavailable, python_of
from speedrows import table
from speedrows.titles import MAX_TOKENS, language_model, pairs, titles, written

PAIRS, BATCH, LAYERS, RATE, SCALE = 4096, 64, 2, 2e-5, 20.0
PROGRAM = Path(__file__).parent.parent / "peers" / "timing_sentence_transformers.py"


def trained(texts: list[str], drawn: np.ndarray, losses: list[float]) -> None:
    """An epoch from the language model as it came; the losses of the steps go to ``losses``."""
    section = ModelSection(adapter=Slot("adapters").build({"type": "top_layers", "layers": LAYERS}))
    loaded = load(section.backbone)
    encoder, tuning = build(section, loaded)
    encoder.train()
    train = TrainSection(weight_decay=0.0, schedule="constant", lr_warmup=0.0)
    steps = len(drawn) // BATCH
    stepper = Stepper.over(encoder.opened(), RATE, steps, train, tuning)
    used, places = np.unique(drawn[: steps * BATCH], return_inverse=True)
    tokens = tokenize(loaded, [texts[i] for i in used], MAX_TOKENS)
    states = hidden_states(loaded, tokens, encoder.stack.taps)
    for batch in places.reshape(steps, BATCH, 2):
        rows, at = np.unique(batch, return_inverse=True)
        read = encoder.follow(states, rows, train.token_budget, train.graph_tokens)
        one, other = read.vectors[torch.from_numpy(at.reshape(BATCH, 2))].unbind(1)
        loss = torch.nn.functional.cross_entropy(SCALE * one @ other.T, torch.arange(BATCH))
        loss.backward()
        encoder.carry(states, rows, read, 1.0, train.token_budget)
        stepper.step()
        losses.append(loss.item())


def main(repeats: int) -> dict[str, Any]:
    """Measure and print."""
    texts, log, what = titles()
    drawn = pairs(log, PAIRS)
    losses: list[float] = []
    with ExitStack() as open_ones:
        kept = Path(open_ones.enter_context(tempfile.TemporaryDirectory()))

        def ours(fresh: bool) -> Callable[[], float]:
            def run() -> float:
                losses.clear()
                with tempfile.TemporaryDirectory() as new, states_in(Path(new) if fresh else kept):
                    started = time.perf_counter()
                    trained(texts, drawn, losses)
                    return time.perf_counter() - started

            return run

        ways = [
            table.Way("ours, an epoch whose states are there", ours(fresh=False)),
            table.Way("ours, the first epoch, which makes them", ours(fresh=True)),
        ]
        peer, why = None, ""
        try:
            task = {
                "model": language_model(), "max_tokens": MAX_TOKENS, "layers": LAYERS, "batch": BATCH, "lr": RATE,
                "scale": SCALE, "anchors": [texts[i] for i in drawn[:, 0]],
                "positives": [texts[i] for i in drawn[:, 1]],
            }  # fmt: skip
            peer = Asked(python_of("sentence_transformers"), PROGRAM, ["train", written(kept, task)])
            open_ones.callback(peer.close)
            ways.append(table.Way("sentence-transformers' trainer", peer.run))
        except Unavailable as error:
            why = str(error)
            print(f"without sentence-transformers: {why}")
        rows = table.measure(ways, repeats)
        theirs = [] if peer is None else peer.said["losses"]
    table.show(f"an epoch of {len(drawn):,} pairs of titles of {what}, {LAYERS} layers trained", rows)
    last = {"ours": statistics.mean(losses[-10:])}
    if theirs:
        last["sentence-transformers"] = statistics.mean(theirs[-10:])
    print("mean loss of the last ten steps: " + ", ".join(f"{name} {value:.4f}" for name, value in last.items()))
    return {"rows": rows, "what": what, "pairs": len(drawn), "loss": last, "without": why}
