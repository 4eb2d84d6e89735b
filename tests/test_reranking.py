"""The top read again: nothing comes in or goes out, and how much the reading counts is learned."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from genre.cases import Cases
from genre.data import Histories
from genre.ranking import top_lists
from genre.reranking import Reranker, fit_reranker


class Reader:
    """Says of an item its number, so that larger rows are better."""

    def predict(self, head: str, histories: Histories, items: np.ndarray) -> np.ndarray:
        assert len(histories) == len(items)
        return items.astype(np.float32)


def reranker(weight: float, top: int = 5) -> Reranker:
    return Reranker(Reader(), "chosen", top, weight)  # type: ignore[arg-type]


def nobody(n: int) -> Histories:
    return Histories.of_items([[]] * n)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([0.25, 1.0, 4.0, float("inf")]), st.integers(1, 12))
def test_only_the_order_of_the_top_changes(seed: int, weight: float, top: int):
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(4, 10)).astype(np.float32)
    scores[rng.random(scores.shape) < 0.3] = -np.inf
    changed = reranker(weight, top).apply(scores, nobody(4))
    before, after = (top_lists(one, np.isfinite(one), top) for one in (scores, changed))
    for a, b in zip(before, after, strict=True):
        assert set(a.tolist()) == set(b.tolist())
    np.testing.assert_array_equal(np.sort(scores, 1), np.sort(changed, 1))
    assert (np.isfinite(scores) == np.isfinite(changed)).all()


def test_alone_the_reading_decides():
    scores = np.array([[5.0, 4.0, 3.0, 2.0, 1.0, 0.0]], dtype=np.float32)
    changed = reranker(float("inf"), 3).apply(scores, nobody(1))
    assert np.argsort(-changed[0]).tolist() == [2, 1, 0, 3, 4, 5]


def test_how_much_it_counts_is_what_orders_validation_best():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(50, 20)).astype(np.float32)
    tops = top_lists(scores, np.isfinite(scores), 5)
    histories, users = nobody(50), np.arange(50, dtype=np.int32)

    def cases(targets: np.ndarray) -> Cases:
        none = np.full(50, -1, dtype=np.int32)
        return Cases(users, none, histories, [np.array([t], dtype=np.int32) for t in targets], None, 20)

    right, tried = fit_reranker(reranker(1.0), scores, cases(tops.max(1)))
    assert tried[str(right.weight)] == max(tried.values()) == 1.0
    wrong, _ = fit_reranker(reranker(1.0), scores, cases(tops[:, 0]))
    assert wrong.weight == 0


def test_a_reading_that_alone_decides_is_kept_and_read_back(tmp_path, monkeypatch):
    """JSON has no infinity, so the way to the file and back is gone whole: the stage's own, then the pipeline's."""
    from genre import pipeline, rank
    from genre.config import Config, DataSection
    from genre.files import write_json

    conf = Config(data=DataSection(reader={"type": "table"}), pipeline={"rerank": {"top": 5}})
    scores = np.array([[5.0, 4.0, 3.0, 2.0, 1.0, 0.0]] * 3, dtype=np.float32)
    none = np.full(3, -1, dtype=np.int32)
    cases = Cases(np.arange(3, dtype=np.int32), none, nobody(3), [np.array([4], dtype=np.int32)] * 3, None, 6)
    monkeypatch.setattr("genre.reranking.WEIGHTS", (0.0, float("inf")))

    class Retrieved:
        def score_block(self, histories, within):
            return scores, pipeline.Trace()

    found = rank._rerank(conf, Retrieved(), Reader(), cases)  # type: ignore[arg-type]
    write_json(tmp_path / "rerank.json", found)
    made = pipeline._reranker(conf, Reader(), tmp_path / "rerank.json")  # type: ignore[arg-type]
    assert made is not None
    assert made.weight == float("inf")
