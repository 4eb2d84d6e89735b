"""The console without a browser: its words, what it reads of the metrics, what it lets pass, its form, its pictures."""

from __future__ import annotations

import ast
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

if find_spec("nicegui") is None:
    pytest.skip("nicegui is not installed (extra console)", allow_module_level=True)

import asyncio

import genre.console
from genre.configfile import schema
from genre.console.calling import Mistake, Unanswered
from genre.console.charts import Measured, intervals
from genre.console.fence import Fence, loopback
from genre.console.frame import explained, gate_words
from genre.console.readings import Watcher, alarms, quantile, reading
from genre.console.schemaform import READ_ONLY, Form, changed, override, problems
from genre.console.sessions import Sessions, preferred
from genre.console.settings import plain, read
from genre.console.tracepicture import columns_of, drawn, moved
from genre.console.watching import click_alarms
from genre.console.words import LANGUAGES, Speech, table

HOME = Path(genre.console.__file__).parent
SOURCES = {path.name: path.read_text(encoding="utf-8") for path in sorted(HOME.glob("*.py"))}
EN, ZH = Speech("en"), Speech("zh")


def test_every_key_has_every_language_with_the_same_values():
    for key, words in table().items():
        assert len(words) == len(LANGUAGES), key
        assert all(words), key
        values = [sorted(set(re.findall(r"{(\w+)}", text))) for text in words]
        assert values[0] == values[1], key
        assert re.search(r"[\u4e00-\u9fff]", words[1]) or words[1] in ("p", "English", "、"), f"{key} is not Chinese"


def test_every_key_that_a_page_says_is_there_and_every_one_that_is_there_is_said():
    whole, families = set(), set()
    for text in SOURCES.values():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                whole.add(node.value)
            if isinstance(node, ast.JoinedStr):
                parts = [one.value if isinstance(one, ast.Constant) else "\0" for one in node.values]
                families.add("".join(map(str, parts)))
    patterns = [re.compile(re.escape(one).replace("\0", r"[\w.]+")) for one in families if re.match(r"[a-z]+\.\0", one)]
    patterns += [
        re.compile(re.escape(one).replace("\0", r"\w+")) for one in families if re.match(r"[a-z]+\.\w+\.?\0", one)
    ]
    unsaid = [key for key in table() if key not in whole and not any(one.fullmatch(key) for one in patterns)]
    assert unsaid == []
    keys = re.compile(r"\bsay\(\s*\"([a-z_.0-9]+)\"")
    missing = [key for text in SOURCES.values() for key in keys.findall(text) if key not in table()]
    assert missing == []


def test_the_first_language_that_there_is_is_taken():
    assert [preferred(one) for one in ("zh-CN,en", "fr,zh;q=0.5,en", "en-GB", "fr", "")] == [
        "zh",
        "zh",
        "en",
        "en",
        "en",
    ]


def test_a_session_is_kept_apart_and_forgotten_when_idle():
    sessions = Sessions()
    sessions.get("a").key = "secret"
    assert sessions.get("b").key is None
    assert sessions.get("a").key == "secret"
    assert "secret" not in repr(sessions.get("a"))
    sessions.get("a").used -= 13 * 3600
    sessions.get("b").used -= 13 * 3600
    assert sessions.get("c").key is None
    assert sessions.get("a").key is None


METRICS = """
# TYPE genre_slates counter
genre_slates_total{{rung="full",model="m"}} {full}
genre_slates_total{{rung="popular",model="m"}} {popular}
# TYPE genre_requests counter
genre_requests_total{{route="/v1/recommend",status="200"}} 5.0
genre_requests_total{{route="/v1/recommend",status="500"}} {failed}
# TYPE genre_slates_lost counter
genre_slates_lost_total {lost}
# TYPE genre_request_seconds histogram
genre_request_seconds_bucket{{route="/v1/recommend",le="0.01"}} 0.0
genre_request_seconds_bucket{{route="/v1/recommend",le="0.02"}} 50.0
genre_request_seconds_bucket{{route="/v1/recommend",le="+Inf"}} 100.0
"""


def metrics(full=0.0, popular=0.0, failed=0.0, lost=0.0) -> str:
    return METRICS.format(full=full, popular=popular, failed=failed, lost=lost)


def test_counters_are_summed_by_label_and_compared():
    first, second = reading(metrics(full=10), 100.0), reading(metrics(full=30, popular=4), 110.0)
    since = second.less(first)
    assert second.total("genre_slates_total") == 34
    assert since.by("genre_slates_total", "rung") == {"full": 20, "popular": 4}
    assert since.at == 10
    begun_anew = reading(metrics(full=3), 120.0).less(second)
    assert begun_anew.total("genre_slates_total") == 3


