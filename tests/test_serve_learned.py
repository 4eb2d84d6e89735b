"""The policy that `genre learn fit` wrote, in service: it does what it was judged to do, or it does not serve."""

from __future__ import annotations

import asyncio
import functools
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from explored import ids, learned, section, settled
from genre.component import Slot
from genre.data import Dataset, Histories, Log
from genre.errors import GenreError, RunError
from genre.learn.deciding import propensities
from genre.learn.decisions import decisions
from genre.learn.fit import fit, load_policy
from genre.policies import Arms
from genre.resources import load_model
from genre.run import Run
from genre.serve.fittedpolicy import Fitted
from genre.serve.loaded import Loaded
from genre.serve.service import Service
from genre.serve.wishes import Answer, Wish
from served import asking, service
from shopworld import ITEMS, learned_shop

LEARNED = Slot("policies").build("learned")


@functools.cache
def fitted_shop() -> Run:
    """The shop with a pipeline, and a policy that was learned from its log."""
    from genre.rank import rank

    run = learned_shop()
    folder = Path(shutil.copytree(run.folder, run.folder.parent / "fitted" / "shop"))
    made = Run.open(folder)
    rank(made.config, made)
    assert fit(made.config, made, lambda line: None)["gate"]["published"]
    return made


@pytest.fixture
def shop(tmp_path) -> Path:
    return Path(shutil.copytree(fitted_shop().folder, tmp_path / "shop"))


def exploring(**fields: Any) -> Any:
    return section(**{"share": 1.0, "policy": LEARNED, "pool": ITEMS, **fields})


def asked(made: Service, n: int, *history: str) -> list[Answer]:
    async def many() -> list[Answer]:
        return [(await made.recommend(Wish("reader", history, k=3, seconds=5.0), None))[0] for _ in range(n)]

    return asyncio.run(many())


def told(run: Run, history: list[int]) -> Arms:
    """What the policy would be told of a person, from the run's files alone."""
    data = Dataset.load(run.path("data"))
    model: Any = load_model(run, data)
    _, state, facts = load_policy(run.path("learn") / "policy")
    person = model.asking(Histories.of_items([history]))[0].astype(np.float64)
    items = model.item_vectors().astype(np.float64)
    rows, owner = np.arange(ITEMS, dtype=np.int32), np.zeros(ITEMS, dtype=np.int32)
    heads = [model.predict(name, Histories.of_items([history]), rows, owner) for name in facts["heads"]]
    said = (np.stack(heads, 1) - state["head_mean"]) / state["head_spread"]
    return Arms(rows, items @ person, np.concatenate([person / state["size"] * items, said], 1))


def test_two_hundred_slates_have_the_policy_s_own_probabilities(shop):
    run = Run.open(shop)
    policy, state, facts = load_policy(run.path("learn") / "policy")
    assert facts["heads"] == ["click"]
    assert np.any(state["weights"])
    with service(shop, explore=exploring()) as made:
        rows = made.models.active.rows
        answers = asked(made, 200, "i1", "i2")
        arms = told(run, [rows["i1"], rows["i2"]])
        settled(made)
        shown = Counter[str]()
        # What the pipeline ranks, which does not show again what was seen.
        best = asyncio.run(made.recommend(Wish(None, ("i1", "i2"), k=ITEMS, seconds=5.0), None))[0]
        ranked = [rows[one["item_id"]] for one in best.items if one["origin"] == "ranked"]
        assert 3 < len(ranked) < ITEMS
        still = np.isin(np.arange(ITEMS), ranked)
        draw = policy.draw(state, arms)
        first = draw(still)
        for answer in answers:
            assert (answer.policy, answer.degraded) == ("learned", [])
            places, left = [rows[item] for item in ids(answer)], still.copy()
            for one, place in zip(made.store.slates.get(answer.slate_id).items, places, strict=True):
                assert one["propensity"] == pytest.approx(draw(left)[place], rel=1e-5)
                left[place] = False
            shown[ids(answer)[0]] += 1
        assert first.max() < 0.99, "there is something to choose"
        counts = np.array([shown[item] for item in made.models.active.item_ids]) / len(answers)
        np.testing.assert_allclose(counts, first, atol=4 * np.sqrt(0.25 / len(answers)))
        start = policy.draw(policy.start(ITEMS, arms.contexts.shape[1]), arms)(still)
        assert np.abs(first - start).max() > 0.02, "what was learned makes a difference"


