"""Torch modules that turn the losses of several tasks into one step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from genre.parallel import team


class Balance(nn.Module, ABC):
    """What `genre.balancers.Balancer.build` makes. May hold buffers, and parameters to train."""

    weights: dict[str, float]
    """Of the heads, from the configuration."""

    @abstractmethod
    def backward(self, losses: dict[str, Tensor], shared: list[Tensor], share: float = 1.0) -> None:
        """Add the gradient of the weighed ``losses`` to ``shared`` and to all else that they depend on.

        ``shared`` are the leaves that more than one head may depend on: weights, and the text vectors of a round.
        ``share`` is the part of a step that the losses speak of, where a batch comes in pieces; it scales the gradient.
        """

    def epoch_done(self, losses: dict[str, float]) -> None:
        """Hear the mean losses of the epoch just trained."""

    def now(self) -> dict[str, float]:
        """By how much each task's loss counts at the moment."""
        return dict(self.weights)


class WeightedSum(Balance):
    """``sum(weight * loss)`` over the heads."""

    def __init__(self, weights: dict[str, float]) -> None:
        super().__init__()
        self.weights = weights

    def backward(self, losses: dict[str, Tensor], shared: list[Tensor], share: float = 1.0) -> None:
        (share * torch.stack([self.weights[name] * loss for name, loss in losses.items()]).sum()).backward()


class UncertaintySum(Balance):
    """``sum(weight * (exp(-s) * loss + s))`` with a learned ``s``, the log of the task's variance."""

    def __init__(self, weights: dict[str, float]) -> None:
        super().__init__()
        self.weights = weights
        self.log_variance = nn.ParameterDict({f"head_{name}": nn.Parameter(torch.tensor(0.0)) for name in weights})

    def backward(self, losses: dict[str, Tensor], shared: list[Tensor], share: float = 1.0) -> None:
        terms = [
            self.weights[name] * (loss * (-variance).exp() + variance)
            for name, loss in losses.items()
            for variance in [self.log_variance[f"head_{name}"]]
        ]
        (share * torch.stack(terms).sum()).backward()

    def now(self) -> dict[str, float]:
        return {n: w * float((-self.log_variance[f"head_{n}"].detach()).exp()) for n, w in self.weights.items()}


class DynamicAverage(Balance):
    """``sum(weight * share * loss)``, where a task's share is larger the less its loss fell in the last epoch.

    `torchjd.scalarization.DWA` is the same, but keeps what it has seen out of its state, so that a training that is
    resumed would go another way.
    """

    seen: Tensor
    """``[2, tasks]``: mean losses of the last epoch but one, and of the last; 0 where there was none."""

    def __init__(self, weights: dict[str, float], temperature: float) -> None:
        super().__init__()
        self.weights, self.temperature = weights, temperature
        self.register_buffer("seen", torch.zeros(2, len(weights)))

    def shares(self) -> Tensor:
        """``[tasks]``: 1 on the mean."""
        ratios = torch.where((self.seen > 0).all(0), self.seen[1] / self.seen[0].clamp(min=TINY), 1.0)
        return len(ratios) * (ratios / self.temperature).softmax(0)

    def backward(self, losses: dict[str, Tensor], shared: list[Tensor], share: float = 1.0) -> None:
        shares = dict(zip(self.weights, self.shares(), strict=True))
        terms = [self.weights[name] * shares[name] * loss for name, loss in losses.items()]
        (share * torch.stack(terms).sum()).backward()

    def epoch_done(self, losses: dict[str, float]) -> None:
        latest = torch.tensor([losses[name] for name in self.weights])
        self.seen = torch.stack([self.seen[1], latest])

    def now(self) -> dict[str, float]:
        return {n: w * share for (n, w), share in zip(self.weights.items(), self.shares().tolist(), strict=True)}


TINY = 1e-12


class Gradients:
    """What each task wants of the shared leaves: the gradient of its weighed loss, one task after the other.

    The leaves' own ``.grad`` are put aside until `add`; all other leaves have what they get by then.
    """

    def __init__(self, losses: list[Tensor], shared: list[Tensor]) -> None:
        self.shared = shared
        self.held = [leaf.grad for leaf in shared]
        self.rows: list[list[Tensor | None]] = []
        """A task each, a leaf each; None where the task's loss does not depend on it."""
        for number, loss in enumerate(losses):
            for leaf in shared:
                leaf.grad = None
            loss.backward(retain_graph=number < len(losses) - 1)
            self.rows.append([leaf.grad for leaf in shared])
        # Conflicts are those of the whole batch, not of one worker's part of it.
        self.rows = team().mean_rows(self.rows, shared)
        self.common = [i for i in range(len(shared)) if sum(row[i] is not None for row in self.rows) > 1]
        """Leaves that more than one task pulls at."""

    def gramian(self) -> Tensor:
        """Inner product of every two tasks over the leaves that they have in common: ``[tasks, tasks]``."""
        total = torch.zeros(len(self.rows), len(self.rows))
        for i in self.common:
            flat = [self.shared[i].new_zeros(self.shared[i].numel()) if g is None else g.flatten() for g in self._of(i)]
            stacked = torch.stack(flat)
            total += stacked @ stacked.T
        return total

    def add(self, factors: Tensor) -> None:
        """Add the tasks' gradients, each times its factor, to those put aside; a leaf of one task has it plainly."""
        common = set(self.common)
        for i, leaf in enumerate(self.shared):
            leaf.grad = self.held[i]
            for factor, gradient in zip(factors, self._of(i), strict=True):
                if gradient is not None:
                    wanted = factor * gradient if i in common else gradient
                    leaf.grad = wanted if leaf.grad is None else leaf.grad + wanted

    def _of(self, leaf: int) -> list[Tensor | None]:
        return [row[leaf] for row in self.rows]


