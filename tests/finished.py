"""A finished run of the circle, made once for all tests that only read it."""

from __future__ import annotations

import functools
import os
import tempfile
from pathlib import Path

from genre.run import Run
from toyworld import circle, config, dataset, tiny_backbone


@functools.cache
def finished() -> Run:
    """Data, model, rank and evaluation of the circle, whose next item is certain."""
    from genre.evaluate import evaluate
    from genre.rank import rank
    from genre.train import train

    folder = Path(tempfile.mkdtemp(prefix="genre-test-"))
    os.environ["GENRE_CACHE"] = str(folder / "cache")
    conf = config(
        tiny_backbone(folder / "bert"),
        name="circle",
        pipeline={"sources": ["model", "ease", "transitions", "popular"]},
        evaluate={"bootstrap": 200, "baselines": ["popular", "ease", "transitions", "content_knn"], "examples": 3},
        train={"warmup_epochs": 12, "epochs": 1},
    )
    run = Run.create(conf, folder)
    dataset(circle(n_users=80)).save(run.path("data"))
    for stage in (train, rank, evaluate):
        stage(conf, run)
    return run
