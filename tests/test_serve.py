"""The service over HTTP: each address of a real server, and what it says of mistakes."""

from __future__ import annotations

import contextlib
import logging
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from finished import finished_texts
from genre.cli import commands
from served import a_run, asking, client_of, service


@pytest.fixture
def client(shared: str) -> Iterator[httpx.Client]:
    with client_of(shared) as made:
        yield made


def slate(client: httpx.Client, **asked: Any) -> dict[str, Any]:
    """A slate, which must be there."""
    reply = client.post("/v1/recommend", json=asked)
    assert reply.status_code == 200, reply.text
    return reply.json()


def ids(answer: dict[str, Any]) -> list[str]:
    return [one["item_id"] for one in answer["items"]]


def tell(client: httpx.Client, *events: dict[str, Any]) -> dict[str, Any]:
    reply = client.post("/v1/events", json={"events": list(events)})
    assert reply.status_code == 200, reply.text
    return reply.json()


def walked(user: str, *places: int) -> list[dict[str, Any]]:
    """Events of a user who walks over places of the circle."""
    return [{"user_id": user, "item_id": f"i{i}", "action": "rate", "timestamp": 2e6 + n} for n, i in enumerate(places)]


def test_a_user_of_the_data_gets_the_next_item_of_the_circle_with_its_provenance(client):
    answer = slate(client, user_id="u0", k=3, columns=["title"], trace=True)
    known = client.get("/v1/users/u0").json()
    assert known["servable"]
    assert answer["rung"] == "full"
    assert answer["degraded"] == []
    first = answer["items"][0]
    assert first["rank"] == 1
    assert "model" in first["sources"]
    assert 0 <= first["predictions"]["like"] <= 1
    assert first["columns"]["title"]
    assert {"sources.model", "scorer"} <= set(answer["trace"]["seconds"])
    assert answer["trace"]["removed"]["seen"] == 12


def test_new_events_change_the_next_slate_at_once(client):
    tell(client, *walked("walker", 3, 4, 5))
    assert ids(slate(client, user_id="walker", k=1)) == ["i6"]
    tell(client, *walked("walker", 3, 4, 5, 6)[3:])
    assert ids(slate(client, user_id="walker", k=1)) == ["i7"]
    client.delete("/v1/events", params={"user_id": "walker", "item_id": "i6"})
    assert ids(slate(client, user_id="walker", k=1)) == ["i6"]


def test_what_has_not_changed_is_answered_from_memory_with_a_slate_of_its_own(client):
    first = slate(client, user_id="u3", k=4, trace=True)
    second = slate(client, user_id="u3", k=4, trace=True)
    assert second["trace"]["from_cache"]
    assert ids(first) == ids(second)
    assert first["slate_id"] != second["slate_id"]


def test_a_history_a_text_and_nobody_are_answered(client):
    assert ids(slate(client, history=["i1", "i2", "i3"], k=1)) == ["i4"]
    assert slate(client, text="a red cup", k=2)["items"]
    assert slate(client, k=2)["items"]
    odd = slate(client, history=["i1", "nowhere", "i2", "i3"], k=1)
    assert odd["unknown_items"] == ["nowhere"]
    assert ids(odd) == ["i4"]


def test_what_is_excluded_or_does_not_fulfil_the_filters_is_not_shown(client):
    best = ids(slate(client, history=["i1", "i2", "i3"], k=3))
    rest = ids(slate(client, history=["i1", "i2", "i3"], k=3, exclude=best[:1]))
    assert best[0] not in rest
    title = client.get("/v1/items/i9").json()["columns"]["title"]
    only = slate(client, history=["i1"], k=5, filters=[{"column": "title", "any_of": [title]}])
    assert ids(only) == ["i9"]
    none = slate(client, history=["i1"], k=20, filters=[{"column": "title", "none_of": [title]}])
    assert "i9" not in ids(none)
    assert len(ids(none)) == 18


def test_a_slate_is_kept_and_knows_its_events(client):
    answer = slate(client, user_id="reader", history=["i1", "i2"], k=2)
    event = {"user_id": "reader", "item_id": ids(answer)[0], "action": "view", "slate_id": answer["slate_id"]}
    tell(client, {**event, "position": 0})
    kept = client.get(f"/v1/slates/{answer['slate_id']}").json()
    assert [one["item_id"] for one in kept["items"]] == ids(answer)
    assert [one["action"] for one in kept["events"]] == ["view"]
    until = time.monotonic() + 10
    while not (rows := client.get("/v1/slates", params={"user_id": "reader"}).json()["rows"]):
        assert time.monotonic() < until
    assert rows[0]["slate_id"] == answer["slate_id"]