class Surgery(Balance):
    """The tasks' gradients, changed where they conflict; ``factors_of`` their Gramian says how much of each is taken.

    What only one task depends on, such as its head, gets its plain gradient.
    """

    def __init__(self, weights: dict[str, float], factors_of: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.weights, self.factors_of = weights, factors_of

    def backward(self, losses: dict[str, Tensor], shared: list[Tensor], share: float = 1.0) -> None:
        gradients = Gradients([share * self.weights[name] * loss for name, loss in losses.items()], shared)
        gradients.add(team().first(self.factors_of(gradients.gramian())))


def unconflicting(gramian: Tensor) -> Tensor:
    """How much of each task's gradient is taken, so that no task gets worse along the sum: `torchjd`'s UPGrad.

    Of gradients of length 1, and each then at its own: as they are, it takes short ones beside long ones for zero.
    """
    from torchjd.aggregation import UPGradWeighting
    from torchjd.linalg import QuadprogProjector

    norms = gramian.diagonal().sqrt()
    pulls = norms > 0
    if not pulls.any():
        return torch.ones_like(norms)
    cosines = gramian / torch.where(pulls, norms, 1.0).outer(torch.where(pulls, norms, 1.0))
    lengths = norms / norms.max()
    found = UPGradWeighting(lengths, QuadprogProjector(reg_eps=1e-6))(cosines)
    return torch.where(pulls, found / torch.where(pulls, lengths, 1.0), 1.0)


class GradientNorms(Balance):
    """``sum(weight * share * loss)``, where the shares are learned so that all tasks pull equally at what they share.

    A task that has come less far than the others, by its loss beside its first one, may pull harder.
    """

    log_shares: Tensor
    """``[tasks]``."""
    first: Tensor
    """``[tasks]``: the first loss of each that was not 0; 0 before."""

    def __init__(self, weights: dict[str, float], alpha: float, rate: float) -> None:
        super().__init__()
        self.weights, self.alpha, self.rate = weights, alpha, rate
        self.register_buffer("log_shares", torch.zeros(len(weights)))
        self.register_buffer("first", torch.zeros(len(weights)))

    def backward(self, losses: dict[str, Tensor], shared: list[Tensor], share: float = 1.0) -> None:
        places = [list(self.weights).index(name) for name in losses]
        weights = torch.tensor([self.weights[name] for name in losses])
        values = team().mean(torch.stack([loss.detach() for loss in losses.values()]))
        shares = self.log_shares[places].exp()
        factors = share * weights * shares
        pulls = [factor * loss for factor, loss in zip(factors, losses.values(), strict=True)]
        gradients = Gradients(pulls, shared)
        gradients.add(torch.ones(len(pulls)))
        self.first[places] = torch.where(self.first[places] > 0, self.first[places], values)
        norms = gradients.gramian().diagonal().sqrt() / (share * weights).clamp(min=TINY)
        self._learn(torch.tensor(places), norms, values)

    def now(self) -> dict[str, float]:
        shares = self.log_shares.exp().tolist()
        return {n: w * share for (n, w), share in zip(self.weights.items(), shares, strict=True)}

    def _learn(self, places: Tensor, norms: Tensor, losses: Tensor) -> None:
        """A step of the shares towards the norms that they should give; a task that does not pull keeps its share."""
        pulling = norms > 0
        if pulling.sum() < 2:
            return
        places, norms, losses = places[pulling], norms[pulling], losses[pulling]
        left = losses / self.first[places].clamp(min=TINY)
        wanted = norms.mean() * (left / left.mean().clamp(min=TINY)) ** self.alpha
        # The gradient of sum(|norm - wanted|) by the log of each share, in units of the mean norm.
        self.log_shares[places] -= self.rate * (norms - wanted).sign() * norms / norms.mean()
        self.log_shares -= self.log_shares.exp().mean().log()
