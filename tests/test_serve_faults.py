"""What goes wrong around a service, to a real one in another process, and that it holds."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from genre.errors import GenreError
from genre.serve import gate, heads
from genre.stores.sqlite import Sqlite
from served import Running, a_run, client_of, listens, running, service


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("runs")
    a_run(folder, "later")
    corrupt = a_run(folder, "corrupt")
    file = corrupt / "model" / "finetuned" / "towers.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    a_run(folder, "missing")
    (folder / "missing" / "rank" / "scorer.safetensors").unlink()
    worse(a_run(folder, "worse"))
    store = "store={type: sqlite, busy_ms: 200}"
    with running(a_run(folder), "rate=100000", "burst=100000", "console=false", store) as made:
        yield made


def worse(folder: Path) -> None:
    """Let the evaluation of a run say that it is worse than the others."""
    path = folder / "evaluate" / "metrics.json"
    found = json.loads(path.read_text())
    found["systems"]["genre"]["ndcg@10"] = {"value": 0.3, "ci95": [0.2, 0.4]}
    path.write_text(json.dumps(found))


def event(number: int) -> dict[str, object]:
    return {"event_id": f"e{number}", "user_id": f"k{number % 7}", "item_id": f"i{number % 20}", "action": "view"}


@pytest.mark.parametrize(
    ("name", "why"), [("corrupt", "its bytes differ"), ("missing", "scorer.safetensors: missing"), ("worse", "")]
)
def test_a_damaged_or_worse_model_is_refused_and_named_and_the_old_one_answers(server, name, why):
    with server.client() as client:
        loaded = client.post(f"/v1/models/{name}/load")
        if name == "worse":
            assert loaded.status_code == 200
            refused = client.post(f"/v1/models/{name}/activate", json={})
            assert "worse than the model that answers now" in refused.json()["detail"]
        else:
            refused = loaded
            assert why in refused.json()["detail"]
            assert client.get(f"/v1/models/{name}").json()["state"] == "failed"
        assert refused.status_code == 409
        assert name in refused.json()["detail"]
        assert client.post("/v1/recommend", json={"user_id": "u0"}).json()["model"]["name"] == "circle"


def test_models_change_under_load_without_a_failed_request(server):
    replies: list[tuple[int, str]] = []
    done = threading.Event()

    def ask(number: int) -> None:
        with server.client() as client:
            while not done.is_set():
                reply = client.post("/v1/recommend", json={"user_id": f"u{number}", "history": [f"i{number}"]})
                replies.append((reply.status_code, reply.json().get("model", {}).get("name", reply.text)))

    askers = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for one in askers:
        one.start()
    with server.client() as client:
        for _ in range(2):
            assert client.post("/v1/models/later/load").status_code == 200
            assert client.post("/v1/models/later/activate", json={}).status_code == 200
            time.sleep(0.2)
            assert client.post("/v1/rollback").status_code == 200
            time.sleep(0.1)
    done.set()
    for one in askers:
        one.join()
    assert {status for status, _ in replies} == {200}
    assert {name for _, name in replies} == {"circle", "later"}


def test_while_the_store_is_locked_events_are_not_acknowledged_and_slates_go_on(server):
    locker = sqlite3.connect(server.folder / "store.db", isolation_level=None)
    with server.client() as client:
        assert client.post("/v1/events", json={"events": [event(1000)]}).json()["accepted"] == 1
        locker.execute("begin immediate")
        try:
            refused = client.post("/v1/events", json={"events": [event(1001)]})
            assert refused.status_code == 503
            assert refused.headers["retry-after"]
            answer = client.post("/v1/recommend", json={"user_id": "u3"})
            assert (answer.status_code, answer.json()["rung"]) == (200, "full")
        finally:
            locker.execute("rollback")
            locker.close()
        again = client.post("/v1/events", json={"events": [event(1000), event(1001)]}).json()
        assert (again["accepted"], again["duplicates"]) == (1, 1)


def test_a_store_that_goes_away_and_comes_back(server):
    path, aside = server.folder / "store.db", server.folder / "aside.db"
    with server.client() as client:
        for end in ("", "-wal", "-shm"):
            if Path(f"{path}{end}").exists():
                Path(f"{path}{end}").rename(f"{aside}{end}")
        try:
            refused = client.post("/v1/events", json={"events": [event(2000)]})
            assert refused.status_code == 503, "an event that would be written to a lost file is not acknowledged"
            assert client.post("/v1/recommend", json={"user_id": "u4"}).status_code == 200
            assert client.get("/v1/health/ready").status_code == 200
        finally:
            for end in ("", "-wal", "-shm"):
                Path(f"{path}{end}").unlink(missing_ok=True)
                if Path(f"{aside}{end}").exists():
                    Path(f"{aside}{end}").rename(f"{path}{end}")
        until = time.monotonic() + 15
        while (reply := client.post("/v1/events", json={"events": [event(2000)]})).status_code != 200:
            assert time.monotonic() < until, reply.text
            time.sleep(0.1)
        assert client.get("/v1/events", params={"user_id": "k5"}).json()["rows"]


def test_slow_clients_do_not_keep_others_waiting(server):
    slow = [connected(server.url) for _ in range(50)]
    for one in slow:
        one.sendall(b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{")
    started = time.monotonic()
    with server.client() as client:
        for _ in range(5):
            assert client.post("/v1/recommend", json={"user_id": "u5"}).status_code == 200
    assert time.monotonic() - started < 5
    for one in slow:
        one.close()


def connected(url: str) -> socket.socket:
    """A bare connection to a service."""
    host, _, port = url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=20)


GET = b"GET /v1/health/live HTTP/1.1\r\nHost: localhost\r\n"


def answer(one: socket.socket) -> bytes:
    """The first line of a reply; nothing where the connection was closed instead."""
    try:
        return one.recv(4096).split(b"\r\n")[0]
    except ConnectionResetError:
        return b""


def test_a_request_that_does_not_begin_or_end_in_time_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(gate, "BODY_SECONDS", 0.4)
    monkeypatch.setattr(heads, "HEAD_SECONDS", 0.4)
    with service(a_run(tmp_path)) as made, listens(made) as url:
        silent, dripping, endless, kept = (connected(url) for _ in range(4))
        dripping.sendall(GET)
        endless.sendall(GET + b"X: " + b"x" * 70_000)
        assert answer(endless) == b"", "more headers than anybody needs"
        kept.sendall(GET + b"\r\n")
        assert answer(kept).endswith(b"200 OK")
        time.sleep(0.6)
        kept.sendall(GET[:9])
        kept.sendall(GET[9:] + b"\r\n")
        assert answer(kept).endswith(b"200 OK"), "a connection may be idle between requests"
        kept.sendall(GET)
        assert [answer(one) for one in (silent, dripping, kept)] == [b"", b"", b""]
        late = connected(url)
        late.sendall(b"POST /v1/recommend HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{")
        assert b" 408 " in answer(late)
        for one in (silent, dripping, endless, kept, late):
            one.close()


def test_who_does_not_read_the_reply_keeps_nobody_waiting(tmp_path):
    with service(a_run(tmp_path)) as made, listens(made) as url, client_of(url) as client:
        deaf = connected(url)
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.sendall(b"GET /v1/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100)
        for _ in range(5):
            assert client.post("/v1/recommend", json={"user_id": "u5"}, timeout=5).status_code == 200
        deaf.close()


def test_a_run_that_is_not_finished_is_refused_with_what_to_do(tmp_path):
    folder = a_run(tmp_path)
    shutil.rmtree(folder / "rank")
    with pytest.raises(GenreError, match="genre r"), service(folder):
        pass


@pytest.mark.parametrize(("spoil", "why"), [("corrupt", "its bytes differ"), ("missing", "missing")])
def test_a_run_with_a_damaged_file_is_not_started_with(tmp_path, spoil, why):
    file = a_run(tmp_path) / "rank" / "scorer.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.unlink()
    if spoil == "corrupt":
        file.write_bytes(content)
    with pytest.raises(GenreError, match=rf"scorer\.safetensors.*{why}"), service(tmp_path / "circle"):
        pass


def test_a_model_whose_folder_goes_away_answers_on(tmp_path):
    folder = a_run(tmp_path / "runs")
    with (
        service(folder, Sqlite(path=tmp_path / "store.db")) as made,
        listens(made) as url,
        client_of(url) as client,
    ):
        before = client.post("/v1/recommend", json={"history": ["i3", "i4"], "k": 5}).json()
        folder.rename(tmp_path / "elsewhere")
        after = [client.post("/v1/recommend", json={"history": ["i3", "i4"], "k": k}) for k in (5, 4)]
        assert [reply.status_code for reply in after] == [200, 200]
        assert [reply.json()["rung"] for reply in after] == ["full", "full"]
        assert [one["item_id"] for one in after[0].json()["items"]] == [one["item_id"] for one in before["items"]]
        assert client.post("/v1/events", json={"events": [event(1)]}).json()["accepted"] == 1
        assert client.post("/v1/models/circle/load").status_code in (404, 409)


def test_who_hangs_up_leaves_nothing_behind(server):
    process = psutil.Process(server.process.pid)
    with server.client() as client:
        assert client.post("/v1/recommend", json={"history": ["i1"]}).status_code == 200
        before = process.num_fds()
        for n in range(40):
            body = json.dumps({"history": [f"i{n % 20}", f"i{n % 7}"], "explain": True}).encode()
            one = connected(server.url)
            one.sendall(b"POST /v1/recommend HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
            one.sendall(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
            one.close()
        assert client.post("/v1/recommend", json={"history": ["i1"]}).json()["rung"] in ("full", "popular")
        until = time.monotonic() + 20
        while process.num_fds() > before + 2 or "genre_inference_waiting 0.0" not in client.get("/v1/metrics").text:
            assert time.monotonic() < until, f"{process.num_fds()} files are open, before there were {before}"
            time.sleep(0.05)
        assert client.post("/v1/recommend", json={"history": ["i2"]}).json()["rung"] == "full"


def test_killed_at_any_moment_every_acknowledged_event_is_there_once(server):
    folder, acknowledged = server.folder, []
    threads = [threading.Thread(target=send, args=(server, n, acknowledged)) for n in range(4)]
    for one in threads:
        one.start()
    time.sleep(1.0)
    # The last test that uses this server.
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    for one in threads:
        one.join()
    assert len(acknowledged) > 50
    with running(folder, "console=false") as made, made.client() as client:
        kept = [one["event_id"] for user in range(7) for one in all_events(client, f"k{user}")]
        assert len(kept) == len(set(kept))
        assert {f"e{number}" for number in acknowledged} <= set(kept)
        assert client.post("/v1/events", json={"events": [event(acknowledged[0])]}).json()["duplicates"] == 1
        answer = client.post("/v1/recommend", json={"user_id": "k1", "k": 2}).json()
        assert made.stop() == 0
    # Told to stop, it wrote what waited.
    with sqlite3.connect(folder / "store.db") as store:
        found = store.execute("select count(*) from slates where slate_id = ?", (answer["slate_id"],)).fetchone()
    store.close()
    assert found == (1,)


def send(made: Running, start: int, acknowledged: list[int]) -> None:
    """Send events one by one until the service is gone, and note those that it has acknowledged."""
    with made.client() as client:
        for number in range(10_000 + start, 1_000_000, 4):
            try:
                reply = client.post("/v1/events", json={"events": [event(number)]})
            except httpx.TransportError:
                return
            if reply.status_code == 200 and reply.json()["accepted"] == 1:
                acknowledged.append(number)


def all_events(client: httpx.Client, user: str) -> list[dict[str, object]]:
    rows, cursor = [], None
    while True:
        asked = {"user_id": user, "limit": 1000} | ({"cursor": cursor} if cursor else {})
        page = client.get("/v1/events", params=asked).json()
        rows += page["rows"]
        cursor = page["cursor"]
        if cursor is None:
            return rows