def test_of_the_log_s_people_it_is_told_what_it_was_told_when_it_was_judged(shop):
    run = Run.open(shop)
    some, log = decisions(run.config, run), Log.of(Dataset.load(run.path("data")))
    policy, state, _ = load_policy(run.path("learn") / "policy")
    model = Loaded.load(shop)
    taught = Fitted.load(LEARNED, model)
    assert sorted(some.catalogue.tolist()) == list(range(ITEMS))
    firsts = np.flatnonzero(np.r_[True, (np.diff(log.impression) != 0) | (np.diff(log.user) != 0)])
    pool = np.array([7, 2, 5, 0], dtype=np.int32)
    for row in (0, 5, len(some) - 1):
        history = Histories.at(log, firsts[[row]])
        about = taught.about(history, [model.item_ids[i] for i in pool])
        arms, among = taught.arms(pool, np.zeros(4), about)
        judged = some.arms(row)
        assert arms.item.tolist() == judged.item.tolist()
        np.testing.assert_allclose(arms.scores, judged.scores, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(arms.contexts[pool], judged.contexts[pool], rtol=1e-3, atol=1e-5)
        assert np.flatnonzero(among).tolist() == sorted(pool)
        # Of those that are open it takes each as often as it was judged to, given that it takes one of them.
        whole = policy.draw(state, judged)(among)
        np.testing.assert_allclose(policy.draw(taught.state, arms)(among), whole, rtol=1e-3)
        assert propensities(policy, state, judged, np.array([7])) < whole[pool[0]]
    model.close()


def test_a_policy_that_the_gate_did_not_let_pass_does_not_serve_and_the_reason_is_told(shop):
    for name, where in (("policy", "its gate did not let it pass"), ("candidate", "did not let the last one pass")):
        path = shop / "learn" / name / "manifest.json"
        facts = json.loads(path.read_text())
        facts["gate"] |= {"published": False, "why": ["tail fell from 0.5000 to 0.1000, by more than 10%"]}
        path.write_text(json.dumps(facts))
        with (
            pytest.raises(GenreError, match=f"{where}: tail fell from 0.5000 to 0.1000"),
            service(shop, explore=exploring()),
        ):
            pass
        shutil.rmtree(shop / "learn" / "policy", ignore_errors=True)


def test_one_that_is_damaged_of_another_model_or_not_as_judged_does_not_serve(shop):
    model = Loaded.load(shop)
    with pytest.raises(GenreError, match="write 'learned' alone"):
        Fitted.load(Slot("policies").build({"type": "learned", "temperature": 9.0}), model)
    path = shop / "learn" / "policy" / "manifest.json"
    facts = json.loads(path.read_text())
    path.write_text(json.dumps({**facts, "model": "another"}))
    with pytest.raises(GenreError, match=r"another model.*genre learn fit"):
        Fitted.load(LEARNED, model)
    path.write_text(json.dumps({**facts, "format": 1}))
    with pytest.raises(RunError, match="genre learn fit"):
        Fitted.load(LEARNED, model)
    path.write_text(json.dumps(facts))
    (path.parent / "state.safetensors").write_bytes(b"0")
    with pytest.raises(RunError, match="SHA-256"):
        Fitted.load(LEARNED, model)
    model.close()


def test_it_learns_nothing_here_and_is_told_like_any_other(shop):
    with service(shop, explore=exploring(learn=True)) as made, asking(made) as ask:
        [answer] = asked(made, 1, "i3")
        assert all(0 < one["propensity"] < 1 for one in answer.items)
        assert learned(made) == 0
        assert ask("get", "/v1/policy").json()["policy"]["type"] == "learned"
    assert not (shop / "explore").exists()
