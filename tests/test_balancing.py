"""Balancers give the gradients that their papers say."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from genre.balancing import GradientNorms
from genre.component import Slot, names


def balancer(name: str, weights: dict[str, float] | None = None, **settings: Any) -> Any:
    return Slot("balancers").build({"type": name, **settings}).build(weights or {"a": 1.0, "b": 1.0})


def gradient(balance: Any, rows: list[list[float]], at: Tensor | None = None) -> Tensor:
    """What a balancer makes of linear tasks with these gradients."""
    leaf = torch.zeros(len(rows[0]), requires_grad=True)
    names = list(balance.weights)
    balance.backward({n: torch.tensor(row) @ leaf for n, row in zip(names, rows, strict=True)}, [leaf])
    assert leaf.grad is not None
    return leaf.grad


CONFLICT = [[1.0, 0.0], [-2.0, 1.0]]


def test_fixed_adds_and_hurts_a_task():
    found = gradient(balancer("fixed"), CONFLICT)
    assert found.tolist() == [-1.0, 1.0]
    assert float(torch.tensor(CONFLICT[0]) @ found) < 0


@pytest.mark.parametrize("name", ["pcgrad", "upgrad"])
def test_of_two_tasks_each_loses_what_points_against_the_other(name: str):
    found = gradient(balancer(name), CONFLICT)
    # The first less its part along the second, (1, 0) + 2/5 (-2, 1), and the second less its own, (-2, 1) + 2 (1, 0).
    torch.testing.assert_close(found, torch.tensor([0.2 + 0.0, 0.4 + 1.0]), rtol=1e-4, atol=1e-5)
    assert all(float(torch.tensor(row) @ found) >= -1e-4 for row in CONFLICT)


@pytest.mark.parametrize("name", ["pcgrad", "upgrad"])
def test_tasks_that_agree_are_added(name: str):
    torch.testing.assert_close(gradient(balancer(name), [[1.0, 2.0], [3.0, 0.5]]), torch.tensor([4.0, 2.5]))


@pytest.mark.parametrize("shorter", [1.0, 1e-3, 1e-6])
@pytest.mark.parametrize("together", [1.0, 1e-6])
def test_no_task_gets_worse_however_many_and_however_short(shorter: float, together: float):
    torch.manual_seed(0)
    for _ in range(20):
        rows = torch.randn(4, 6) * torch.tensor([1.0, shorter, 1.0, shorter])[:, None] * together
        found = gradient(balancer("upgrad", dict.fromkeys("abcd", 1.0)), rows.tolist())
        cosines = rows @ found / (rows.norm(dim=1) * found.norm())
        assert cosines.min() > -1e-5


def test_a_heavier_task_decides_more():
    light, heavy = (gradient(balancer("upgrad", {"a": 1.0, "b": w}), CONFLICT) for w in (1.0, 10.0))
    second = torch.tensor(CONFLICT[1])
    assert float(heavy @ second / heavy.norm()) > float(light @ second / light.norm())


@pytest.mark.parametrize("name", ["pcgrad", "upgrad"])
def test_quadratic_tasks_that_conflict_come_to_rest_between_their_minima(name: str):
    torch.manual_seed(0)
    balance, leaf = balancer(name), torch.tensor([3.0, -2.0], requires_grad=True)
    minima = {"a": torch.tensor([0.0, 0.0]), "b": torch.tensor([2.0, 0.0])}
    for _ in range(300):
        leaf.grad = None
        balance.backward({n: (leaf - m).square().sum() for n, m in minima.items()}, [leaf])
        with torch.no_grad():
            leaf -= 0.05 * leaf.grad  # type: ignore[operator]
    place = leaf.detach()
    assert abs(float(place[1])) < 1e-3
    assert -1e-3 <= float(place[0]) <= 2.0 + 1e-3


@pytest.mark.parametrize("name", ["pcgrad", "upgrad", "gradnorm"])
def test_conflicts_are_looked_for_only_where_tasks_meet(name: str):
    both, mine, yours = (torch.zeros(2, requires_grad=True) for _ in range(3))
    losses = {"a": both[0] + 5 * mine.sum(), "b": both[1] - 7 * yours.sum()}
    balancer(name).backward(losses, [both, mine, yours])
    for leaf, expected in ((both, [1.0, 1.0]), (mine, [5.0, 5.0]), (yours, [-7.0, -7.0])):
        assert leaf.grad is not None
        assert leaf.grad.tolist() == expected


def test_the_order_of_projections_is_drawn_from_the_seed():
    torch.manual_seed(3)
    rows = torch.randn(5, 2).tolist()
    balance = balancer("pcgrad", dict.fromkeys("abcde", 1.0))
    made = []
    for seed in (1, 1, *range(2, 12)):
        torch.manual_seed(seed)
        made.append(gradient(balance, rows))
    assert torch.equal(made[0], made[1])
    assert any(not torch.allclose(made[0], one) for one in made[2:])


def pulls(balance: GradientNorms, sizes: dict[str, float], losses: dict[str, float], steps: int = 800) -> list[float]:
    """Length of each task's weighed gradient after so many steps on linear tasks of these slopes and losses."""
    for _ in range(steps):
        leaf = torch.zeros(3, requires_grad=True)
        values = {n: losses[n] + size * leaf[i] for i, (n, size) in enumerate(sizes.items())}
        balance.backward(values, [leaf])
    shares = balance.log_shares.exp().tolist()
    return [share * size for share, size in zip(shares, sizes.values(), strict=True)]


