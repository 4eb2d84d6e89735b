"""Learning the weights of a softmax policy from logged slates, held near the policy that it starts from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from genre.estimators import Doubles
from genre.learn.rewardmodel import RewardModel

if TYPE_CHECKING:
    from genre.learn.decisions import Decisions

BLOCK = 512
CLOSED = -1e30
"""Logit of what stands above in the slate already."""


@dataclass
class Weights:
    """What is learned: of the supervised score, and then what is known of a pair; and of each item."""

    pair: Doubles
    item: Doubles

    def arrays(self) -> list[Doubles]:
        """The arrays, in order."""
        return [self.pair, self.item]


@dataclass(frozen=True)
class Judged:
    """Some places of slates, what was shown there and what came of it, beside what a policy would do."""

    chance: Doubles
    """``[rows, m]``: the policy's probability of each item."""
    shown: Any
    """``[rows]``: the item that was."""
    reward: Doubles
    """``[rows]``: what it earned."""
    logged: Doubles
    """``[rows]``: its probability when the log was written."""
    expected: Doubles
    """``[rows, m]``: what a reward model expects of each item; empty where the learner asks for none."""
    usual: float
    """Mean reward of a place of the log."""
    places: int
    """Places of a slate at most."""


class Held(Protocol):
    """What holds a policy to the supervised one, and what its value is reckoned by."""

    models_rewards: ClassVar[bool]
    """Whether a reward model is read."""

    @property
    def temperature(self) -> float:
        """What the supervised scores are divided by."""
        ...

    @property
    def leash(self) -> float:
        """What a nat of divergence costs."""
        ...

    @property
    def most_weight(self) -> float:
        """Highest importance weight."""
        ...


class Stepwise(Held, Protocol):
    """A learner that climbs by gradients of the logits."""

    @property
    def epochs(self) -> int:
        """Passes at most."""
        ...

    @property
    def patience(self) -> int:
        """Passes without a better value before it stops."""
        ...

    @property
    def lr(self) -> float:
        """Step size."""
        ...

    @property
    def batch_size(self) -> int:
        """Places a step."""
        ...

    def pull(self, one: Judged) -> Doubles:
        """Gradient of what it maximises with respect to the logits of some places."""
        ...


@dataclass
class Places:
    """Slates as single places: each with the items that stood above it."""

    found: Decisions
    model: RewardModel
    scores: Doubles
    """``[n, m]``: the supervised ones, standardised."""
    temperature: float
    """What they are divided by to be the logits of the supervised softmax."""
    slate: Any
    place: Any
    item: Any

    @classmethod
    def of(cls, found: Decisions, temperature: float) -> Places:
        """All filled places of some slates."""
        slate, place = np.nonzero(found.shown)
        scores = found.scores - found.scores.mean(1, keepdims=True)
        spread = scores.std(1, keepdims=True)
        scores = scores / np.where(spread > 0, spread, 1.0)
        return cls(found, RewardModel.of(found), scores, temperature, slate, place, found.item[slate, place])

    def logits(self, rows: Any, weights: Weights) -> tuple[Doubles, Doubles]:
        """Of every item at some places, by the weights and by the supervised softmax: ``[rows, m]`` twice."""
        known, slate = self.found.known, self.slate[rows]
        d = known.items.shape[1]
        first = self.scores[slate] / self.temperature
        at = np.arange(len(rows))
        for above in range(int(self.place[rows].max(initial=0))):
            under = self.place[rows] > above
            first[at[under], self.found.item[slate[under], above]] = CLOSED
        score, person, heads = weights.pair[0], weights.pair[1 : d + 1], weights.pair[d + 1 :]
        now = first + score * self.scores[slate] + (known.people[slate] * person) @ known.items.T + weights.item
        now += np.einsum("nmh,h->nm", known.heads[slate], heads)
        return now, first

    def gradient(self, rows: Any, moved: Doubles) -> Weights:
        """Of the weights, from that of the logits."""
        known, slate = self.found.known, self.slate[rows]
        score = (moved * self.scores[slate]).sum()[None]
        person = (known.people[slate] * (moved @ known.items)).sum(0)
        heads = np.einsum("nm,nmh->h", moved, known.heads[slate])
        return Weights(np.concatenate([score, person, heads]), moved.sum(0))

    def rewards(self, rows: Any) -> Doubles:
        """What the reward model expects of every item at some places: ``[rows, m]``."""
        slate = self.slate[rows]
        said = self.model.predict(self.found.known, slate)
        return said + self.model.below(slate)[np.arange(len(rows)), self.place[rows]][:, None]