def test_events_are_judged_one_by_one_and_known_again(client):
    good = {"event_id": "once", "user_id": "u", "item_id": "i1", "action": "view"}
    first = tell(client, good, {"user_id": "u", "action": "view"}, {**good, "event_id": "other", "value": "many"})
    assert [one["status"] for one in first["receipts"]] == ["accepted", "rejected", "rejected"]
    assert [one["field"] for one in first["receipts"]] == [None, "item_id", "value"]
    again = tell(client, good, {**good, "event_id": "new", "item_id": "who knows"})
    assert (again["accepted"], again["duplicates"], again["rejected"]) == (1, 1, 0)
    assert [one["unknown_item"] for one in again["receipts"]] == [False, True]
    refused = client.post("/v1/events", json={"events": [{"user_id": "u"}]})
    assert refused.status_code == 422
    [wrong] = refused.json()["errors"]
    assert (wrong["field"], wrong["mend"]) == ("events.0.item_id", "item_id is missing")
    found = client.get("/v1/events", params={"user_id": "u"}).json()
    assert {one["event_id"] for one in found["rows"]} == {"once", "new"}


def test_items_and_users_are_made_changed_listed_and_deleted(client):
    rows = [{"item_id": f"new{i}", "title": f"Thing {i}", "price": i} for i in range(5)]
    made = client.post("/v1/items", json={"rows": [*rows, {"title": "nameless"}]}).json()
    assert (made["created"], made["rejected"]) == (5, 1)
    assert client.post("/v1/items", json={"rows": rows[:1]}).json()["replaced"] == 1
    changed = client.patch("/v1/items/new1", json={"columns": {"price": None, "colour": "red"}}).json()
    assert changed["columns"] == {"title": "Thing 1", "colour": "red"}
    assert not changed["servable"]
    pages, cursor = [], None
    while True:
        page = client.get("/v1/items", params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        pages += [one["id"] for one in page["rows"]]
        cursor = page["cursor"]
        if cursor is None:
            break
    assert [one for one in pages if one.startswith("new")] == [f"new{i}" for i in range(5)]
    assert client.delete("/v1/items/new1").status_code == 204
    assert client.get("/v1/items/new1").status_code == 404
    assert client.post("/v1/users", json={"rows": [{"user_id": "zoe", "age": 30}]}).json()["created"] == 1
    assert client.get("/v1/users/zoe").json()["columns"] == {"age": 30}
    assert client.delete("/v1/users/zoe").status_code == 204
    assert client.delete("/v1/users/zoe").status_code == 404


def test_a_person_can_be_erased(client):
    tell(client, *walked("gone", 1, 2, 3))
    assert ids(slate(client, user_id="gone", k=1)) == ["i4"]
    assert client.post("/v1/users/gone/erase").json()["rows"]["events"] == 3
    assert client.get("/v1/events", params={"user_id": "gone"}).json()["rows"] == []
    assert slate(client, user_id="gone", k=20, trace=True)["trace"]["removed"]["seen"] == 0


def test_moderation_hides_blocks_pins_and_is_told(client):
    asked = {"history": ["i9", "i10", "i11"], "k": 3}
    assert ids(slate(client, **asked))[0] == "i12"
    hidden = client.post("/v1/moderation/decisions", json={"verdict": "hide", "item_id": "i12", "why": "broken"})
    assert hidden.status_code == 201
    assert "i12" not in ids(slate(client, **asked))
    assert "i12" not in [one["item_id"] for one in client.get("/v1/items/i11/similar").json()["items"]]
    assert client.get("/v1/items/i12").json()["refused"]
    title = client.get("/v1/items/i13").json()["columns"]["title"]
    rule = {"verdict": "block", "rule": {"title": [title]}, "why": "recalled"}
    blocked = client.post("/v1/moderation/decisions", json=rule).json()
    pinned = client.post(
        "/v1/moderation/decisions", json={"verdict": "pin", "item_id": "i0", "why": "of the week"}
    ).json()
    answer = slate(client, **asked)
    assert answer["items"][0]["item_id"] == "i0"
    assert answer["items"][0]["origin"] == "pinned"
    assert not {"i12", "i13"} & set(ids(answer))
    standing = client.get("/v1/moderation/decisions", params={"standing": True}).json()["rows"]
    assert {one["why"] for one in standing} == {"broken", "recalled", "of the week"}
    for number in (hidden.json()["number"], blocked["number"], pinned["number"]):
        assert client.post(f"/v1/moderation/decisions/{number}/release", json={"why": "mended"}).status_code == 200
    assert ids(slate(client, **asked))[0] == "i12"
    deeds = client.get("/v1/audit").json()["rows"]
    assert [one["action"] for one in deeds[:4]] == ["moderation.release"] * 3 + ["moderation.pin"]
    assert deeds[0]["who"] == "this machine"


def test_a_deleted_item_is_shown_no_more(client):
    assert ids(slate(client, history=["i14", "i15"], k=1)) == ["i16"]
    assert client.delete("/v1/items/i16").status_code == 204
    assert "i16" not in ids(slate(client, history=["i14", "i15"], k=20))
    client.post("/v1/items", json={"rows": [{"item_id": "i16"}]})
    assert ids(slate(client, history=["i14", "i15"], k=1)) == ["i16"]


def test_the_review_queue_says_who_when_and_why(client):
    made = client.post("/v1/moderation/reviews", json={"item_id": "i2", "why": "looks odd"}).json()
    assert [one["item_id"] for one in client.get("/v1/moderation/reviews").json()["rows"]] == ["i2"]
    done = client.post(f"/v1/moderation/reviews/{made['number']}/resolve", json={"outcome": "fine"}).json()
    assert (done["who"], done["why"], done["resolved_by"], done["outcome"]) == (
        "this machine",
        "looks odd",
        "this machine",
        "fine",
    )
    again = client.post(f"/v1/moderation/reviews/{made['number']}/resolve", json={"outcome": "fine"})
    assert again.status_code == 409


def test_similar_items_rerank_predict_and_embed(client):
    near = client.get("/v1/items/i3/similar", params={"k": 4}).json()["items"]
    assert len(near) == 4
    assert "i3" not in [one["item_id"] for one in near]
    scores = [one["score"] for one in near]
    assert scores == sorted(scores, reverse=True)
    asked = {"query": "redcup", "documents": ["greybag word150", "redcup"], "model": "any", "top_n": 1}
    best = client.post("/v1/rerank", json=asked).json()["results"]
    assert best == [{"index": 1, "relevance_score": pytest.approx(1, abs=1e-4), "document": {"text": "redcup"}}]
    tell(client, *walked("ranker", 4, 5, 6))
    by_user = {"user_id": "ranker", "documents": ["i1", "i7", "i18"], "items": True, "return_documents": False}
    assert client.post("/v1/rerank", json=by_user).json()["results"][0]["index"] == 1
    said = client.post("/v1/predict", json={"history": ["i1"], "items": ["i2", "i3", "none"]}).json()
    assert [set(one["heads"]) for one in said["predictions"]] == [{"next", "rating", "like"}] * 2
    assert said["unknown_items"] == ["none"]
    assert client.post("/v1/predict", json={"texts": ["a text"]}).status_code == 422
    vectors = client.post("/v1/embed", json={"texts": ["a red cup", "a hat"]}).json()["vectors"]
    assert [len(one) for one in vectors] == [32, 32]
    assert len(client.post("/v1/embed", json={"items": ["i1", "zz"]}).json()["vectors"]) == 1


def test_reasons_name_the_events_that_carried_an_item(client):
    answer = slate(client, history=["i1", "i2", "i3"], k=1, explain=True)
    why = answer["items"][0]["explanation"]
    assert why["carried"][0]["item_id"] == "i3"
    assert why["carried"][0]["change"] > 0
    assert "blue" in why["sentence"] or "word" in why["sentence"]
    chinese = slate(client, history=["i1", "i2", "i3"], k=1, explain=True, language="zh")
    assert any("一" <= letter <= "鿿" for letter in chinese["items"][0]["explanation"]["sentence"])


def test_models_are_loaded_activated_and_rolled_back(client):
    rows = {one["name"]: one for one in client.get("/v1/models").json()["rows"]}
    assert (rows["circle"]["state"], rows["later"]["state"]) == ("active", "available")
    assert rows["later"]["metrics"]["ndcg@10"]["baseline"]
    assert client.post("/v1/models/later/activate", json={}).status_code == 409
    assert client.post("/v1/models/later/load").json()["state"] == "loaded"
    assert client.post("/v1/models/later/activate", json={}).json()["state"] == "active"
    assert slate(client, user_id="u0")["model"]["name"] == "later"
    assert client.post("/v1/rollback").json()["name"] == "circle"
    assert slate(client, user_id="u0")["model"]["name"] == "circle"
    assert client.post("/v1/rollback").status_code == 409
    assert client.post("/v1/models/later/unload").status_code == 204
    assert client.get("/v1/models/nothing").status_code == 404


def test_an_experiment_divides_users_and_tells_what_came_of_it(client):
    arms = [{"name": "a", "share": 0.5}, {"name": "b", "share": 0.5}]
    assert client.put("/v1/experiments/test", json={"arms": arms, "actions": ["buy"]}).json()["state"] == "draft"
    assert client.post("/v1/experiments/test/start").json()["state"] == "running"
    told: dict[str, list[str]] = {"a": [], "b": []}
    for n in range(60):
        answer = slate(client, user_id=f"guest{n}", k=2)
        arm = answer["experiment"]["arm"]
        told[arm].append(answer["slate_id"])
        assert slate(client, user_id=f"guest{n}", k=2)["experiment"]["arm"] == arm
        if arm == "b":
            bought = {"user_id": f"guest{n}", "item_id": ids(answer)[0], "action": "buy"}
            tell(client, {**bought, "slate_id": answer["slate_id"]})
    assert min(map(len, told.values())) > 15
    until = time.monotonic() + 10
    while True:
        result = client.get("/v1/experiments/test").json()
        if sum(one["slates"] for one in result["arms"]) == 120:
            break
        assert time.monotonic() < until
    assert [one["hits"] for one in result["arms"]] == [0, len(told["b"])]
    [difference] = result["differences"]
    assert difference["verdict"] == "better"
    assert difference["ci95"][0] > 0
    assert client.put("/v1/experiments/test", json={"arms": arms, "actions": ["x"]}).status_code == 409
    assert client.post("/v1/experiments/test/stop").json()["state"] == "stopped"
    assert client.delete("/v1/experiments/test").status_code == 204


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"k": 0}, "k"),
        ({"k": "5"}, "k"),
        ({"k": 101}, "k"),
        ({"user_id": ""}, "user_id"),
        ({"user_id": 5}, "user_id"),
        ({"who": "me"}, "who"),
        ({"columns": ["colour"]}, "columns"),
        ({"filters": [{"column": "title", "low": "much"}]}, "filters.0.low"),
        ({"history": ["i1", None]}, "history.1"),
    ],
)
def test_a_mistake_is_told_with_its_field(client, body, field):
    reply = client.post("/v1/recommend", json=body)
    assert reply.status_code == 422
    assert reply.headers["content-type"] == "application/problem+json"
    assert field in [one["field"] for one in reply.json()["errors"]]


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b'{"k": NaN}',
        b'{"k": 1e999}',
        b'{"text": "\\ud800"}',
        b'{"text": "\xff"}',
        b'{"k": ' + b"9" * 5000 + b"}",
        b'{"history": ' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b"[]",
        b"",
    ],
)
def test_what_is_no_sound_json_is_refused(client, body):
    reply = client.post("/v1/recommend", content=body, headers={"content-type": "application/json"})
    assert reply.status_code == 422
    assert reply.json()["status"] == 422


