"""RecBole's full-sort evaluation of given scores: once over all people for each line that comes in.

Run by the Python of the side environment; imports nothing of the package. Scores are made a batch at a time and that
time does not count. As in RecBole's trainer a batch's history is set to -inf, then its collector and at the end its
evaluator are called.
"""

# pyright: reportMissingImports=false
from __future__ import annotations

import json
import logging
import sys
import time
import warnings
from typing import Any

import numpy as np

METRICS = {"Recall": "recall", "NDCG": "ndcg", "MRR": "mrr", "Hit": "hit"}


def evaluate(task: Any, batch: int, config: Any) -> dict[str, Any]:
    """Once over all people."""
    import torch
    from recbole.evaluator import Collector, Evaluator

    collector, evaluator, seconds = Collector(config), Evaluator(config), 0.0
    starts = np.concatenate([[0], np.cumsum(task["counts"])])
    offsets, people = task["offsets"], task["people"]
    for i in range(0, len(people), batch):
        # RecBole numbers items from 1, so that a column stands before ours.
        scores = torch.from_numpy(np.pad(people[i : i + batch] @ task["items"].T, ((0, 0), (1, 0))))
        j = min(i + batch, len(people))
        rows = torch.from_numpy(np.repeat(np.arange(j - i), np.diff(offsets[i : j + 1])))
        seen = torch.from_numpy(task["history"][offsets[i] : offsets[j]].astype(np.int64) + 1)
        positive_u = torch.from_numpy(np.repeat(np.arange(j - i), task["counts"][i:j]))
        positive_i = torch.from_numpy(task["targets"][starts[i] : starts[j]].astype(np.int64) + 1)
        started = time.perf_counter()
        scores[:, 0] = -np.inf
        scores[(rows, seen)] = -np.inf
        collector.eval_batch_collect(scores, None, positive_u, positive_i)
        seconds += time.perf_counter() - started
    started = time.perf_counter()
    found = evaluator.evaluate(collector.get_data_struct())
    return {"seconds": seconds + time.perf_counter() - started, "values": {n: float(v) for n, v in found.items()}}


def main() -> None:
    from recbole.config import Config

    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    path, batch, cuts = sys.argv[1], int(sys.argv[2]), [int(one) for one in sys.argv[3].split(",")]
    asked = {"metrics": list(METRICS), "topk": cuts, "metric_decimal_place": 8, "use_gpu": False, "state": "ERROR"}
    sys.argv = sys.argv[:1]
    config = Config(model="BPR", dataset="task", config_dict={**asked, "valid_metric": f"MRR@{cuts[0]}"})
    task = dict(np.load(path))
    for _ in sys.stdin:
        print(json.dumps(evaluate(task, batch, config)), flush=True)


if __name__ == "__main__":
    main()
