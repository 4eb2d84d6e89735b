"""The client: typed answers of a real service, and that what fails is tried again without being done twice."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, ClassVar

import pytest

from genre.client import AsyncClient, Attempt, Client, Event, ServiceError, Unreachable
from genre.serve.server import listening


def test_a_slate_is_asked_for_and_answered_to(shared):
    with Client(shared) as genre:
        slate = genre.recommend(history=["i1", "i2"], k=2, columns=["title"], explain=True)
        assert slate.items[0].item_id == "i3"
        assert slate.items[0].columns["title"]
        assert slate.items[0].explanation is not None
        assert (slate.rung, slate.degraded) == ("full", [])
        event = Event("ann", slate.items[0].item_id, "view", slate_id=slate.slate_id, position=0)
        assert [one.status for one in genre.send(event)] == ["accepted"]
        assert [one.status for one in genre.send(event)] == ["duplicate"]
        assert [one["event_id"] for one in genre.slate(slate.slate_id)["events"]] == [event.event_id]
        [bad] = genre.send(Event("ann", "i1", ""), Event("ann", "i1", "view"))[:1]
        assert (bad.status, bad.field) == ("rejected", "action")
        assert len(genre.similar("i1", k=3)) == 3
        assert [one["index"] for one in genre.rerank("redcup", ["greybag", "redcup"])] == [1, 0]
        genre.put_items([{"item_id": f"x{n}", "title": f"x {n}"} for n in range(5)])
        genre.put_users([{"user_id": "ann"}])
        found = [one["id"] for one in genre.pages("items", limit=2)]
        assert found == sorted(found)
        assert [one for one in found if one.startswith("x")] == [f"x{n}" for n in range(5)]


def test_a_mistake_is_an_error_with_its_fields(shared):
    with Client(shared) as genre, pytest.raises(ServiceError, match="422: k: ") as caught:
        genre.recommend("u0", k=0)
    assert [one["field"] for one in caught.value.errors] == ["k"]
    assert caught.value.request_id


def test_many_are_asked_for_at_once(shared):
    async def all_of_them() -> list[Any]:
        async with AsyncClient(shared) as genre:
            await genre.put_users([{"user_id": "bob"}])
            await genre.put_items([{"item_id": "y", "title": "y"}])
            await genre.send(Event("bob", "i5", "rate", timestamp=1.0), Event("bob", "i6", "rate", timestamp=2.0))
            return await asyncio.gather(*(genre.recommend("bob", k=n) for n in range(1, 9)))

    found = asyncio.run(all_of_them())
    assert [len(one.items) for one in found] == list(range(1, 9))
    assert {one.items[0].item_id for one in found} == {"i7"}


class Flaky(BaseHTTPRequestHandler):
    """Answers by what stands in `script`: a status, or nothing at all."""

    script: ClassVar[list[int | None]] = []
    bodies: ClassVar[list[Any]] = []

    def do_POST(self) -> None:
        self.bodies.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        status = self.script.pop(0)
        if status is None:
            self.close_connection = True
            self.connection.close()
            return
        event_id = self.bodies[-1]["events"][0]["event_id"]
        body = json.dumps({"receipts": [{"event_id": event_id, "status": "accepted"}], "detail": "busy"}).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        if status == 429:
            self.send_header("retry-after", "0")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@pytest.fixture
def flaky() -> Iterator[str]:
    Flaky.bodies.clear()
    server = HTTPServer(("127.0.0.1", 0), Flaky)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("script", [[200], [503, 200], [429, 503, 200], [None, 200], [None, None, 503, 200]])
def test_events_are_sent_again_with_the_same_ids(flaky, script):
    Flaky.script[:] = script
    with Client(flaky, pause=0.001) as genre:
        [receipt] = genre.send(Event("a", "b", "view"))
    assert receipt.status == "accepted"
    assert len(Flaky.bodies) == len(script)
    assert {one["events"][0]["event_id"] for one in Flaky.bodies} == {receipt.event_id}

    async def once() -> list[Any]:
        async with AsyncClient(flaky, pause=0.001) as genre:
            return await genre.send(Event("a", "b", "view"))

    Flaky.script[:] = script
    assert [one.status for one in asyncio.run(once())] == ["accepted"]


def test_what_must_not_be_done_twice_is_not_tried_again(flaky):
    Flaky.script[:] = [503, 200]
    body = {"events": [{"event_id": "e"}]}
    with Client(flaky, pause=0.001) as genre, pytest.raises(ServiceError, match="503: busy"):
        genre.ask(Attempt("POST", "/v1/anything", body, repeatable=False))
    assert len(Flaky.bodies) == 1


def test_a_service_that_is_not_there_is_told():
    bound = listening("127.0.0.1", 0)
    port = bound.getsockname()[1]
    bound.close()
    with (
        Client(f"http://127.0.0.1:{port}", retries=1, pause=0.001) as genre,
        pytest.raises(Unreachable, match="Connect"),
    ):
        genre.recommend("u0")