def test_gradient_norms_become_equal():
    sizes = {"a": 1.0, "b": 10.0, "c": 0.2}
    balance = balancer("gradnorm", dict.fromkeys("abc", 1.0))
    found = pulls(balance, sizes, dict.fromkeys("abc", 1.0))
    assert max(found) / min(found) < 1.15
    assert balance.log_shares.exp().mean() == pytest.approx(1.0, abs=1e-5)


def test_a_task_that_lags_behind_pulls_harder():
    sizes, even = {"a": 1.0, "b": 10.0}, dict.fromkeys("ab", 2.0)
    balance = balancer("gradnorm", alpha=1.0)
    pulls(balance, sizes, even, steps=1)
    found = pulls(balance, sizes, {"a": 2.0, "b": 1.0})
    # Of its first loss a has all left and b half: 1 beside 0.5.
    assert found[0] / found[1] == pytest.approx(2.0, rel=0.15)


def test_a_task_without_a_gradient_keeps_its_share():
    balance = balancer("gradnorm", dict.fromkeys("abc", 1.0), rate=0.1)
    found = pulls(balance, {"a": 1.0, "b": 3.0, "c": 0.0}, {"a": 1.0, "b": 1.0, "c": 0.0})
    assert found[0] / found[1] == pytest.approx(1.0, rel=0.25)
    assert math.isfinite(found[2])
    assert float(balance.first[2]) == 0.0


def test_the_heads_weights_multiply_what_gradnorm_learns():
    plain, weighed = balancer("gradnorm"), balancer("gradnorm", {"a": 1.0, "b": 4.0})
    for balance in (plain, weighed):
        pulls(balance, {"a": 1.0, "b": 10.0}, dict.fromkeys("ab", 1.0))
    torch.testing.assert_close(plain.log_shares, weighed.log_shares)
    one, other = (gradient(balance, [[1.0, 0.0], [0.0, 1.0]]) for balance in (plain, weighed))
    torch.testing.assert_close(other, one * torch.tensor([1.0, 4.0]), rtol=0.05, atol=0.0)


def test_weights_follow_how_fast_losses_fell():
    balance = balancer("dwa", {"a": 1.0, "b": 3.0}, temperature=2.0)
    slopes = [[1.0, 0.0], [0.0, 1.0]]
    assert gradient(balance, slopes).tolist() == [1.0, 3.0], "nothing is known yet"
    balance.epoch_done({"a": 4.0, "b": 1.0})
    assert gradient(balance, slopes).tolist() == [1.0, 3.0]
    balance.epoch_done({"a": 2.0, "b": 0.9})
    rates = [math.exp(0.5 / 2), math.exp(0.9 / 2)]
    expected = torch.tensor([2 * rates[0] / sum(rates), 3 * 2 * rates[1] / sum(rates)])
    torch.testing.assert_close(gradient(balance, slopes), expected)
    balance.epoch_done({"a": 2.0, "b": 0.0})
    torch.testing.assert_close(gradient(balance, slopes)[0] / gradient(balance, slopes)[1], torch.tensor(1 / 3))


def test_uncertainty_divides_by_a_variance_that_it_learns():
    balance = balancer("uncertainty", {"a": 1.0, "b": 2.0})
    assert gradient(balance, [[1.0, 0.0], [0.0, 1.0]]).tolist() == [1.0, 2.0]
    optimizer = torch.optim.SGD(balance.parameters(), lr=0.05)
    for _ in range(500):
        optimizer.zero_grad()
        leaf = torch.zeros(1, requires_grad=True)
        balance.backward({"a": 4.0 + leaf.sum(), "b": 0.5 + leaf.sum()}, [leaf])
        optimizer.step()
    # At rest the variance is the loss itself.
    found = gradient(balance, [[1.0, 0.0], [0.0, 1.0]])
    torch.testing.assert_close(found, torch.tensor([1 / 4.0, 2 / 0.5]), rtol=1e-2, atol=0.0)


@pytest.mark.parametrize("name", names("balancers"))
def test_a_batch_in_pieces_has_the_gradient_of_the_whole(name: str):
    def gradient(shares: list[float]) -> list[torch.Tensor]:
        torch.manual_seed(0)
        balance = Slot("balancers").build(name).build({"a": 1.0, "b": 0.5})
        leaf = torch.tensor([1.0, 2.0], requires_grad=True)
        for share in shares:
            losses = {"a": (leaf**2).sum(), "b": (leaf * 3).sum()}
            balance.backward(losses, [leaf], share)
        return [leaf.grad, *(p.grad for p in balance.parameters())]  # type: ignore[list-item]

    for whole, pieces in zip(gradient([1.0]), gradient([0.25, 0.75]), strict=True):
        torch.testing.assert_close(whole, pieces, rtol=0.1, atol=1e-6)  # gradnorm moves its shares with every piece
