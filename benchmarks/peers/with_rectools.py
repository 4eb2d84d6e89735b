"""RecTools' SASRec (https://github.com/MobileTeleSystems/RecTools) and LightFM as a hybrid of ids and words of titles.

Run by the Python of the side environment; imports nothing of the package.
"""

# pyright: reportMissingImports=false
from __future__ import annotations

import logging
import warnings
from typing import Any

import numpy as np
from exchange import Asked, Peer, Rows, Task, run
from numpy.typing import NDArray


class SASRec:
    """RecTools' SASRec, an epoch at a time."""

    def __init__(self, task: Task, rows: Rows, settings: dict[str, Any], seed: int) -> None:
        import pandas as pd
        import torch
        from pytorch_lightning import Trainer, seed_everything
        from rectools import Columns
        from rectools.dataset import Dataset
        from rectools.models import SASRecModel

        warnings.filterwarnings("ignore")
        logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
        seed_everything(seed, verbose=False)
        user, item = rows
        times = pd.to_datetime(np.arange(len(user)), unit="s")
        self.dataset = Dataset.construct(
            pd.DataFrame({Columns.User: user, Columns.Item: item, Columns.Weight: 1.0, Columns.Datetime: times})
        )
        self.length = task.typical_length(most=100)
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        self.model = SASRecModel(
            session_max_len=self.length,
            get_trainer_func=lambda: Trainer(
                accelerator="cpu", devices=1, min_epochs=1, max_epochs=1, enable_checkpointing=False, **quiet
            ),
            recommend_torch_device="cpu",
            **settings,
        )
        self.n_items, self.torch = task.n_items, torch
        self.numbers = np.zeros(0, dtype=np.int64)

    def epoch(self) -> None:
        """One epoch of RecTools' Lightning trainer."""
        self.model.fit_partial(self.dataset, min_epochs=1, max_epochs=1)
        if not len(self.numbers):
            known = np.array([[number, token] for number, token in enumerate(self._tokens()) if token != "PAD"])
            self.numbers = np.full(self.n_items, -1, dtype=np.int64)
            self.numbers[known[:, 1].astype(int)] = known[:, 0].astype(int)

    def _tokens(self) -> list[Any]:
        return list(self.model.data_preparator.item_id_map.external_ids)

    def score(self, asked: Asked) -> NDArray[np.float32]:
        """Products of the state after each history and the items; none for items not trained on."""
        net, torch = self.model.torch_model, self.torch
        net.eval()
        lists = torch.from_numpy(asked.history.padded(self.length, left=True, numbers=self.numbers))
        with torch.no_grad():
            items = net.item_model.get_all_embeddings()
            states = [net.encode_sessions({"x": part}, items)[:, -1, :] for part in lists.split(256)]
            states = net.similarity_module.session_tower_forward(torch.cat(states))
            found = (states @ net.similarity_module.item_tower_forward(items).T).numpy()
        known = np.flatnonzero(self.numbers >= 0)
        scores = np.full((len(asked), self.n_items), -np.inf, dtype=np.float32)
        scores[:, known] = found[:, self.numbers[known]]
        return scores


class LightFM:
    """LightFM, whose items are sums of a vector of their own and of vectors of their words."""

    def __init__(self, task: Task, rows: Rows, settings: dict[str, Any], seed: int) -> None:
        from lightfm import LightFM as Model
        from scipy import sparse

        settings = dict(settings)
        share = settings.pop("words")
        user, item = rows
        ones = np.ones(len(user), dtype=np.float32)
        self.matrix = sparse.coo_matrix((ones, (user, item)), shape=(task.n_users, task.n_items))
        owner = np.repeat(np.arange(task.n_items), np.diff(task.words.offsets))
        size = np.maximum(1, np.diff(task.words.offsets))[owner]
        words = sparse.csr_matrix((share / size, (owner, task.words.items)), shape=(task.n_items, task.n_words))
        self.features = sparse.hstack([sparse.identity(task.n_items), words], format="csr").astype(np.float32)
        self.model = Model(loss="warp", random_state=seed, **settings)

    def epoch(self) -> None:
        """One epoch of LightFM."""
        self.model.fit_partial(self.matrix, item_features=self.features, epochs=1)

    def score(self, asked: Asked) -> NDArray[np.float32]:
        """Products of people and items, and the items' biases."""
        biases, items = self.model.get_item_representations(self.features)
        _, people = self.model.get_user_representations()
        return people[asked.user] @ items.T + biases


def _sasrec(rate: float, dropout: float, size: int, blocks: int, negatives: int = 128) -> dict[str, Any]:
    loss = {"loss": "sampled_softmax", "n_negatives": negatives, "batch_size": 128, "n_heads": 2}
    return {"lr": rate, "dropout_rate": dropout, "n_factors": size, "n_blocks": blocks, **loss}


def _lightfm(rate: float, size: int, words: float, penalty: float = 0.0) -> dict[str, Any]:
    return {"learning_rate": rate, "no_components": size, "words": words, "item_alpha": penalty}


PEERS = {
    "SASRec": Peer(SASRec, [
        _sasrec(1e-3, 0.2, 64, 2), _sasrec(1e-3, 0.5, 64, 2), _sasrec(3e-3, 0.2, 64, 1),
        _sasrec(3e-3, 0.5, 64, 2), _sasrec(1e-3, 0.2, 128, 1), _sasrec(1e-3, 0.5, 128, 2),
    ]),
    "LightFM": Peer(LightFM, [
        _lightfm(0.05, 64, 1.0), _lightfm(0.05, 64, 0.0), _lightfm(0.02, 64, 1.0),
        _lightfm(0.05, 128, 1.0), _lightfm(0.05, 64, 1.0, 1e-6), _lightfm(0.05, 32, 1.0),
    ]),
}  # fmt: skip

if __name__ == "__main__":
    run(PEERS)
