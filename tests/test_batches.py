"""Windows and batches: everything once, nothing from the future."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from genre.batches import TrainingLog
from genre.config import ModelSection
from genre.data import Log
from genre.model import Facts, MultiTaskModel, labels_of


def log_of(lengths, n_items=30, skips=0.0, seed=0):
    rng = np.random.default_rng(seed)
    user = np.repeat(np.arange(len(lengths)), lengths).astype(np.int32)
    n = len(user)
    action = (rng.random(n) < skips).astype(np.int32)
    return Log(
        user=user,
        item=rng.integers(0, n_items, n).astype(np.int32),
        action=action,
        value=rng.random(n).astype(np.float32),
        time=np.arange(n, dtype=float),
        impression=np.full(n, -1, dtype=np.int32),
        part=np.zeros(n, dtype=np.int8),
        n_users=len(lengths),
        n_items=n_items,
        actions=("click", "skip"),
    )


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 25), min_size=1, max_size=12), st.integers(2, 9), st.integers(1, 5), st.integers(0, 99))
def test_every_row_is_trained_once_with_the_events_just_before_it(lengths, window, size, seed):
    log = log_of(lengths, skips=0.3, seed=seed)
    index = np.arange(len(log), dtype=np.float32)
    batches = TrainingLog(log, {"row": index}, window, None)
    seen = []
    for batch in batches.epoch(size, np.random.default_rng(seed)):
        rows = batch.labels["row"].numpy().astype(int)
        seen += rows.tolist()
        for row, w, state in zip(rows, batch.window.tolist(), batch.state.tolist(), strict=True):
            earlier = [r for r in range(row) if log.user[r] == log.user[row] and log.action[r] == 0]
            history = batch.rows[batch.history[w, :state].numpy()].tolist()
            assert history == [int(log.item[r]) for r in earlier][len(earlier) - state :]
            assert state > 0 or not earlier
            assert state <= window
    assert sorted(seen) == list(range(len(log)))


def unpacked(batch):
    """The same interactions, each from a window of its own that ends just before it."""
    state = batch.state
    mask = torch.arange(batch.mask.shape[1]) < state[:, None]
    assert bool((mask <= batch.mask[batch.window]).all())
    return dataclasses.replace(
        batch,
        history=torch.where(mask, batch.history[batch.window], 0),
        mask=mask,
        value=batch.value[batch.window],
        action=batch.action[batch.window],
        window=torch.arange(len(state)),
    )


@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 25), min_size=1, max_size=6),
    window=st.integers(2, 9),
    size=st.integers(1, 5),
    negatives=st.sampled_from([None, 4]),
    user=st.sampled_from(["transformer", "mean"]),
    seed=st.integers(0, 99),
)
def test_interactions_packed_in_windows_have_the_losses_and_gradients_of_each_alone(
    lengths, window, size, negatives, user, seed
):
    log = log_of(lengths, skips=0.2, seed=seed)
    heads = {"next": "next_item", "rating": {"type": "regression", "label": "value"}}
    given_ = {"text": False, "ids": True, "dim": 8, "dropout": 0.0, "max_history": window, "user": user, "heads": heads}
    section = TypeAdapter(ModelSection).validate_python(given_)
    torch.manual_seed(seed)
    model = MultiTaskModel(section, Facts.of(log, section.heads, 0), torch.ones(log.n_items), None)
    for weight in model.parameters():
        weight.data += 0.1 * torch.randn_like(weight)
    batches = TrainingLog(log, labels_of(log, section.heads), window, negatives)
    batch = next(batches.epoch(size, np.random.default_rng(seed)))
    found = []
    for one in (batch, unpacked(batch)):
        losses = model.losses(one, model.items(None, torch.from_numpy(one.rows)))
        sum(losses.values(), torch.zeros(())).backward()
        found.append((losses, {name: w.grad for name, w in model.named_parameters() if w.grad is not None}))
        model.zero_grad()
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-3, atol=1e-5)
    assert any(bool(gradient.any()) for gradient in found[0][1].values())


def test_what_was_shown_together_does_not_see_its_own_click():
    log = dataclasses.replace(
        log_of([4]), action=np.array([0, 0, 1, 0], dtype=np.int32), impression=np.array([-1, 5, 5, 5], dtype=np.int32)
    )
    assert log.events_before().tolist() == [0, 1, 1, 1]


def test_a_sample_holds_every_chosen_item_and_its_chance():
    log = log_of([20] * 10, n_items=500)
    batch = next(TrainingLog(log, {}, 10, 50).epoch(4, np.random.default_rng(0)))
    chosen = batch.rows[batch.item.numpy()]
    found = batch.rows[batch.candidates.numpy()][batch.target.numpy()]
    np.testing.assert_array_equal(found, chosen)
    assert len(batch.candidates) < 500
    assert (batch.log_q <= 0).all()


@pytest.mark.parametrize("negatives", [None, 8])
def test_the_same_seed_gives_the_same_epoch(negatives):
    made = [
        list(TrainingLog(log_of([9, 30, 2]), {}, 5, negatives).epoch(2, np.random.default_rng(3))) for _ in range(2)
    ]
    for a, b in zip(*made, strict=True):
        np.testing.assert_array_equal(a.rows, b.rows)
        assert a.history.tolist() == b.history.tolist()


def test_the_chance_to_be_sampled_is_what_it_is_said_to_be():
    log = log_of([20] * 10, n_items=50)
    batches, drawn, said = TrainingLog(log, {}, 10, 10), np.zeros(50), []
    for epoch in range(300):
        batch = next(batches.epoch(2, np.random.default_rng(epoch)))
        items = batch.rows[batch.candidates.numpy()]
        drawn[items] += 1
        said.append(np.exp(batch.log_q.numpy()).mean())
    assert np.mean(said) == pytest.approx(drawn.sum() / 300 / len(np.flatnonzero(drawn)), abs=0.15)