def test_a_body_that_is_too_large_is_refused_whether_it_says_so_or_not(client):
    large = b" " * 10_000_000
    assert client.post("/v1/events", content=large).status_code == 413

    def parts() -> Iterator[bytes]:
        for _ in range(10):
            yield b" " * 1_000_000

    # The service may answer and close before all is sent.
    with contextlib.suppress(httpx.WriteError):
        assert client.post("/v1/events", content=parts()).status_code == 413
    assert client.get("/v1/health/live").status_code == 200


def test_unknown_addresses_and_methods_are_problems_too(client):
    missing = client.get("/v1/nothing")
    assert (missing.status_code, missing.headers["content-type"]) == (404, "application/problem+json")
    wrong = client.put("/v1/events")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "DELETE, GET, POST")


def test_every_reply_has_the_headers_that_browsers_heed(client):
    for reply in (client.get("/v1/health/live"), client.get("/nowhere"), client.post("/v1/recommend", json={})):
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in reply.headers["content-security-policy"]
        assert "server" not in reply.headers


def test_pages_of_other_sites_and_other_names_of_this_machine_are_refused_without_a_key(client):
    assert client.post("/v1/recommend", json={}, headers={"origin": "https://evil.example"}).status_code == 403
    assert client.post("/v1/recommend", json={}, headers={"host": "evil.example"}).status_code == 403
    assert client.post("/v1/recommend", json={}, headers={"origin": "http://localhost:3000"}).status_code == 200


