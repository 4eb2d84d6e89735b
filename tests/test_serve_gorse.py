"""Clients written for Gorse: its core addresses, and the test-suite of its official Python client.

The suite is in the client's source distribution: `pip download PyGorse==0.5.1 --no-binary :all: --no-deps`, unpack it
and set PYGORSE to the folder. Of its twelve tests eight are run. The others, `test_item_to_item` and `test_recommend`
of both clients, expect the neighbours and the latest items of a dump of Gorse's own, by its own embeddings.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

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
OF_ITS_OWN_DUMP = ["test_item_to_item", "test_recommend"]


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
    copy = tmp_path / "test_gorse.py"
    copy.write_text(suite.read_text().replace("http://127.0.0.1:8088", shared))
    left_out = " and ".join(f"not {name}" for name in OF_ITS_OWN_DUMP)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, str(copy)]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run([*command, "-k", left_out], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "8 passed, 4 deselected" in done.stdout