def test_a_quantile_lies_between_the_bounds_of_its_bucket():
    found = reading(metrics(), 0.0)
    assert quantile(found, 0.25) == pytest.approx(0.015)
    assert quantile(found, 0.5) == pytest.approx(0.02)
    assert quantile(found, 0.99) == pytest.approx(0.02), "beyond the last bound the bound itself is told"
    assert quantile(found, 0.5, "/v1/events") is None


def test_a_reading_that_follows_too_soon_takes_the_place_of_the_one_before():
    watcher = Watcher()
    for n in range(5):
        watcher.add(metrics(full=n))
    assert len(watcher.readings) == 2
    assert watcher.readings[-1].total("genre_slates_total") == 4


FINE = {"store": None, "moderation": None, "draining": False}
GOOD = {"name": "m", "state": "active", "problem": None, "gate": {"passed": True, "why": "better"}}


def test_alarms_tell_what_is_wrong_and_nothing_else():
    well = reading(metrics(full=100), 0.0)
    assert alarms(FINE, well, well, [GOOD]) == []
    ill = reading(metrics(full=60, popular=40, failed=3, lost=2), 0.0)
    bad = {**GOOD, "gate": {"passed": False, "why": "worse"}}
    broken = {**GOOD, "state": "failed", "problem": "damaged"}
    found = alarms({**FINE, "store": "locked", "moderation": "locked"}, ill, ill, [bad, broken])
    assert [one.name for one in found] == [
        "store", "moderation", "lost", "failing", "degraded", "gate", "model_failed",
    ]  # fmt: skip
    for one in found:
        assert EN(f"alarm.{one.name}", **one.values)
        assert ZH(f"alarm.{one.name}.mend")


def passed(
    local_only: bool, kind: str = "http", method: str = "GET", **headers: str
) -> tuple[int, dict[str, str], str]:
    """What a fence answers."""
    sent: list = []

    async def app(scope, receive, send):
        page = b'<script>go()</script>"&lt;script"'
        start = {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-type", b"text/html"), (b"set-cookie", b"a=b")],
        }
        await send(start if kind == "http" else {"type": "websocket.accept"})
        if kind == "http":
            await send({"type": "http.response.body", "body": page, "more_body": False})

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message)

    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": kind, "method": method, "headers": named, "path": "/console/", "scheme": "http"}
    asyncio.run(Fence(app, local_only)(scope, receive, send))
    if kind == "websocket":
        return (101 if sent[0]["type"] == "websocket.accept" else 403), {}, ""
    told = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], told, sent[-1]["body"].decode()


def test_pages_go_out_with_headers_and_a_number_on_their_own_scripts():
    status, headers, body = passed(True, host="127.0.0.1:8090")
    assert status == 200
    nonce = re.search(r"'nonce-([\w-]+)'", headers["content-security-policy"])
    assert nonce is not None
    assert body == f'<script nonce="{nonce[1]}">go()</script>"&lt;script"'
    assert headers["content-length"] == str(len(body))
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert (headers["x-frame-options"], headers["x-content-type-options"]) == ("DENY", "nosniff")
    assert headers["set-cookie"] == "a=b"
    assert passed(True, host="localhost", x_forwarded_proto="https")[1]["set-cookie"] == "a=b; secure"


@pytest.mark.parametrize(
    ("headers", "kind", "method"),
    [
        ({"host": "evil.example:8090"}, "http", "GET"),
        ({"host": "127.0.0.1:8090", "origin": "http://evil.example"}, "http", "POST"),
        ({"host": "127.0.0.1:8090", "origin": "http://127.0.0.1:9999"}, "websocket", "GET"),
        ({"host": "127.0.0.1:8090"}, "websocket", "GET"),
        ({"host": "127.0.0.1:8090", "sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors"}, "http", "GET"),
    ],
)
def test_what_comes_from_elsewhere_is_refused(headers, kind, method):
    assert passed(True, kind, method, **headers)[0] == 403


def test_what_comes_from_the_console_itself_passes():
    own = {"host": "127.0.0.1:8090", "origin": "http://127.0.0.1:8090", "sec_fetch_site": "same-origin"}
    assert passed(True, "websocket", **own)[0] == 101
    assert passed(True, "http", "POST", **own)[0] == 200
    assert passed(True, host="127.0.0.1", sec_fetch_site="cross-site", sec_fetch_mode="navigate")[0] == 200
    assert passed(False, host="recommend.example")[0] == 200, "a service with keys has a name"
    assert [loopback(one) for one in ("localhost:1", "[::1]:80", "127.0.0.2", "1.2.3.4", "localhost.evil.example")] == [
        True, True, True, False, False,
    ]  # fmt: skip


