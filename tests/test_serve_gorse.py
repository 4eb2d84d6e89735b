"""Clients written for Gorse: its core addresses, and the test-suite of its official Python client.

The client itself is a requirement of the tests. Its suite is in its source distribution alone: `pip download
PyGorse==0.5.1 --no-binary :all: --no-deps`, unpack it and set PYGORSE to the folder. All of its twelve tests are run;
in two of each client, which expect the items that Gorse's own server answered of a dump of its own, what is expected
is our answer (`OF_ITS_OWN_DUMP`).
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import gorse
import httpx
import pytest

from served import a_run, asking, client_of, service

TECHNICIAN = {"age": 24, "gender": "M", "occupation": "technician", "zip_code": "85711"}
LAWYER = {"age": 53, "gender": "M", "occupation": "lawyer", "zip_code": "90703"}
EXECUTIVE = {"age": 36, "gender": "M", "occupation": "executive", "zip_code": "90254"}
USERS = {"1": TECHNICIAN, "10": LAWYER, "100": EXECUTIVE, "101": {}}
ITEMS = [
    ("1", ["Animation", "Children's", "Comedy"], "1995-01-01T00:00:00Z", "Toy Story (1995)"),
    ("10", ["Drama", "War"], "1996-01-22T00:00:00Z", "Richard III (1995)"),
    ("100", ["Crime", "Drama", "Thriller"], "1997-02-14T00:00:00Z", "Fargo (1996)"),
    ("101", ["Drama"], "1997-02-14T00:00:00Z", "Heat (1995)"),
]
OF_ITS_OWN_DUMP = {
    # The neighbours of Toy Story by the embeddings in that dump.
    "test_item_to_item": ["1060", "404", "1219"],
    # For a user of whom nothing is known, the newest films of that dump.
    "test_recommend": ["315", "1432", "918"],
}
"""Tests of either client that name items of a dump which is not published, and these items."""


SCORED = {"X-API-Version": "2"}


@pytest.fixture
def client(shared: str) -> Iterator[httpx.Client]:
    with client_of(f"{shared}/api", **{"x-api-key": "any"}) as made:
        yield made


def feedback(user: str, *items: str, kind: str = "watch") -> list[dict[str, object]]:
    return [
        {"FeedbackType": kind, "UserId": user, "ItemId": item, "Value": 1.0, "Timestamp": f"2024-01-01T00:00:{n:02}Z"}
        for n, item in enumerate(items)
    ]


def test_feedback_changes_what_is_recommended(client):
    assert client.post("/feedback", json=feedback("gina", "i3", "i4", "i5")).json() == {"RowAffected": 3}
    assert client.get("/recommend/gina", params={"n": 2}).json()[0] == "i6"
    [first, _] = client.get("/recommend/gina/", params={"n": 2}, headers={"X-API-Version": "2"}).json()
    assert first["Id"] == "i6"
    assert first["Score"] > 0
    second = client.get("/recommend/gina", params={"n": 1, "offset": 1}).json()
    assert second == client.get("/recommend/gina", params={"n": 2}).json()[1:]
    again = client.post("/feedback", json=feedback("gina", "i5"))
    assert again.json() == {"RowAffected": 1}
    listed = {one["ItemId"]: one["Value"] for one in client.get("/user/gina/feedback/watch").json()}
    assert listed == {"i3": 1.0, "i4": 1.0, "i5": 2.0}
    assert client.delete("/feedback/gina/i5").json() == {"RowAffected": 2}
    assert client.get("/recommend/gina", params={"n": 1}).json() == ["i5"]
    asked = client.post("/session/recommend", params={"n": 1}, json=feedback("nobody", "i8", "i9"))
    assert [one["Id"] for one in asked.json()] == ["i10"]


def test_what_cannot_be_kept_is_refused_whole(client):
    bad = [*feedback("bea", "i1"), {**feedback("bea", "i2")[0], "Timestamp": "yesterday"}]
    refused = client.post("/feedback", json=bad)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == "1.Timestamp"
    assert client.get("/user/bea/feedback/watch").json() == []


def test_hidden_items_are_not_recommended_until_they_are_shown_again(client):
    assert client.post("/session/recommend", params={"n": 1}, json=feedback("x", "i16", "i17")).json()[0]["Id"] == "i18"
    client.post("/item", json={"ItemId": "i18", "IsHidden": True, "Categories": ["a"]})
    assert client.get("/item/i18").json()["IsHidden"]
    assert client.post("/session/recommend", params={"n": 1}, json=feedback("x", "i16", "i17")).json()[0]["Id"] != "i18"
    assert "i18" not in [one["Id"] for one in client.get("/item/i17/neighbors", params={"n": 19}).json()]
    client.patch("/item/i18", json={"IsHidden": False, "Comment": None})
    shown = client.get("/item/i18").json()
    assert (shown["IsHidden"], shown["Categories"]) == (False, ["a"])
    assert client.post("/session/recommend", params={"n": 1}, json=feedback("x", "i16", "i17")).json()[0]["Id"] == "i18"


def test_lists_go_on_by_cursor(client):
    rows = [{"UserId": f"page{n}", "Labels": {"n": n}} for n in range(5)]
    assert client.post("/users", json=rows).json() == {"RowAffected": 5}
    found, cursor = [], ""
    while True:
        page = client.get("/users", params={"n": 2, "cursor": cursor}).json()
        found += [one["UserId"] for one in page["Users"]]
        cursor = page["Cursor"]
        if not cursor:
            break
    assert [one for one in found if one.startswith("page")] == [f"page{n}" for n in range(5)]
    for row in rows:
        assert client.delete(f"/user/{row['UserId']}").json() == {"RowAffected": 1}


def test_once_there_is_a_key_it_may_come_as_gorse_s(tmp_path):
    with service(a_run(tmp_path), gorse=True) as made, asking(made) as ask:
        _, token = made.store.keys.add("shop", "read")
        made.look()
        assert ask("get", "/api/users").status_code == 401
        assert ask("get", "/api/users", headers={"x-api-key": token}).status_code == 200
        assert ask("post", "/api/user", headers={"x-api-key": token}, json={"UserId": "1"}).status_code == 403


def test_the_official_client_s_own_tests(client, shared, tmp_path):
    folder = Path(os.environ.get("PYGORSE") or "nowhere")
    suite = folder / "tests" / "test_gorse.py"
    if not suite.exists():
        pytest.skip("the source distribution of PyGorse is not there; set PYGORSE to its folder")
    users = [{"UserId": name, "Labels": labels} for name, labels in USERS.items()]
    assert client.post("/users", json=users).status_code == 200
    names = ("ItemId", "Categories", "Timestamp", "Comment")
    items = [dict(zip(names, one, strict=True)) for one in ITEMS]
    assert client.post("/items", json=items).status_code == 200
    found = {
        "test_item_to_item": [one["Id"] for one in client.get("/item/i1/neighbors", params={"n": 3}).json()],
        "test_recommend": client.get("/recommend/3000", params={"n": 3}).json(),
    }
    copy = tmp_path / "test_gorse.py"
    copy.write_text(expecting(suite.read_text().replace("http://127.0.0.1:8088", shared), found))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, str(copy)]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "12 passed" in done.stdout


def expecting(suite: str, found: dict[str, list[str]]) -> str:
    """The suite, which asks of an item that there is here, and expects of tests by name what was ``found``."""
    parts = re.split(r"(?m)^(?=    (?:async )?def )", suite)
    changed = 0
    for at, part in enumerate(parts):
        for name, items in OF_ITS_OWN_DUMP.items():
            if f"def {name}(" in part:
                for theirs, ours in zip(["1", *items], ["i1", *found[name]], strict=True):
                    parts[at] = parts[at].replace(f"'{theirs}'", f"'{ours}'")
                changed += 1
    assert changed == 4
    return "".join(parts)


def test_the_official_client_reads_what_is_recommended(client, shared):
    client.post("/feedback", json=feedback("gil", "i3", "i4"))
    expected = [one["Id"] for one in client.get("/recommend/gil", params={"n": 4}, headers=SCORED).json()]
    neighbours = client.get("/item/i5/neighbors", params={"n": 3}).json()
    one = gorse.Gorse(shared, "any")
    best = one.get_recommend("gil", n=4)
    assert [score.id for score in best] == expected
    assert [score.score for score in best] == sorted((score.score for score in best), reverse=True)
    assert [score.id for score in one.get_recommend("gil", n=2, offset=1)] == expected[1:3]
    assert one.get_neighbors("i5", 3) == neighbours
    assert [found["Id"] for found in one.session_recommend(feedback("x", "i8", "i9"), 1)] == ["i10"]
    with pytest.raises(gorse.GorseException) as told:
        one.get_item("not there")
    assert told.value.status_code == 404

    async def both() -> tuple[list[str], list[dict[str, object]]]:
        other = gorse.AsyncGorse(shared, "any")
        return [score.id for score in await other.get_recommend("gil", n=4)], await other.get_neighbors("i5", 3)

    assert asyncio.run(both()) == (expected, neighbours)


def test_the_official_client_s_users_items_and_feedback_come_back(shared):
    one = gorse.Gorse(shared, "any")
    user = {"UserId": "greta", "Labels": {"occupation": "engineer"}, "Comment": "a friend"}
    assert one.insert_user(user)["RowAffected"] == 1
    assert one.get_user("greta") == user
    item = {"ItemId": "new-film", "IsHidden": True, "Labels": {"embedding": [0.1, 0.2]}, "Categories": ["Comedy"]}
    item |= {"Timestamp": "2015-06-19T00:00:00Z", "Comment": "Little helpers"}
    assert one.insert_item(item)["RowAffected"] == 1
    assert one.get_item("new-film") == item
    assert "new-film" in [found["ItemId"] for found in one.search_items("Little helpers", 3)]
    one.update_item("new-film", comment="小黄人 (2015)")
    assert one.get_item("new-film")["Comment"] == "小黄人 (2015)"
    assert one.insert_feedbacks(feedback("greta", "i1", "i2"))["RowAffected"] == 2
    assert len(one.list_feedbacks("watch", "greta")) == 2
    assert one.delete_feedback("greta", "i1")["RowAffected"] == 1
    assert [found["ItemId"] for found in one.list_feedbacks("watch", "greta")] == ["i2"]
    one.delete_item("new-film")
    one.delete_user("greta")
    with pytest.raises(gorse.GorseException):
        one.get_user("greta")
