"""What sentence-transformers takes to encode texts, or to train on pairs: once for each line that comes in.

Run by the Python of the side environment; imports nothing of the package. ``encode TASK`` reads all texts of the task
by `SentenceTransformer.encode` as it comes; ``train TASK`` trains for an epoch with its trainer, from the weights as
they came, with in-batch negatives (MultipleNegativesRankingLoss), in the order of the pairs, without dropout, so that
it does what the other side does.
"""

# pyright: reportMissingImports=false
from __future__ import annotations

import json
import logging
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any


def model_of(task: dict[str, Any], **settings: Any) -> Any:
    """The language model of the task with its mean as a vector of unit length."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Normalize, Pooling, Transformer

    words = Transformer(task["model"], max_seq_length=task["max_tokens"], config_args=settings)
    return SentenceTransformer(
        modules=[words, Pooling(words.get_word_embedding_dimension()), Normalize()], device="cpu"
    )


def encode(task: dict[str, Any]) -> Any:
    """Seconds of reading all texts."""
    model = model_of(task)

    def once() -> dict[str, Any]:
        started = time.perf_counter()
        model.encode(task["texts"])
        return {"seconds": time.perf_counter() - started}

    return once


def train(task: dict[str, Any]) -> Any:
    """Seconds of an epoch, its last steps' loss, from the same start each time."""
    from datasets import Dataset
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
    from sentence_transformers.losses import MultipleNegativesRankingLoss
    from torch.utils.data import SequentialSampler

    pairs = Dataset.from_dict({"anchor": task["anchors"], "positive": task["positives"]})

    class InOrder(SentenceTransformerTrainer):
        """Takes the pairs in their order."""

        def get_batch_sampler(self, dataset: Any, batch_size: int, drop_last: bool, **_: Any) -> Any:
            from torch.utils.data import BatchSampler

            return BatchSampler(SequentialSampler(dataset), batch_size, drop_last)

    def once() -> dict[str, Any]:
        model = model_of(task, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
        layers = model[0].auto_model.encoder.layer
        for weight in model.parameters():
            weight.requires_grad_(False)
        for layer in layers[-task["layers"] :]:
            layer.requires_grad_(True)
        with tempfile.TemporaryDirectory() as folder:
            arguments = SentenceTransformerTrainingArguments(
                folder, num_train_epochs=1, per_device_train_batch_size=task["batch"], learning_rate=task["lr"],
                lr_scheduler_type="constant", weight_decay=0.0, max_grad_norm=1.0, save_strategy="no", logging_steps=1,
                report_to="none", disable_tqdm=True, use_cpu=True, dataloader_drop_last=True, optim="adamw_torch",
            )  # fmt: skip
            loss = MultipleNegativesRankingLoss(model, scale=task["scale"])
            trainer = InOrder(model=model, args=arguments, train_dataset=pairs, loss=loss)
            started = time.perf_counter()
            trainer.train()
            seconds = time.perf_counter() - started
        losses = [one["loss"] for one in trainer.state.log_history if "loss" in one]
        return {"seconds": seconds, "losses": losses}

    return once


def main() -> None:
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    task = json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    once = {"encode": encode, "train": train}[sys.argv[1]](task)
    answers = sys.stdout
    sys.stdout = sys.stderr
    for _ in sys.stdin:
        print(json.dumps(once()), file=answers, flush=True)


if __name__ == "__main__":
    main()