CONFIG = {
    "name": "r",
    "data": {"reader": {"type": "movielens", "version": "100k"}},
    "train": {"epochs": 3, "lr": {"rest": 0.01}},
    "pipeline": {"sources": [{"type": "ease", "reg": 500.0}]},
    "model": {"heads": {"next": {"type": "next_item", "weight": 1.0}}, "text": True},
    "serve": {"port": 8080, "daily": None, "store": {"type": "sqlite"}},
}


def every(form: Form, section: str) -> dict:
    """All fields of a section, those in groups too."""
    found, todo = {}, list(form.fields(section))
    while todo:
        one = todo.pop()
        found[one.path] = one
        if one.kind == "group":
            todo += form.inside(one)
    return found


def test_the_form_has_each_field_with_its_kind_and_its_docstring():
    form = Form(schema(), CONFIG)
    assert {"", "data", "model", "train", "pipeline", "serve"} <= set(form.sections())
    train = every(form, "train")
    assert (train["train", "epochs"].kind, train["train", "epochs"].value) == ("whole", 3)
    assert train["train", "lr", "rest"].kind == "number"
    assert train["train", "epochs"].help
    source = every(form, "pipeline")
    assert "popular" in source["pipeline", "sources", 0, "type"].options
    assert source["pipeline", "sources", 0, "reg"].help
    model = every(form, "model")
    assert "binary" in model["model", "heads", "next", "type"].options
    assert model["model", "text"].kind == "switch"
    served = every(form, "serve")
    assert served["serve", "store", "type"].fixed
    assert not served["serve", "port"].fixed
    assert READ_ONLY == (("serve", "store"),)


def test_what_is_written_is_read_as_the_configuration_holds_it():
    served = every(Form(schema(), CONFIG), "serve")
    assert read(served["serve", "port"], "99") == 99
    assert read(served["serve", "daily"], " ") is None
    assert read(served["serve", "port"], "[1") == "[1"


def test_changes_become_a_configuration_and_a_command_line():
    draft = {("pipeline", "sources", 0): {"type": "popular"}, ("train", "epochs"): 5, ("gone", "away"): 1}
    made = changed(CONFIG, draft)
    assert made["pipeline"]["sources"] == [{"type": "popular"}]
    assert made["train"]["epochs"] == 5
    assert CONFIG["train"]["epochs"] == 3
    assert override(("pipeline", "sources", 0, "reg"), 5.0) == "pipeline.sources[0].reg=5.0"
    assert override(("model", "template"), "{title}") == "model.template={title}"
    assert problems({"data": {"reader": "movielens"}}) == []
    assert "epochs" in " ".join(problems({"data": {"reader": "movielens"}, "train": {"epochs": "many"}}))
    assert plain("One\nline, `code`.\n\nAnother.") == "One line, code.\nAnother."


REPLY = {
    "items": [
        {"item_id": "1", "origin": "ranked", "sources": {"model": 1, "ease": 3}},
        {"item_id": "2", "origin": "pinned", "sources": {"model": 2}},
    ],
    "trace": {
        "seconds": {
            "hydrate": 0.001,
            "sources.model": 0.004,
            "sources.ease": 0.002,
            "filters.seen": 0.001,
            "scorer": 0.1,
        },
        "removed": {"seen": 12},
        "skipped": {"slow": "took too long <script>"},
        "milliseconds": 12.0,
    },
}


def test_the_picture_shows_the_way_of_a_slate():
    way = columns_of(REPLY, EN)
    assert [[node.title for node in one.nodes] for one in way] == [
        ["Request"], ["model", "ease", "slow"], ["seen"], ["Scorer", "Heads"], ["Slate of 2"],
    ]  # fmt: skip
    assert way[1].nodes[0].lines == ["in 2 of 2", "4.0 ms"]
    assert way[1].nodes[2].tone == "bad"
    picture = drawn(REPLY, ZH)
    assert "<script" not in picture
    assert picture.count("<rect") == 8
    assert "去除 12" in picture


def test_moves_are_counted_upwards():
    assert moved(["a", "b", "c"], ["c", "a", "new"]) == {"c": 2, "a": -1, "new": None}


def test_intervals_stand_on_one_scale():
    svg = intervals([Measured("<b>", 0.1, -0.1, 0.3), Measured("none", None)], zero=True)
    assert "&lt;b&gt;" in svg
    assert svg.count("<circle") == 1
    assert intervals([Measured("none", None)]) == ""


def test_an_error_is_told_with_each_mistake_and_the_mend():
    from genre.console.frame import explained

    error = Unanswered(403, "this needs a key with the scope 'admin'", (Mistake("why", "is missing"),))
    title, lines = explained(error, EN)
    assert title == "Your key does not allow this"
    assert lines == [error.detail, "why: is missing", EN("mend.403")]
    assert explained(Unanswered(418, ""), ZH)[0] == "服务拒绝了请求（418）"


