"""What sources may use beside the log, from a run folder: item texts as vectors, and the trained model."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from genre.clock import times
from genre.component import describe
from genre.config import Config
from genre.data import Dataset
from genre.errors import RunError
from genre.files import digest
from genre.run import Run
from genre.sources import Resources
from genre.types import Floats, Recommender

if TYPE_CHECKING:
    from genre.model import TrainedModel
    from genre.textmodel import PairReader

Version = Literal["finetuned", "before"]
"""The fine-tuned model, or the same model, trained too, whose language model is as it came."""


@times("load", whole=True)
def load_model(
    run: Run, data: Dataset, version: Version = "finetuned", form: str | None = None
) -> TrainedModel | PairReader | None:
    """The run's model, or None where none was trained; its texts are read by a ``form`` that `genre compress` made.

    Raises `RunError` when it, or the form, is damaged or made from something else.
    """
    folder = run.path("model") / version
    if not folder.exists() or run.config.model.formulation.reads == "rows":
        return None
    from genre.textmodel import PairReader, TrainedTexts

    pairs = run.config.model.formulation.reads == "pairs"
    if form is not None:
        from genre.compression.compressed import load_compressed

        found: Any = load_compressed(folder, run.path("compress") / form, data)
        return PairReader(found, data) if pairs else found
    from genre.model import TrainedModel

    if pairs:
        return PairReader(TrainedTexts.load(folder, data), data)
    return TrainedModel.load(folder, data)


def model_hash(run: Run) -> str:
    """Hash of both versions of the run's model; equal for equal weights, empty where there is no model."""
    hashes = [one for version in ("before", "finetuned") if (one := hash_of(run, version))]
    return digest(hashes) if hashes else ""


def hash_of(run: Run, version: Version) -> str | None:
    """Hash of one version; None where there is none."""
    path = run.path("model") / version / "manifest.json"
    return json.loads(path.read_text(encoding="utf-8"))["hash"] if path.exists() else None


def text_settings(config: Config) -> dict[str, Any]:
    """What the vectors of item texts, before fine-tuning, depend on."""
    model = config.model
    return {"backbone": describe(model.backbone), "template": model.template, "max_tokens": model.max_tokens}


def resources_of(config: Config, data: Dataset, model: Recommender | None) -> Resources:
    """Resources that load the pretrained language model when a source first asks for vectors."""

    @cache
    def vectors() -> Floats:
        from genre.model import text_vectors

        return text_vectors(config, data)

    def embed(texts: list[str]) -> Floats:
        return embedder()(texts)

    @cache
    def embedder() -> Callable[[list[str]], Floats]:
        from genre.model import text_embedder

        return text_embedder(config)

    @cache
    def other(folder: Path) -> Recommender:
        found = load_model(Run.open(folder), data)
        if found is None:
            raise RunError(f"{folder}: holds no model that recommends; run 'genre train {folder}'")
        return found

    return Resources(data.items, vectors, embed, model, other, data.users)