def test_metrics_and_health(client):
    slate(client, user_id="u0")
    text = client.get("/v1/metrics").text
    assert 'genre_slates_total{model="circle",rung="full"}' in text
    assert 'genre_requests_total{route="/v1/recommend",status="200"}' in text
    ready = client.get("/v1/health/ready").json()
    assert ready["ready"]
    assert ready["store"] is None


def test_keys_their_scopes_rates_and_that_no_secret_is_logged(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    with service(a_run(tmp_path)) as made, asking(made) as ask:
        root = ask("post", "/v1/keys", json={"name": "root", "scope": "admin"}).json()
        admin = {"authorization": f"Bearer {root['token']}"}
        assert ask("post", "/v1/recommend", json={}).status_code == 401
        new = {"name": "shop", "scope": "read", "per_second": 2}
        reader = ask("post", "/v1/keys", json=new, headers=admin).json()
        shop = {"authorization": f"Bearer {reader['token']}"}
        assert ask("post", "/v1/recommend", json={}, headers=shop).status_code == 200
        refused = ask("post", "/v1/events", json={"events": [{}]}, headers=shop)
        assert (refused.status_code, "scope" in refused.json()["detail"]) == (403, True)
        replies = [ask("post", "/v1/recommend", json={}, headers=shop) for _ in range(6)]
        assert {one.status_code for one in replies} == {200, 429}
        assert int(replies[-1].headers["retry-after"]) >= 1
        wrong = {"authorization": f"Bearer {reader['token'][:-1]}!"}
        assert ask("get", "/v1/items", headers=wrong).status_code == 401
        assert ask("delete", f"/v1/keys/{reader['key_id']}", headers=admin).json()["revoked"]
        assert ask("get", "/v1/items", headers=shop).status_code == 401
        shown = ask("get", "/v1/keys", headers=admin).text
        deeds = ask("get", "/v1/audit", headers=admin).json()["rows"]
    assert [(one["action"], one["who"]) for one in deeds] == [
        ("key.revoke", "root"),
        ("key.add", "root"),
        ("key.add", "this machine"),
    ]
    assert "/v1/recommend 200" in caplog.text
    for secret in (root["token"], reader["token"], reader["token"].split("_", 2)[2]):
        assert secret not in caplog.text
        assert secret not in shown


def test_the_last_key_revoked_does_not_open_the_door(tmp_path):
    with service(a_run(tmp_path)) as made, asking(made) as ask:
        key, _ = made.store.keys.add("only", "admin")
        made.store.keys.revoke(key.key_id)
        made.look()
        assert ask("post", "/v1/recommend", json={}).status_code == 401


def test_a_public_address_without_keys_is_refused(tmp_path):
    run = str(a_run(tmp_path))
    done = CliRunner().invoke(commands, ["serve", run, "--host", "0.0.0.0", "--port", "0"])
    assert done.exit_code == 1
    assert "there is no key" in done.output
    wrong = CliRunner().invoke(commands, ["serve", run, "deadlin_ms=3"])
    assert "did you mean 'deadline_ms'" in wrong.output
    wrong = CliRunner().invoke(commands, ["serve", run, "deadline_ms=soon"])
    assert "serve.deadline_ms: " in wrong.output


def test_a_model_that_reads_texts_answers_about_texts_and_recommends_nothing(tmp_path):
    folder = Path(shutil.copytree(finished_texts().folder, tmp_path / "texts"))
    with service(folder) as made, asking(made) as ask:
        [said] = ask("post", "/v1/predict", json={"texts": ["word1 redcup"]}).json()["predictions"]
        assert set(said["heads"]) == {"stars", "recommended", "colour", "names"}
        refused = ask("post", "/v1/recommend", json={"k": 3})
        assert refused.status_code == 422
        assert "POST /v1/predict" in refused.json()["detail"]
        assert ask("get", "/v1/items/i1/similar").status_code == 404
        assert ask("post", "/v1/items", json={"rows": [{"item_id": "i1"}]}).json()["created"] == 1
        assert not ask("get", "/v1/items/i1").json()["servable"]
