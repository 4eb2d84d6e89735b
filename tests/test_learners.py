"""Learners of policies: their contract, and a session in which what earns now loses to what earns later."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from genre.component import Slot, find, names
from genre.errors import ConfigError, DataError
from genre.learn.decisions import Decisions
from genre.learn.intervals import interval
from genre.learn.policyfitting import Places
from genre.learn.rewardmodel import Situation
from genre.learn.rewards import to_go
from genre.learn.sessions import by_session, with_own_rewards
from genre.learn.targeting import evidence

POLICIES = [name for name in names("learners") if find("learners", name).makes == "policy"]
GAMMA = 0.9
PLAIN, GOOD, DULL = 0, 1, 2
BAIT, SEED, TREAT, POISON = 0, 1, 2, 3
"""In the plain state bait earns 1 and makes dull, seed earns 0 and makes good; in the good state treat earns 3. Poison
earns nothing anywhere, and the dull state nothing by anything."""
WORTH = {(PLAIN, BAIT): 1.0, (GOOD, TREAT): 3.0}
LONG = 4


def after(state: int, item: int) -> int:
    """The state that comes next; from good and dull one goes back to plain."""
    return {BAIT: DULL, SEED: GOOD}.get(item, PLAIN) if state == PLAIN else PLAIN


def exact() -> np.ndarray:
    """The best values, of an unending session: ``[states, items]``."""
    q = np.zeros((3, 4))
    for _ in range(400):
        q = np.array([[WORTH.get((s, a), 0.0) + GAMMA * q[after(s, a)].max() for a in range(4)] for s in range(3)])
    return q


def logged(people: int, chance: np.ndarray, seed: int, long: int = LONG) -> Decisions:
    """Sessions by a policy with these chances, ``[states, items]``; the supervised score knows what earns now."""
    rng = np.random.default_rng(seed)
    state, item, reward = (np.zeros((people, long), int) for _ in range(3))
    for person in range(people):
        now = PLAIN
        for step in range(long):
            one = int(rng.choice(4, p=chance[now]))
            state[person, step], item[person, step] = now, one
            reward[person, step] = WORTH.get((now, one), 0.0)
            now = after(now, one)
    owner = np.repeat(np.arange(people), long)
    states, shown, earned = state.ravel(), item.ravel(), reward.ravel().astype(float)
    time = np.tile(np.arange(long) * 60.0, people)
    later = to_go(earned, owner, time, GAMMA, 30.0)
    following = np.where(np.diff(owner, append=-1) == 0, np.arange(1, len(owner) + 1), -1)
    # The product of a person's and an item's vector says which state and which item, so every value can be written.
    known = Situation(
        np.repeat(np.eye(3), 4, 1)[states], np.tile(np.eye(4), (1, 3)), np.zeros((len(owner), 4, 0)), owner
    )
    scores = np.array([[WORTH.get((s, a), 0.0) for a in range(4)] for s in range(3)])[states]
    made = Decisions(
        shown[:, None], later[:, None], chance[states, shown][:, None], np.zeros(len(owner), np.int8),
        np.arange(4, dtype=np.int32), scores, known, 4, {},
    )  # fmt: skip
    return replace(made, discount=GAMMA, ahead=later - earned, following=following)


EVENLY = np.full((3, 4), 0.25)


def chances(found: Decisions, learner: Any, weights: Any) -> np.ndarray:
    """What the learned policy does in each state: ``[states, items]``."""
    places = Places.of(found, learner.temperature)
    states = found.known.people.reshape(-1, 3, 4)[:, :, 0].argmax(1)
    rows = np.array([np.flatnonzero(states == s)[0] for s in range(3)])
    logits = places.logits(rows, weights)[0]
    mass = np.exp(logits - logits.max(1, keepdims=True))
    return mass / mass.sum(1, keepdims=True)


def earned(chance: np.ndarray, long: int = LONG, discount: float = 1.0) -> float:
    """What a session brings by a policy."""
    there, total = np.eye(3)[PLAIN], 0.0
    for step in range(long):
        new = np.zeros(3)
        for s in range(3):
            for a in range(4):
                total += discount**step * there[s] * chance[s, a] * WORTH.get((s, a), 0.0)
                new[after(s, a)] += there[s] * chance[s, a]
        there = new
    return total


def silent(line: str) -> None:
    pass


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_learner_starts_at_the_supervised_softmax_and_is_the_same_again(name: str):
    learner = Slot("learners").build({"type": name, "epochs": 2})
    train, valid = logged(40, EVENLY, 0), logged(20, EVENLY, 1)
    weights, curve = learner.learn(train, valid, 3, silent)
    again, _ = learner.learn(train, valid, 3, silent)
    assert weights.pair.shape == (train.dim + 1,)
    assert weights.item.shape == (4,)
    assert all(np.array_equal(a, b) for a, b in zip(weights.arrays(), again.arrays(), strict=True))
    assert all(np.isfinite(array).all() for array in weights.arrays())
    assert curve[0]["epoch"] == 0
    assert curve[-1]["epoch"] <= 2


def test_what_pays_later_is_found_and_can_be_shown():
    train, valid, test = logged(400, EVENLY, 0), logged(150, EVENLY, 1), logged(400, EVENLY, 2)
    learner = Slot("learners").build("conservative_q")
    weights, curve = learner.learn(train, valid, 0, silent)
    mine = chances(train, learner, weights)
    assert exact()[PLAIN].argmax() == SEED
    assert mine[PLAIN].argmax() == SEED
    assert mine[GOOD].argmax() == TREAT
    greedy = np.eye(4)[[BAIT, TREAT, BAIT]]
    assert earned(mine) > earned(greedy) + 2
    assert max(row["value"] for row in curve) > curve[0]["value"] + 1
    # Whoever looks at one slate at a time takes the bait.
    near = Slot("learners").build("doubly_robust")
    assert chances(train, near, near.learn(train, valid, 0, silent)[0])[PLAIN].argmax() == BAIT
    # Judged by sessions the log shows what it is worth.
    policy = Slot("policies").build({"type": "learned", "explore": 0.0})
    state = {"weights": weights.pair, "bias": weights.item}
    own = with_own_rewards(test)
    made = by_session(test, evidence(own, policy, state)[0])
    estimate = Slot("estimators").build("cascade_dr").estimate(made)
    low, high = interval(estimate, made.person, "normal")
    assert low < earned(mine, discount=GAMMA) < high
    assert low > earned(greedy, discount=GAMMA)


def test_values_are_those_of_the_session():
    """Without caution, and with enough passes, the differences between items are the exact ones."""
    import torch

    from genre.learn.qlearning import Steps, Values, follow, loss

    train = logged(600, EVENLY, 0, long=12)
    places = Places.of(train, 0.3)
    steps = Steps.of(train, places.scores, places.slate, places.place)
    torch.manual_seed(0)
    now, past = Values(steps, 16), Values(steps, 16)
    past.load_state_dict(now.state_dict())
    optimizer, rng = torch.optim.Adam(now.parameters(), lr=0.03), np.random.default_rng(0)
    for _ in range(700):
        optimizer.zero_grad()
        # The last of a log that goes on: left out, as it ends for no reason that a state knows.
        rows = rng.choice(np.flatnonzero(steps.following >= 0), 512)
        loss(now, past, steps, rows, GAMMA, 0.0).backward()
        optimizer.step()
        follow(past, now, 0.1)
    states = train.known.people.reshape(-1, 3, 4)[:, :, 0].argmax(1)
    said = np.array([now(steps, np.flatnonzero(states == s)[:1]).detach().numpy()[0] for s in range(3)])
    np.testing.assert_allclose(said, exact(), atol=0.35)


def test_caution_keeps_to_what_was_tried():
    """Poison is hardly ever shown, and by luck of the log it earned much: who is careful does not take it."""
    chance = np.array([[0.33, 0.33, 0.338, 0.002]] * 3)
    train, valid = logged(300, chance, 0), logged(100, chance, 1)
    rows = np.flatnonzero(train.item[:, 0] == POISON)
    assert 0 < len(rows) < 10
    lucky = train.reward.copy()
    lucky[rows] += 30
    train = replace(train, reward=lucky)
    share = {}
    for caution in (0.0, 1.0):
        one = {"type": "conservative_q", "caution": caution, "epochs": 40, "patience": 40}
        learner = Slot("learners").build(one)
        seen: list[np.ndarray] = []
        with pytest.MonkeyPatch.context() as patch:
            # The last weights, not the best on validation, which would mend what is tested.
            patch.setattr(find("learners", "conservative_q").__module__ + ".session_value", rising(seen))
            weights, _ = learner.learn(train, valid, 0, silent)
        share[caution] = chances(train, learner, weights)[:, POISON].max()
    assert share[1.0] < 0.5 * share[0.0]


def rising(seen: list[Any]) -> Any:
    """A value that is higher each time it is asked for."""

    def value(places: Any, weights: Any, learner: Any) -> float:
        seen.append(weights)
        return float(len(seen))

    return value


def test_sessions_are_cut_where_a_part_ends():
    whole = logged(5, EVENLY, 0)
    first = whole.where(np.arange(len(whole)) % LONG < 2)
    assert first.following.tolist() == [1, -1, 3, -1, 5, -1, 7, -1, 9, -1]
    import torch

    from genre.learn.qlearning import Steps

    places = Places.of(first, 0.3)
    steps = Steps.of(first, places.scores, places.slate, places.place)
    own = torch.from_numpy((whole.reward[:, 0] - whole.ahead).astype(np.float32)).reshape(5, LONG)
    # What followed unseen is counted as the log earned it, what can be learned is not.
    torch.testing.assert_close(steps.reward.reshape(5, 2)[:, 0], own[:, 0])
    rest = own[:, 1] + GAMMA * own[:, 2] + GAMMA**2 * own[:, 3]
    torch.testing.assert_close(steps.reward.reshape(5, 2)[:, 1], rest)


def test_a_log_without_sessions_is_refused():
    learner = Slot("learners").build("conservative_q")
    train = logged(5, EVENLY, 0)
    with pytest.raises(ConfigError, match=r"learn\.reward\.discount: 0"):
        learner.learn(replace(train, discount=0.0), train, 0, silent)
    alone = replace(train, following=np.full(len(train), -1))
    with pytest.raises(DataError, match="no session of the train part has two slates"):
        learner.learn(alone, train, 0, silent)
