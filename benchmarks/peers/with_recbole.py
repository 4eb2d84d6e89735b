"""RecBole's SASRec, BPR and LightGCN (https://recbole.io), with its own data files, loaders and training steps.

Run by the Python of the side environment; imports nothing of the package.
"""

# pyright: reportMissingImports=false
from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from exchange import Asked, Peer, Rows, Task, run
from numpy.typing import NDArray

QUIET = {
    "data_path": ".", "checkpoint_dir": "saved", "show_progress": False, "state": "ERROR", "use_gpu": False,
    "USER_ID_FIELD": "user_id", "ITEM_ID_FIELD": "item_id", "TIME_FIELD": "timestamp",
    "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
    "eval_args": {"split": {"RS": [1, 0, 0]}, "order": "TO", "group_by": "user", "mode": "full"},
}  # fmt: skip


class Trained:
    """A model of RecBole over the rows that it was given, an epoch at a time."""

    def __init__(self, name: str, task: Task, rows: Rows, settings: dict[str, Any], seed: int) -> None:
        from recbole.config import Config
        from recbole.data.utils import create_dataset, get_dataloader
        from recbole.sampler import Sampler
        from recbole.utils import ModelType, get_model, get_trainer, init_seed

        warnings.filterwarnings("ignore")
        logging.disable(logging.WARNING)
        _write(rows)
        values = {**QUIET, "seed": seed, **settings}
        if name == "SASRec":
            # All other items are the negatives of a full softmax.
            values |= {"loss_type": "CE", "train_neg_sample_args": None}
            values["MAX_ITEM_LIST_LENGTH"] = task.typical_length()
        config = Config(model=name, dataset="task", config_dict=values)
        init_seed(seed, reproducibility=True)
        dataset = create_dataset(config)
        dataset._change_feat_format()
        sequential = config["MODEL_TYPE"] == ModelType.SEQUENTIAL
        sampler = None if sequential else Sampler(["train"], [dataset], "uniform", 1.0).set_phase("train")
        self.loader = get_dataloader(config, "train")(config, dataset, sampler, shuffle=True)
        self.model = get_model(name)(config, dataset).to(config["device"])
        self.trainer = get_trainer(config["MODEL_TYPE"], name)(config, self.model)
        self.sequential, self.n_items, self.done = sequential, task.n_items, 0
        self.length = config["MAX_ITEM_LIST_LENGTH"] if sequential else 0
        self.users = _numbers(dataset, "user_id", task.n_users)
        self.items = _numbers(dataset, "item_id", task.n_items)

    def epoch(self) -> None:
        """One epoch of RecBole's trainer."""
        self.trainer._train_epoch(self.loader, self.done)
        self.done += 1

    def score(self, asked: Asked) -> NDArray[np.float32]:
        """RecBole's scores of all items; none for items and, where people have vectors, for people not trained on."""
        import torch
        from recbole.data.interaction import Interaction

        self.model.eval()
        if hasattr(self.model, "restore_user_e"):  # LightGCN keeps what it last computed
            self.model.restore_user_e = self.model.restore_item_e = None
        if self.sequential:
            lists = asked.history.padded(self.length, left=False, numbers=self.items)
            sizes = np.maximum(1, (lists > 0).sum(1))
            given = {"item_id_list": torch.from_numpy(lists), "item_length": torch.from_numpy(sizes)}
        else:
            given = {"user_id": torch.from_numpy(np.maximum(0, self.users[asked.user]))}
        with torch.no_grad():
            found = self.model.full_sort_predict(Interaction(given)).reshape(len(asked), -1).numpy()
        known = np.flatnonzero(self.items >= 0)
        scores = np.full((len(asked), self.n_items), -np.inf, dtype=np.float32)
        scores[:, known] = found[:, self.items[known]]
        if not self.sequential:
            scores[self.users[asked.user] < 0] = -np.inf
        return scores


def _write(rows: Rows) -> None:
    """The rows as an atomic file; times are their places in the log, which has them in order."""
    user, item = rows
    folder = Path("task")
    folder.mkdir(exist_ok=True)
    table = np.stack([user.astype(np.int64), item.astype(np.int64), np.arange(len(user))], 1)
    head = "user_id:token\titem_id:token\ttimestamp:float"
    np.savetxt(folder / "task.inter", table, fmt="%d", delimiter="\t", header=head, comments="")


def _numbers(dataset: Any, column: str, n: int) -> NDArray[np.int64]:
    """RecBole's number of each of ours; -1 for those that it has not seen."""
    numbers = np.full(n, -1, dtype=np.int64)
    tokens = dataset.field2id_token[column]
    numbers[[int(token) for token in tokens[1:]]] = np.arange(1, len(tokens))
    return numbers


def _peer(name: str, trials: list[dict[str, Any]]) -> Peer:
    return Peer(lambda task, rows, settings, seed: Trained(name, task, rows, settings, seed), trials)


def _sasrec(rate: float, dropout: float, size: int, layers: int) -> dict[str, Any]:
    shape = {"hidden_size": size, "inner_size": 4 * size, "n_layers": layers, "train_batch_size": 512}
    return {"learning_rate": rate, "hidden_dropout_prob": dropout, "attn_dropout_prob": dropout, **shape}


def _bpr(rate: float, size: int, decay: float) -> dict[str, Any]:
    return {"learning_rate": rate, "embedding_size": size, "weight_decay": decay, "train_batch_size": 2048}


def _lightgcn(rate: float, layers: int, reg: float) -> dict[str, Any]:
    return {"learning_rate": rate, "n_layers": layers, "reg_weight": reg, "train_batch_size": 4096}


PEERS = {
    "SASRec": _peer("SASRec", [
        _sasrec(1e-3, 0.5, 64, 2), _sasrec(1e-3, 0.2, 64, 2), _sasrec(3e-3, 0.5, 64, 1),
        _sasrec(3e-3, 0.5, 64, 2), _sasrec(1e-3, 0.5, 128, 1), _sasrec(1e-3, 0.3, 128, 2),
    ]),
    "BPR": _peer("BPR", [
        _bpr(1e-3, 64, 0.0), _bpr(5e-3, 64, 0.0), _bpr(5e-3, 64, 1e-5),
        _bpr(1e-2, 64, 1e-5), _bpr(5e-3, 128, 1e-5), _bpr(5e-3, 128, 1e-4),
    ]),
    "LightGCN": _peer("LightGCN", [
        _lightgcn(5e-3, 2, 1e-5), _lightgcn(5e-3, 3, 1e-5), _lightgcn(1e-2, 2, 1e-5),
        _lightgcn(5e-3, 1, 1e-5), _lightgcn(5e-3, 2, 1e-3), _lightgcn(2e-2, 3, 1e-4),
    ]),
}  # fmt: skip

if __name__ == "__main__":
    run(PEERS)
