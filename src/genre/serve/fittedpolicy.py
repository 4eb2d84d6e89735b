"""The policy that `genre learn fit` wrote, serving: told of people and items what it was told of those of the log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from genre.component import describe
from genre.data import Histories
from genre.errors import GenreError
from genre.learn.fit import load_policy
from genre.policies import Arms, Doubles, Policy
from genre.resources import model_hash
from genre.run import Run
from genre.serve.beliefs import About, reader_of
from genre.serve.loaded import Loaded
from genre.types import Bools, Ints, State


class Fitted:
    """A run's `learned` policy: its state, and what it is told.

    Scores are the model's own, and are standardised over the items that it was judged among, as in the log; of these
    only what the pipeline ranked is open. So it shows an item as often as it was judged to, given that the item is one
    of those. An item that the log did not show has no weight of its own, and is chosen by its score and context.
    """

    def __init__(self, policy: Policy, state: State, heads: Sequence[str], model: Loaded) -> None:
        reader = reader_of(model)
        self.policy, self.model, self.heads = policy, model, tuple(heads)
        self.vectors: Doubles = np.asarray(reader.item_vectors(), dtype=np.float64)
        self.catalogue: Ints = np.asarray(state["catalogue"])
        self.size = float(state["size"])
        self.head_mean, self.head_spread = np.asarray(state["head_mean"]), np.asarray(state["head_spread"])
        bias = np.zeros(len(self.vectors))  # items may have been added since
        bias[: len(state["bias"])] = state["bias"]
        self.state: State = {"weights": np.asarray(state["weights"]), "bias": bias}
        self._judged = self.vectors[self.catalogue]
        self._place = np.full(len(self.vectors), -1)
        self._place[self.catalogue] = np.arange(len(self.catalogue))

    @classmethod
    def load(cls, asked: Policy, model: Loaded) -> Fitted:
        """The one of a model's run.

        Raises `GenreError` where it is not there, damaged, of another model, or not let through by its gate, and where
        the configuration ``asked`` for other settings than it was judged with.
        """
        folder = model.folder / "learn" / "policy"
        if not folder.exists():
            raise GenreError(f"{folder}: there is no learned policy; {_why_none(model)}")
        policy, state, facts = load_policy(folder)
        if not facts["gate"]["published"]:
            raise GenreError(f"{folder}: its gate did not let it pass: {'; '.join(facts['gate']['why'])}")
        if facts["model"] != model_hash(Run.open(model.folder)):
            raise GenreError(f"{folder}: made from another model than the run has now; run 'genre learn fit' again")
        if asked not in (policy, type(asked)()):
            raise GenreError(
                f"serve.explore.policy: asks for {describe(asked)}, but what was judged is {describe(policy)}; "
                "write 'learned' alone"
            )
        return cls(policy, state, facts["heads"], model)

    def about(self, history: Histories, items: Sequence[str]) -> About:
        """What is known of a person and some candidates; for the inference thread."""
        reader, rows = reader_of(self.model), np.array(self.model.rows_of(items)[0], dtype=np.int32)
        person = np.asarray(reader.asking(history), dtype=np.float32)[0]
        owner, said = np.zeros(len(rows), dtype=np.int32), np.zeros((len(rows), len(self.heads)))
        for at, name in enumerate(self.heads):
            said[:, at] = reader.predict(name, history, rows, owner)
        return About(person, (said - self.head_mean) / self.head_spread)

    def arms(self, rows: Ints, scores: Doubles, about: About) -> tuple[Arms, Bools]:
        """All that it was judged among, and what else was ranked: open is this alone."""
        person, places = about.person.astype(np.float64), self.placed(rows)
        beyond = rows[places >= len(self.catalogue)]
        item = np.concatenate([self.catalogue, beyond])
        own = np.concatenate([self._judged @ person, self.vectors[beyond] @ person])
        contexts = np.zeros((len(item), self.vectors.shape[1] + len(self.heads)))
        contexts[places] = np.concatenate([(person / self.size) * self.vectors[rows], about.heads], 1)
        still = np.zeros(len(item), dtype=bool)
        still[places] = True
        return Arms(item, own, contexts), still

    def placed(self, rows: Ints) -> Any:
        """Where each of the ranked items stands among the candidates."""
        places = self._place[rows]
        beyond = places < 0
        return np.where(beyond, len(self.catalogue) + np.cumsum(beyond) - 1, places)


def _why_none(model: Loaded) -> str:
    """What to do where none was published."""
    candidate = model.folder / "learn" / "candidate"
    if not candidate.exists():
        return f"make one with 'genre learn fit {model.folder}'"
    _, _, facts = load_policy(candidate)
    why = "; ".join(facts["gate"]["why"]) or "'genre learn fit' was stopped before it was done"
    return f"the gate did not let the last one pass: {why}"