def learn_weights(
    train: Decisions, valid: Decisions, learner: Stepwise, seed: int, say: Callable[[str], None]
) -> tuple[Weights, list[dict[str, float]]]:
    """The weights that are best on ``valid``, and the value there and the divergence after each pass."""
    teach, check = (Places.of(part, learner.temperature) for part in (train, valid))
    weights = Weights(np.zeros(train.dim + 1), np.zeros(len(train.catalogue)))
    best, kept, since = value(check, weights, learner), Weights(*(a.copy() for a in weights.arrays())), 0
    curve = [{"epoch": 0, "value": best, "divergence": 0.0}]
    moments = [(np.zeros_like(a), np.zeros_like(a)) for a in weights.arrays()]
    step, rng = 0, np.random.default_rng([seed, 19])
    for epoch in range(1, learner.epochs + 1):
        far = 0.0
        for rows in _batches(len(teach.slate), learner.batch_size, rng):
            step += 1
            moved, divergence = _moved(teach, rows, weights, learner)
            far += divergence * len(rows) / len(teach.slate)
            _adam(weights, teach.gradient(rows, moved), moments, learner.lr, step)
        now = value(check, weights, learner)
        curve.append({"epoch": epoch, "value": now, "divergence": far})
        if now > best:
            best, kept, since = now, Weights(*(a.copy() for a in weights.arrays())), 0
        else:
            since += 1
        if since >= learner.patience:
            break
    say(f"{len(curve) - 1} passes; value on valid {curve[0]['value']:.4f} -> {best:.4f}")
    return kept, curve


def softmax(logits: Doubles) -> Doubles:
    """Probabilities of the items of each row."""
    mass = np.exp(logits - logits.max(1, keepdims=True))
    return mass / mass.sum(1, keepdims=True)


def _moved(places: Places, rows: Any, weights: Weights, learner: Stepwise) -> tuple[Doubles, float]:
    """Gradient of the objective of some places with respect to the logits, and their mean divergence."""
    now, first = places.logits(rows, weights)
    chance, before = softmax(now), softmax(first)
    moved = learner.pull(_judged(places, rows, chance, learner))
    apart = np.log(np.maximum(chance, 1e-300)) - np.log(np.maximum(before, 1e-300))
    divergence = (chance * apart).sum(1, keepdims=True)
    moved -= learner.leash * chance * (apart - divergence)
    return moved / len(rows), float(divergence.mean())


def _judged(places: Places, rows: Any, chance: Doubles, learner: Held) -> Judged:
    slate, place, found = places.slate[rows], places.place[rows], places.found
    expected = places.rewards(rows) if learner.models_rewards else np.zeros((0, 0))
    usual = float(found.reward.sum() / len(places.slate))
    reward, logged = found.reward[slate, place], found.propensity[slate, place]
    return Judged(chance, places.item[rows], reward, logged, expected, usual, found.item.shape[1])


def value(places: Places, weights: Weights, learner: Held) -> float:
    """Mean reward of a slate, less what the divergence costs: doubly robust, or without a model self-normalised."""
    total = normaliser = leash = 0.0
    for start in range(0, len(places.slate), BLOCK):
        rows = np.arange(start, min(start + BLOCK, len(places.slate)))
        now, first = places.logits(rows, weights)
        chance, before = softmax(now), softmax(first)
        one, at = _judged(places, rows, chance, learner), np.arange(len(rows))
        ratio = np.minimum(chance[at, one.shown] / one.logged, learner.most_weight)
        if learner.models_rewards:
            said = one.expected
            total += float(((chance * said).sum(1) + ratio * (one.reward - said[at, one.shown])).sum())
        else:
            total += float((ratio * one.reward).sum())
            normaliser += float(ratio.sum())
        apart = np.log(np.maximum(chance, 1e-300)) - np.log(np.maximum(before, 1e-300))
        leash += float((chance * apart).sum())
    if not learner.models_rewards:
        total *= len(places.slate) / max(normaliser, 1e-12)
    return (total - learner.leash * leash) / len(places.found)


def _batches(n: int, size: int, rng: np.random.Generator) -> Iterator[Any]:
    order = rng.permutation(n)
    for start in range(0, n, size):
        yield order[start : start + size]


def _adam(weights: Weights, gradient: Weights, moments: list[tuple[Doubles, Doubles]], lr: float, step: int) -> None:
    for array, slope, (mean, square) in zip(weights.arrays(), gradient.arrays(), moments, strict=True):
        mean[:] = 0.9 * mean + 0.1 * slope
        square[:] = 0.999 * square + 0.001 * slope**2
        array[:] = array + lr * mean / (1 - 0.9**step) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
