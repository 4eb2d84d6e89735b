"""Checkpoints of a training: everything needed to go on as if nothing had happened. Tensors and JSON, no pickle."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from genre.files import replacing_folder, seal, unseal
from genre.fitting import Fitter, Phase
from genre.parallel import placed, team, whole
from genre.stepping import Stepper
from genre.textfitting import TextFitter

FORMAT = 1


@dataclass
class Progress:
    """Where a training stands."""

    phase: Phase = "warmup"
    epoch: int = 0
    """Epochs done in this phase."""
    best_epoch: int = 0
    """Epoch of this phase with the best validation result; 0 is the state in which it began."""
    best: float | None = None
    """That result, signed so that larger is better."""
    seconds: float = 0.0
    curves: list[dict[str, Any]] = field(default_factory=list)
    """One row an epoch."""


def weights_of(fitter: Fitter | TextFitter) -> dict[str, Tensor]:
    """Copies of all weights that training can change."""
    state = {f"model.{name}": tensor for name, tensor in fitter.model.state_dict().items()}
    if fitter.text is not None:
        trained = {name for name, p in fitter.text.named_parameters() if p.requires_grad}
        state |= {f"text.{name}": t for name, t in fitter.text.state_dict().items() if name in trained}
    return {name: whole(tensor).detach().clone().contiguous() for name, tensor in state.items()}


def set_weights(fitter: Fitter | TextFitter, weights: dict[str, Tensor]) -> None:
    """Put copies from `weights_of` back."""
    _load(fitter.model, weights, "model.")
    if fitter.text is not None:
        _load(fitter.text, weights, "text.")


def _load(module: nn.Module, weights: dict[str, Tensor], prefix: str) -> None:
    mine = {name.removeprefix(prefix): t for name, t in weights.items() if name.startswith(prefix)}
    has = module.state_dict()
    mine = {name: placed(tensor, has.get(name)) for name, tensor in mine.items()}
    unknown = module.load_state_dict(mine, strict=False).unexpected_keys
    assert not unknown, unknown


def save(
    folder: Path,
    fitter: Fitter | TextFitter,
    steppers: dict[str, Stepper],
    progress: Progress,
    best: dict[str, Tensor],
    key: str,
) -> None:
    """Write a checkpoint in place of the last one, all or nothing; of several workers the first does."""
    weights, states = weights_of(fitter), {name: stepper.state() for name, stepper in steppers.items()}
    if not team().leads:
        return
    with replacing_folder(folder) as aside:
        save_file(weights, aside / "weights.safetensors")
        save_file(best, aside / "best.safetensors")
        for name, (tensors, _) in states.items():
            save_file(tensors, aside / f"{name}.safetensors")
        save_file(fitter.tuning.state(), aside / "adapter.safetensors")
        facts = {name: numbers for name, (_, numbers) in states.items()}
        text = json.dumps({"progress": asdict(progress), "steppers": facts})
        (aside / "progress.json").write_text(text, encoding="utf-8")
        seal(aside, FORMAT, key=key)


def load_progress(folder: Path, key: str) -> Progress | None:
    """Where the training stood that ``folder`` keeps; None if there is none, or it was of other inputs."""
    if not (folder / "manifest.json").exists():
        return None
    if unseal(folder, FORMAT, "genre train").get("key") != key:
        return None
    return Progress(**json.loads((folder / "progress.json").read_text(encoding="utf-8"))["progress"])


def restore(folder: Path, fitter: Fitter | TextFitter, steppers: dict[str, Stepper]) -> dict[str, Tensor]:
    """Put weights, optimizers, schedules and averages back; returns the best weights so far."""
    set_weights(fitter, load_file(folder / "weights.safetensors"))
    fitter.tuning.restore(load_file(folder / "adapter.safetensors"))
    facts = json.loads((folder / "progress.json").read_text(encoding="utf-8"))["steppers"]
    for name, stepper in steppers.items():
        stepper.restore(load_file(folder / f"{name}.safetensors"), facts[name])
    return load_file(folder / "best.safetensors")
