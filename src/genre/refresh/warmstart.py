"""Training that goes on from the model of another run: its weights in the new model, and its old events replayed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from genre.checkpoint import set_weights, weights_of
from genre.config import Config
from genre.data import Dataset
from genre.errors import GenreError
from genre.fitting import Fitter
from genre.heads import LabelFacts
from genre.resources import hash_of
from genre.run import Run
from genre.textfitting import TextFitter

if TYPE_CHECKING:
    from torch import Tensor


def facts_of(config: Config) -> dict[str, Any]:
    """What a training that goes on depends on beside its own data and settings."""
    assert config.refresh.start is not None
    last = Run.open(config.refresh.start)
    return {"model": hash_of(last, "finetuned"), "replay": config.refresh.replay}


@dataclass(frozen=True)
class Start:
    """The last model, and which of the events the next one is trained on."""

    last: Run
    old: Dataset
    """The data of the last model."""
    replayed: Dataset
    """The new data, of which only what shall teach is in the training part; the rest is kept for histories."""
    people: dict[str, int]
    """How many people teach: with ``new`` events, ``replayed`` for their old ones, ``kept`` out of it."""

    @classmethod
    def of(cls, config: Config, data: Dataset) -> Start:
        """From the run that ``refresh.start`` names. Raises `GenreError` where it has no model."""
        assert config.refresh.start is not None
        last = Run.open(config.refresh.start)
        if hash_of(last, "finetuned") is None:
            raise GenreError(f"{last.folder}: holds no model to go on from; run 'genre train {last.folder}'")
        old = Dataset.load(last.path("data"))
        new = _has_new_events(old, data)
        drawn = np.random.default_rng([config.seed, 3]).random(len(new)) < config.refresh.replay
        people = {"new": int(new.sum()), "replayed": int((drawn & ~new).sum()), "kept": int((~drawn & ~new).sum())}
        return cls(last, old, _taught_by(data, new | drawn), people)

    def into(self, fitter: Fitter | TextFitter) -> list[str]:
        """Put the weights of the last model in the place of those that fit; returns the names of those that begin anew.

        Of new items and actions only their own rows begin anew. A head keeps the scale that it was made with, unless
        its label has other classes by now.
        """
        from safetensors.torch import load_file

        folder = self.last.path("model") / "finetuned"
        weights = self._items(fitter, folder) if isinstance(fitter, Fitter) else self._texts(fitter, folder)
        if fitter.text is not None and (folder / "text.safetensors").exists():
            weights |= {f"text.{name}": t for name, t in load_file(folder / "text.safetensors").items()}
        here = weights_of(fitter)
        fit = {name: t for name, t in weights.items() if name in here and here[name].shape == t.shape}
        set_weights(fitter, fit)
        fitter.settle()
        anew = sorted(set(here) - set(fit))
        told = f", {len(anew)} begin anew ({', '.join(anew[:3])}{' ...' if len(anew) > 3 else ''})" if anew else ""
        who = ", ".join(f"{n} {name}" for name, n in self.people.items())
        print(f"going on from {self.last.folder}: {len(fit)} tensors taken over{told}; people: {who}")
        return anew

    def _items(self, fitter: Fitter, folder: Path) -> dict[str, Tensor]:
        """The weights of a model over items, the rows of items and actions where the new model has them."""
        import torch

        from genre.model import TrainedModel

        old, new = TrainedModel.load(folder, self.old).model, fitter.model
        labels = self._heads(old, new, old.facts.labels, new.facts.labels)
        moments = {"value_mean": old.facts.value_mean, "value_std": old.facts.value_std}
        new.facts = replace(new.facts, labels=labels, **moments)
        weights = {f"model.{name}": tensor for name, tensor in old.state_dict().items()}
        at = _places(self.replayed.items["item_id"].to_pylist(), self.old.items["item_id"].to_pylist())
        weights["model.seen"] = torch.maximum(new.seen, _moved(torch.zeros_like(new.seen), old.seen, at))
        if "model.ids.weight" in weights:
            weights["model.ids.weight"] = _moved(new.ids.weight, old.ids.weight, at)
        actions = _places([*new.facts.actions, None], [*old.facts.actions, None])
        weights["model.action.weight"] = _moved(new.action.weight, old.action.weight, actions)
        return weights

    def _texts(self, fitter: TextFitter, folder: Path) -> dict[str, Tensor]:
        """The weights of a model over texts."""
        from genre.textmodel import TrainedTexts

        old, new = TrainedTexts.load(folder, self.old).model, fitter.model
        new.labels = self._heads(old, new, old.labels, new.labels)
        return {f"model.{name}": tensor for name, tensor in old.state_dict().items()}

    def _heads(self, old: Any, new: Any, was: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
        """Put the heads whose labels are still the same in their places; the facts of the labels that then hold."""
        facts = dict(now)
        for name in new.section.heads:
            before, after = was.get(name), now.get(name)
            known = before is None or after is None or _is_known(before, after)
            if known and f"head_{name}" in old.heads:
                new.heads[f"head_{name}"] = old.heads[f"head_{name}"]
                facts |= {} if before is None else {name: before}
        return facts


def _is_known(before: LabelFacts, after: LabelFacts) -> bool:
    """Whether a label is what it was: its classes are known; an amount that takes many values always is."""
    if not before.classes:
        return not after.names
    return before.names == after.names and set(after.classes) <= set(before.classes)


def _has_new_events(old: Dataset, new: Dataset) -> NDArray[np.bool_]:
    """Which people of the new data have more events there than in the old."""
    import pyarrow as pa
    import pyarrow.compute as pc

    users: Any = new.users["user_id"].combine_chunks()

    def counts(data: Dataset) -> NDArray[np.int64]:
        rows = pc.call_function("index_in", [data.interactions["user_id"]], pc.SetLookupOptions(value_set=users))
        known = rows.drop_null().to_numpy()
        return np.bincount(known, minlength=len(users))

    assert isinstance(users, pa.Array)
    return counts(new) > counts(old)


def _taught_by(data: Dataset, people: NDArray[np.bool_]) -> Dataset:
    """The data with the training rows of some people; those of others are kept for histories alone."""
    import pyarrow as pa
    import pyarrow.compute as pc

    log = data.interactions
    users: Any = data.users["user_id"].filter(pa.array(people)).combine_chunks()
    taught = pc.call_function("is_in", [log["user_id"]], pc.SetLookupOptions(value_set=users))
    aside = pc.call_function("and", [pc.call_function("invert", [taught]), _is_train(log["part"])])
    part = pc.call_function("if_else", [aside, pa.scalar(None, pa.string()), log["part"].cast(pa.string())])
    return replace(data, interactions=log.set_column(log.column_names.index("part"), "part", part))


def _is_train(part: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.call_function("is_in", [part], pc.SetLookupOptions(pa.array(["train"])))


def _places(new: list[Any], old: list[Any]) -> NDArray[np.int64]:
    """Where each of the new names stands among the old; -1 for none."""
    at = {name: row for row, name in enumerate(old)}
    return np.array([at.get(name, -1) for name in new], dtype=np.int64)


def _moved(new: Tensor, old: Tensor, at: NDArray[np.int64]) -> Tensor:
    """The old rows where they belong, the new ones where there is no old one."""
    import torch

    rows = torch.from_numpy(at)
    made = new.detach().clone()
    made[rows >= 0] = old.detach()[rows[rows >= 0]]
    return made
