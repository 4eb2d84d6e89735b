"""What chooses beside the model: a policy with its propensities, two models in one slate, lists made ahead."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import update

from explored import SOFTMAX, beliefs, ids, learned, learning, recommended, section, settled, touch, users_of
from genre.component import Slot
from genre.errors import GenreError
from genre.jobs import Work
from genre.jobs import rerank as reranking
from genre.learn.deciding import propensities
from genre.learnsection import RewardSection
from genre.policies import Arms
from genre.serve.batching import Call
from genre.serve.experiments import share_of
from genre.serve.exploring import OTHERS, POLICY, Explorer
from genre.serve.interleaving import preferred, team_draft
from genre.serve.quality import ENOUGH, FLOOR, Quality
from genre.serve.service import Service
from genre.serve.wishes import Answer, Wish
from genre.store.checking import checked
from genre.store.exporting import interactions
from genre.store.records import Event, SlateRow
from genre.store.tables import slates
from served import a_run, asking, service


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("runs")
    a_run(folder, "later")
    with service(a_run(folder), explore=section()) as made:
        yield made


def written(made: Service, answer: Answer) -> SlateRow:
    """The slate as it is kept."""
    settled(made)
    return made.store.slates.get(answer.slate_id)


# The policy


def test_the_policy_chooses_for_its_share_of_the_users_and_for_nobody_without_a_name(served):
    users = [f"guest{i}" for i in range(400)]
    chosen = [served.explorer.arm(user) == POLICY for user in users]
    assert 0.4 < np.mean(chosen) < 0.6
    assert chosen == [share_of("explore", user) < 0.5 for user in users]
    one, other = users_of(served, POLICY, 1)[0], users_of(served, OTHERS, 1)[0]
    explored, best = (recommended(served, user, history=("i1", "i2"))[0] for user in (one, other))
    assert (explored.policy, best.policy) == ("softmax", None)
    assert all("propensity" not in item for item in best.items)
    assert [written(served, answer).arm for answer in (explored, best)] == [POLICY, OTHERS]
    assert written(served, explored).request["policy"] == "softmax"
    nobody = asyncio.run(served.recommend(Wish(history=("i1", "i2"), k=3, seconds=5), None))[0]
    assert (nobody.policy, ids(nobody)) == (None, ids(best))


def test_propensities_are_exact_and_kept_with_the_slate(served):
    user, history = users_of(served, POLICY, 1)[0], ("i4", "i5")
    counts: Counter[str] = Counter()
    pool = recommended(served, users_of(served, OTHERS, 1)[0], history=history, k=6)[0].items
    scores, at = np.array([one["score"] for one in pool]), {one["item_id"]: i for i, one in enumerate(pool)}
    arms = Arms(np.arange(6, dtype=np.int32), scores, np.zeros((6, 0)))

    async def many() -> list[Answer]:
        return [(await served.recommend(Wish(user, history, k=3, seconds=5.0), None))[0] for _ in range(300)]

    answers = asyncio.run(many())
    for answer in answers:
        exact = propensities(SOFTMAX, {}, arms, np.array([at[item] for item in ids(answer)]))
        np.testing.assert_allclose([one["propensity"] for one in answer.items], exact, rtol=1e-9)
        counts[ids(answer)[0]] += 1
    first = SOFTMAX.draw({}, arms)(np.ones(6, dtype=bool))
    np.testing.assert_allclose([counts[one["item_id"]] / 300 for one in pool], first, atol=0.1)
    kept = written(served, answers[0]).items
    assert [one["propensity"] for one in kept] == [one["propensity"] for one in answers[0].items]


def test_an_event_that_names_a_slate_has_its_propensity_in_the_export(served):
    user = users_of(served, POLICY, 1)[0]
    answer, _ = recommended(served, user, history=("i7", "i8"))
    touch(served, answer.slate_id, user, ids(answer)[1])
    assert written(served, answer)
    table = interactions(served.store.access, [], skips=False).to_pylist()
    [row] = [one for one in table if one["impression_id"] == answer.slate_id]
    assert row["propensity"] == answer.items[1]["propensity"]


def test_what_is_pinned_or_hidden_is_not_the_policy_s_to_choose(served):
    user = users_of(served, POLICY, 1)[0]
    hidden, first = (one["item_id"] for one in recommended(served, user, history=("i1",), k=2)[0].items)
    made = [
        served.store.moderation.decide("hide", "me", "x", item_id=hidden),
        served.store.moderation.decide("pin", "me", "x", item_id=first),
    ]
    served.look()
    for _ in range(30):
        answer, _ = recommended(served, user, history=("i1",), k=3)
        assert (answer.items[0]["item_id"], answer.items[0]["origin"]) == (first, "pinned")
        assert "propensity" not in answer.items[0]
        assert all(0 < one["propensity"] <= 1 for one in answer.items[1:])
        assert hidden not in ids(answer)
        assert len(set(ids(answer))) == 3
    for one in made:
        served.store.moderation.release(one.number, "me", "x")
    served.look()


def test_an_earlier_slate_has_no_propensity(served):
    user = users_of(served, POLICY, 1)[0]
    before, _ = recommended(served, user)
    blocked = Call(lambda: time.sleep(0.4), time.monotonic() + 60)
    served.engine._ranked.clear()
    served.engine.inference.submit(blocked)
    answer, _ = recommended(served, user, seconds=0.1)
    assert (answer.rung, ids(answer), answer.policy) == ("cached", ids(before), None)
    assert all("propensity" not in one for one in answer.items)
    blocked.future.result(5)


def test_a_policy_that_fails_is_told_and_the_best_are_shown(served, monkeypatch):
    def broken(*_: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(served.explorer, "choose", broken)
    user, other = users_of(served, POLICY, 1)[0], users_of(served, OTHERS, 1)[0]
    answer, _ = recommended(served, user, history=("i1", "i2"))
    assert (answer.degraded, answer.policy) == (["policy_failed"], None)
    assert ids(answer) == ids(recommended(served, other, history=("i1", "i2"))[0])


def test_the_switch_needs_an_administrator_is_in_the_audit_and_reaches_other_servers(served):
    user = users_of(served, POLICY, 1)[0]
    with asking(served) as ask:
        told = ask("get", "/v1/policy").json()
        assert (told["policy"]["type"], told["share"], told["on"]) == ("softmax", 0.5, True)
        assert ask("post", "/v1/policy/stop", json={"why": ""}).status_code == 422
        assert ask("post", "/v1/policy/stop", json={"why": "a complaint"}).json()["on"] is False
        schema = ask("get", "/v1/openapi.json").json()["paths"]
        assert schema["/v1/policy/stop"]["post"]["x-scope"] == "admin"
        assert recommended(served, user)[0].policy is None
        assert served.store.settled.all()["policy"]["why"] == "a complaint"
        assert ask("post", "/v1/policy/start", json={"why": "mended"}).json()["since"] > time.time() - 60
        deeds = ask("get", "/v1/audit").json()["rows"][:2]
    assert [(one["action"], one["detail"]["why"]) for one in deeds] == [
        ("policy.start", "mended"),
        ("policy.stop", "a complaint"),
    ]
    assert recommended(served, user)[0].policy == "softmax"


def test_a_policy_that_earns_less_is_stopped_by_itself_and_one_that_does_not_is_not(served):
    policy, others = users_of(served, POLICY, 25), users_of(served, OTHERS, 25)
    served.switch(True, "anew", "me")
    served.look()
    shown = {user: recommended(served, user, history=("i2", "i3"))[0] for user in (*policy, *others)}
    settled(served)
    for user in (*policy[:13], *others[:12]):
        touch(served, shown[user].slate_id, user, ids(shown[user])[0], "like")
    served.judge()
    assert served.explorer.on, "both earn about the same"
    assert [one.rate for one in served.explorer.compared().arms] == pytest.approx([1.44, 1.56])
    for user in others:
        touch(served, shown[user].slate_id, user, ids(shown[user])[1], "like")
    served.judge()
    assert not served.explorer.on
    assert "less than those of the others" in served.explorer.why
    assert served.store.audit.list(limit=1).rows[0].who == "this service"
    assert recommended(served, policy[0])[0].policy is None


@pytest.fixture
def plain(tmp_path) -> Iterator[Service]:
    """A service whose policy is changed by tests."""
    with service(a_run(tmp_path)) as made:
        yield made


LEARNS = ["thompson_beta", "thompson_linear", {"type": "thompson_neural", "prior": 0.5}]


@pytest.mark.parametrize("policy", LEARNS, ids=["beta", "linear", "neural"])
def test_a_policy_learns_from_the_events_on_its_own_slates(policy, plain):
    explorer = learning(plain, Slot("policies").build(policy))
    first = [one["item_id"] for one in recommended(plain, "reader", history=("i1", "i2"), k=6)[0].items]
    wanted, shown = first[-1], [0]
    while len(shown) < 9 and shown[-1] <= 20:
        shown.append(0)
        for _ in range(40):
            answer, _ = recommended(plain, "reader", history=("i1", "i2"), k=2)
            assert all(0 < one["propensity"] <= 1 for one in answer.items)
            if wanted in ids(answer):
                touch(plain, answer.slate_id, "reader", wanted, "like")
                shown[-1] += 1
        learned(plain)
    assert shown[-1] > 20, "what is liked is shown more and more"
    assert explorer.learned == 40 * (len(shown) - 1) + 1
    assert (learned(plain), explorer.forgotten) == (0, 0), "each slate teaches once"


def test_what_was_not_shown_and_what_was_done_twice_or_too_late_earns_nothing(plain):
    explorer = learning(plain, Slot("policies").build("thompson_beta"))
    late, _ = recommended(plain, "reader", history=("i1", "i2"), k=2)
    settled(plain)
    with plain.store.access.engine.connect() as connection, connection.begin():
        made = plain.store.slates.get(late.slate_id).created - 2 * explorer.section.window_seconds
        connection.execute(update(slates).values(created=made))
    touch(plain, late.slate_id, "reader", ids(late)[0], "like")
    answer, _ = recommended(plain, "reader", history=("i1", "i2"), k=2)
    other = next(item for item in plain.models.active.item_ids if item not in ids(answer))
    touch(plain, answer.slate_id, "reader", other, "like")
    touch(plain, "another slate", "reader", ids(answer)[0], "like")
    for _ in range(2):
        touch(plain, answer.slate_id, "reader", ids(answer)[1], "like")
    assert explorer.learn() == 1, "the time of the other is not over"
    state = beliefs(explorer).state
    assert (state["won"].sum(), state["tried"].sum()) == (0, 2)
    assert learned(plain) == 1
    state = beliefs(explorer).state
    assert np.flatnonzero(state["won"]).tolist() == [plain.models.active.rows[ids(answer)[1]]]
    assert (state["won"].sum(), state["tried"].sum()) == (1, 4)


def test_a_policy_that_cannot_choose_or_learn_here_is_refused_with_what_to_do(plain, tmp_path):
    policies = Slot("policies")
    with pytest.raises(GenreError, match="there is no learned policy; make one with 'genre learn fit"):
        learning(plain, policies.build("learned"))
    with pytest.raises(GenreError, match="in no other"):
        learning(plain, policies.build({"type": "cold_start", "inner": "learned"}))
    threes = RewardSection(events={"like": 3})
    explorer = Explorer(section(learn=True), policies.build("thompson_beta"), threes, plain.store)
    with pytest.raises(GenreError, match="scale them"):
        explorer.insist(plain.models.active)
    with (
        pytest.raises(GenreError, match="from 0 to 1"),
        service(a_run(tmp_path / "other"), explore=section(policy=policies.build("thompson_beta"), learn=True)),
    ):
        pass


def test_an_arm_of_an_experiment_may_have_the_policy(served):
    served.switch(True, "anew", "me")
    arms = [{"name": "plain", "share": 0.5, "policy": False}, {"name": "policy", "share": 0.5, "policy": True}]
    with asking(served) as ask:
        assert ask("put", "/v1/experiments/both", json={"arms": arms, "actions": ["like"]}).status_code == 200
        assert ask("post", "/v1/experiments/both/start").status_code == 200
        found = {arm: Counter[str | None]() for arm in ("plain", "policy")}
        for n in range(40):
            answer, assigned = recommended(served, f"both{n}")
            found[assigned["arm"]][answer.policy] += 1
        assert set(found["plain"]) == {None}
        assert set(found["policy"]) == {"softmax"}
        ask("post", "/v1/policy/stop", json={"why": "all of it"})
        assigned = [recommended(served, f"both{n}")[1] for n in range(40)]
        assert {one.get("arm") for one in assigned} == {"plain", None}, "the switch is for experiments too"
        ask("post", "/v1/experiments/both/stop")


# Two models in one slate


def items(*names: str) -> list[dict[str, Any]]:
    return [{"item_id": name, "score": 1.0, "origin": "ranked", "sources": {}, "predictions": {}} for name in names]


LISTS = st.lists(st.sampled_from("abcdefghij"), unique=True)


@given(first=LISTS, second=LISTS, k=st.integers(1, 12))
def test_teams_draft_in_turns_each_its_best(first, second, k):
    made = team_draft(items(*first), items(*second), ("one", "two"), k)
    names = [one["item_id"] for one in made]
    assert len(set(names)) == len(names) == min(k, len({*first, *second}))
    counts = {"one": 0, "two": 0}
    for at, one in enumerate(made):
        left = {name: [x for x in some if x not in names[:at]] for name, some in (("one", first), ("two", second))}
        assert left[one["team"]][0] == one["item_id"]
        if all(left.values()):
            assert counts[one["team"]] == min(counts.values()), "no team is two picks ahead"
        counts[one["team"]] += 1


def test_a_coin_decides_who_begins():
    begins = Counter(team_draft(items("a", "b"), items("c", "d"), ("one", "two"), 1)[0]["team"] for _ in range(400))
    assert 140 < begins["one"] < 260


def test_preferences_have_intervals_over_users_and_find_the_better_model():
    rng, held, found = np.random.default_rng(1), 0, 0
    for trial in range(30):
        for better in (0.5, 0.7):
            answers = []
            for user in range(60):
                for n in range(int(rng.integers(1, 6))):
                    made = [{**one, "team": team} for one, team in zip(items("a", "b"), ("one", "two"), strict=True)]
                    slate = SlateRow(f"{user}-{n}", f"u{user}", "m", made, 0.0)
                    answers.append((slate, "b" if rng.random() < better else "a"))
            told = preferred(("one", "two"), answers, seed=trial)
            assert told.ci95 is not None
            assert (told.units, told.wins[0] + told.wins[1], told.ties) == (60, len(answers), 0)
            held += better == 0.5 and told.ci95[0] <= 0 <= told.ci95[1]
            found += better == 0.7 and told.verdict == "better"
    assert held >= 26
    assert found >= 27


def test_an_item_that_is_chosen_twice_counts_once_and_pins_count_for_nobody():
    made = [{**one, "team": team} for one, team in zip(items("a", "b"), ("one", "two"), strict=True)]
    slate = SlateRow("s", "u", "m", [*items("pinned"), *made], 0.0)
    told = preferred(("one", "two"), [(slate, "a"), (slate, "a"), (slate, "b"), (slate, "pinned")])
    assert (told.wins, told.ties, told.preference, told.ci95) == ((0, 0), 1, 0.0, None)
    assert preferred(("one", "two"), [(slate, "pinned")]).preference is None


def test_two_models_are_interleaved_and_the_one_whose_items_are_chosen_wins(served):
    arms = [{"name": "old", "share": 0.5}, {"name": "new", "share": 0.5, "model": "later"}]
    asked = {"kind": "interleaving", "arms": arms, "actions": ["like"]}
    with asking(served) as ask:
        three = {**asked, "arms": [*arms, {"name": "third", "share": 0.1}]}
        assert ask("put", "/v1/experiments/mixed", json={**three, "arms": three["arms"]}).status_code == 422
        assert ask("put", "/v1/experiments/mixed", json=asked).status_code == 200
        assert ask("post", "/v1/models/later/load").status_code == 200
        assert ask("post", "/v1/experiments/mixed/start").status_code == 200
        for n in range(12):
            reply = ask("post", "/v1/recommend", json={"user_id": f"mixed{n}", "history": ["i1", "i2"], "k": 4}).json()
            assert reply["experiment"] == {"name": "mixed", "arm": "mixed"}
            teams = [one["team"] for one in reply["items"]]
            assert Counter(teams) == {"old": 2, "new": 2}
            liked = next(one["item_id"] for one in reply["items"] if one["team"] == "new")
            touch(served, reply["slate_id"], f"mixed{n}", liked, "like")
        settled(served)
        told = ask("get", "/v1/experiments/mixed").json()["preference"]
        assert (told["first"], told["second"], told["wins"], told["verdict"]) == ("old", "new", [0, 12], "better")
        assert ask("post", "/v1/experiments/mixed/stop").status_code == 200
        ask("post", "/v1/models/later/unload")


# Lists made ahead, and fewer candidates


def test_a_list_that_the_worker_made_ahead_answers_while_the_model_does_not(tmp_path):
    folder = a_run(tmp_path)
    with service(folder) as made:
        seen = [
            checked({"user_id": "reader", "item_id": f"i{n}", "action": "rate", "timestamp": 1e6 + n}) for n in (3, 4)
        ]
        made.store.events.append([one for one in seen if isinstance(one, Event)])
        told: list[Any] = []
        reranking.do(Work(folder, made.store, {"k": 6}, told.append, None))
        assert made.nearline.of("reader") == []
        made.tend()
        ahead = [one["item_id"] for one in made.nearline.of("reader")]
        assert ahead[0] == "i5"
        hidden = made.store.moderation.decide("hide", "me", "x", item_id="i5")
        made.look()
        blocked = Call(lambda: time.sleep(0.4), time.monotonic() + 60)
        made.engine.inference.submit(blocked)
        answer, _ = recommended(made, "reader", seconds=0.1)
        assert (answer.rung, answer.degraded) == ("nearline", ["model_timeout"])
        assert ids(answer) == ahead[1:4], "what is hidden by now is not shown"
        assert answer.items[0]["sources"] == {"nearline": 2}
        assert recommended(made, "stranger", seconds=0.1)[0].rung == "popular"
        blocked.future.result(5)
        assert recommended(made, "reader")[0].rung == "full"
        made.store.moderation.release(hidden.number, "me", "x")
        damaged = folder / "nearline" / "lists.parquet"
        damaged.write_bytes(damaged.read_bytes()[:-9])
        (folder / "nearline" / "manifest.json").touch()
        made.tend()
        assert [one["item_id"] for one in made.nearline.of("reader")] == ahead, "the last sound ones stay"


def test_fewer_candidates_while_slates_take_too_long_and_all_of_them_again_afterwards():
    quality = Quality(target=0.1)

    def late(seconds: float, n: int = ENOUGH) -> float:
        for _ in range(n):
            quality.took(seconds)
        quality.adjust()
        return quality.share

    assert late(0.5, ENOUGH - 1) == 1.0, "of so few slates nothing can be said"
    assert late(0.5) < 1.0
    shares = [late(0.5) for _ in range(20)]
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] == 0.1
    assert (quality.of(1000), quality.of(50), quality.of(5), quality.of(None)) == (100, FLOOR, 5, None)
    assert late(0.09) == 0.1, "near the target nothing changes"
    assert [late(0.01) for _ in range(20)][-1] == 1.0
    assert quality.of(1000) == 1000


def test_a_slate_of_fewer_candidates_says_so_and_is_made_anew_when_there_is_time(tmp_path):
    with service(a_run(tmp_path)) as made, asking(made) as ask:
        made.quality.share = 0.5
        first = recommended(made, "u1")[0]
        assert (first.rung, first.degraded) == ("full", ["fewer_candidates"])
        assert recommended(made, "u1")[0].from_cache, "under load what is there is good enough"
        assert "genre_quality 0.5" in ask("get", "/v1/metrics").text
        made.quality.share = 1.0
        again = recommended(made, "u1")[0]
        assert (again.degraded, again.from_cache) == ([], False)


# Columns that the store has been told of


def test_filters_rules_and_columns_follow_what_the_store_is_told(tmp_path):
    with service(a_run(tmp_path)) as made, asking(made) as ask:

        def of(**asked: Any) -> list[str]:
            reply = ask("post", "/v1/recommend", json={"history": ["i1"], "k": 19, **asked})
            assert reply.status_code == 200, reply.text
            return [one["item_id"] for one in reply.json()["items"]]

        red = [{"column": "title", "any_of": ["quite new"]}]
        assert of(filters=red) == []
        ask("post", "/v1/items", json={"rows": [{"item_id": "i7", "title": "quite new"}, {"item_id": "x"}]})
        assert of(filters=red) == ["i7"]
        assert "i7" not in of(filters=[{"column": "title", "none_of": ["quite new"]}])
        shown = ask("post", "/v1/recommend", json={"history": ["i1"], "k": 19, "columns": ["title"]}).json()["items"]
        assert {one["item_id"]: one["columns"]["title"] for one in shown}["i7"] == "quite new"
        assert ask("post", "/v1/recommend", json={"filters": [{"column": "maker", "low": 1}]}).status_code == 422
        ask("patch", "/v1/items/i7", json={"columns": {"maker": "acme", "price": 12}})
        assert of(filters=[{"column": "price", "low": 10}]) == ["i7"]
        rule = {"verdict": "block", "rule": {"maker": ["acme"]}, "why": "recalled"}
        assert ask("post", "/v1/moderation/decisions", json=rule).status_code == 201
        assert "i7" not in of()
        assert len(of()) == 18
        ask("patch", "/v1/items/i7", json={"columns": {"maker": "other"}})
        assert "i7" in of(), "the rule sees the change too"
