"""What trials came to: in words, in order, and which of them none beats."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from genre.space import Drawn, Space, first_of

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


def in_words(chosen: dict[str, Any]) -> str:
    """Values in a line: ``train.lr.backbone 0.001, model.adapter lora``."""
    said = (f"{n} {v:.4g}" if isinstance(v, float) else f"{n} {v}" for n, v in chosen.items())
    return ", ".join(said) or "the defaults"


def outcome(trial: FrozenTrial, objectives: list[str]) -> str:
    """What a trial came to, in words."""
    if trial.state.name == "COMPLETE":
        return ", ".join(f"{name} {value:.4g}" for name, value in zip(objectives, trial.values, strict=True))
    result = trial.user_attrs.get("result", {})
    if trial.state.name == "PRUNED":
        latest = result.get("latest")
        return f"stopped after {result.get('epochs')} epochs" + ("" if latest is None else f" at {latest:.4f}")
    return f"failed: {trial.user_attrs.get('reason', 'no reason known')}"


def default_number(trials: list[FrozenTrial], space: Space) -> int | None:
    """The trial of the defaults."""
    wanted = space.of({}).chosen
    return next((one.number for one in trials if one.params == wanted), None)


def chosen_of(trial: FrozenTrial, space: Space) -> Drawn:
    """The document of a trial."""
    return space.draw(lambda one: trial.params.get(one.name, first_of(one)))


def ordered(trials: list[FrozenTrial], larger: bool) -> list[FrozenTrial]:
    """Those that came to their end, the best by the first objective first."""
    done = [one for one in trials if one.state.name == "COMPLETE"]
    return sorted(done, key=lambda one: -one.values[0] if larger else one.values[0])


def pareto(trials: list[FrozenTrial], larger: list[bool]) -> list[int]:
    """Numbers of the trials that no other beats in one objective and equals in all others."""
    done = [one for one in trials if one.state.name == "COMPLETE"]
    points = [[v if up else -v for v, up in zip(one.values, larger, strict=True)] for one in done]
    kept = []
    for one, mine in zip(done, points, strict=True):
        beaten = any(all(o >= m for o, m in zip(other, mine, strict=True)) and other != mine for other in points)
        if not beaten:
            kept.append(one.number)
    return kept