def counted(slates: int, answered: int, ci95: list[float] | None = None) -> dict[str, Any]:
    return {"slates": slates, "answered": answered, "rate": answered / slates, "ci95": ci95}


def test_it_is_an_alarm_that_nothing_is_answered_to_or_far_less_than_before():
    def names(day: list[Any], week: list[Any]) -> list[str]:
        return [one.name for one in click_alarms({"totals": day}, {"rows": week})]

    assert names([], []) == names([counted(199, 0)], []) == []
    assert names([counted(200, 0)], []) == ["clicks_none"]
    before, low = [counted(100, 20, [0.15, 0.25])] * 3, counted(100, 5, [0.02, 0.1])
    assert names([counted(100, 5)], [*before, low]) == ["clicks_fell"]
    assert names([counted(100, 5)], [*before[1:], low]) == [], "two days before say too little"
    assert names([counted(100, 5)], [*before[1:], counted(100, 9, [0.05, 0.12]), low]) == [], "one day touches"
    assert click_alarms(None, None) == []
    for one in click_alarms({"totals": [counted(100, 5)]}, {"rows": [*before, low]}):
        assert "5.0%" in EN(f"alarm.{one.name}", **one.values)
        assert "20.0%" in ZH(f"alarm.{one.name}", **one.values)


def test_what_the_api_refuses_is_said_in_the_language_of_who_reads():
    refused = Unanswered(409, "model 'm' is not loaded; POST /v1/models/m/load first")
    assert explained(refused, ZH)[1][0] == refused.detail, "without a name it is said as it was"
    refused.code, refused.values = "not_loaded", {"name": "m"}
    assert explained(refused, ZH)[1][0] == "模型 “m” 尚未加载；请先在“模型”页加载。"
    assert explained(refused, EN)[1][0].startswith("Model 'm' is not loaded")
    refused.values = {}
    assert explained(refused, ZH)[1][0] == refused.detail, "nor where a value is missing"
    wrong = Mistake("payload.days", "is 'x', no number above 0", "setting.number", {"value": "x"})
    unnamed = Mistake("k", "is 900; serve.max_k allows 100")
    found = explained(Unanswered(422, "payload.days: is 'x', no number above 0", (wrong, unnamed)), ZH)
    assert found[0] == "填写的内容不符合要求"
    assert found[1][:2] == ["payload.days: 是 “x”，应为大于 0 的数", "k: is 900; serve.max_k allows 100"]


def test_the_gate_says_why_in_the_language_of_who_reads():
    values = {"metric": "ndcg@10", "new": 0.1, "old": 0.2, "low": -0.15, "high": -0.05, "more": 2}
    shut = {"code": "refresh_worse", "values": {**values, "test": "old", "slice": "history 1-5"}, "why": "shut"}
    assert gate_words(shut, ZH).startswith("在旧模型自己的测试集（切片 history 1-5）上按 ndcg@10")
    assert "0.1000 against 0.2000" in gate_words(shut, EN)
    for verdict in ("better", "worse", "no_difference"):
        beside = {"code": f"baseline_{verdict}", "values": {**values, "baseline": "popular"}, "why": ""}
        assert "popular" in gate_words(beside, ZH)
    assert gate_words({"code": "new_one", "values": {}, "why": "as it is"}, ZH) == "as it is"
    worse = Unanswered(409, "m is refused")
    worse.code, worse.values = "gate", {"name": "m", "gate": {"code": "active_worse", "values": values}}
    assert explained(worse, ZH)[1][0].startswith("m 被拒绝：不如当前作答的模型")


def test_every_name_that_the_api_gives_has_words():
    """Of errors that the console may show: those which the code of the service and the store names."""
    home = Path(genre.console.__file__).parent.parent
    said = "".join(
        path.read_text(encoding="utf-8") for part in ("serve", "store") for path in (home / part).glob("*.py")
    )
    named = set(re.findall(r"coded\(\s*\"(\w+)\"", said)) | set(re.findall(r"code=\"([\w.]+)\"", said))
    assert len(named) > 12
    assert {name for name in named if f"error.{name}" not in table()} == set()
    judging = (home / "serve" / "judging.py").read_text(encoding="utf-8")
    verdicts = set(re.findall(r"\"(unmeasured|no_baseline|active_\w+|refresh_\w+)\"", judging))
    assert verdicts == {
        "unmeasured", "no_baseline", "active_worse", "active_not_worse", "refresh_worse", "refresh_not_shown",
    }  # fmt: skip
    assert {name for name in verdicts if f"gate.why.{name}" not in table()} == set()
