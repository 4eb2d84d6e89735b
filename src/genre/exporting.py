"""A run's fine-tuned language model as a HuggingFace folder that needs no adapter."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import TypeAdapter
from safetensors.torch import load_file

from genre.backbones import Reading
from genre.component import name_of
from genre.config import ModelSection
from genre.errors import GenreError, RunError
from genre.files import unseal
from genre.merging import save_merged
from genre.run import Run
from genre.textencoder import build, load

FORMAT = 1
"""Version of the layout of the model folders that `genre train` writes."""


def export(run: Run, folder: Path) -> Reading:
    """Write the language model of ``run``, what was fine-tuned folded in, into ``folder``; gives how it is read.

    Raises `GenreError` where nothing was trained, where the adapter cannot be folded in, or where ``folder`` holds
    files, which are never replaced.
    """
    trained = run.path("model") / "finetuned"
    if not trained.exists():
        raise RunError(f"{trained}: not there; make it with 'genre train {run.folder}'")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise GenreError(f"{folder}: is there already and not empty; name another folder")
    section = TypeAdapter(ModelSection).validate_python(unseal(trained, FORMAT, "genre train")["model"])
    weights = trained / "text.safetensors"
    if not weights.exists() or name_of(section.adapter) == "frozen":
        raise GenreError(f"{run.folder}: its language model was not fine-tuned, so it is {name_of(section.backbone)}")
    loaded = load(section.backbone)
    encoder, _ = build(section, loaded)
    encoder.load_state_dict(load_file(weights), strict=False)
    save_merged(loaded, encoder.stack, folder)
    return loaded.reading


def backbone_line(folder: Path, reading: Reading) -> str:
    """What a configuration says under ``model`` to build on the folder."""
    settings = {"type": "huggingface", "path": str(folder)}
    prefixes = {"query_prefix": reading.query, "passage_prefix": reading.passage}
    words = [f"{name}: {value}" for name, value in settings.items()]
    words += [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in prefixes.items() if value]
    return f"backbone: {{{', '.join(words)}}}"
