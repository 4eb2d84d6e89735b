"""The console in a real browser, over a service that really runs: each page and action, by hand and by keyboard alone.

Screenshots go to the folder GENRE_SHOTS, if that is set.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest

from genre.store import open_store
from genre.store.records import SlateRow
from genre.stores.sqlite import Sqlite
from served import Running, a_run, running

if find_spec("playwright") is None or find_spec("nicegui") is None:
    pytest.skip("playwright or nicegui is not installed (requirements/dev.txt)", allow_module_level=True)

from playwright.sync_api import Browser, Page, expect, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
if not CHROMIUM.exists():
    pytest.skip(f"no browser: {CHROMIUM} is not there (apt install chromium)", allow_module_level=True)
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
HEADINGS = {
    "/": ("Overview", "概览"),
    "/try": ("Try it", "试用"),
    "/items": ("Items and moderation", "物品与审核"),
    "/experiments": ("Experiments", "实验"),
    "/models": ("Models", "模型"),
    "/models/circle": ("Models", "模型"),
    "/jobs": ("Jobs", "任务"),
    "/settings": ("Settings", "设置"),
}
PATIENCE = 20_000
DRIFT = {
    "made": 1_700_000_000.0,
    "since": 1_699_400_000.0,
    "days": 7.0,
    "events": 40,
    "normal": "the store",
    "rows": [
        {"watched": "people", "detector": "forest", "alarm": False, "why": "nobody stands out", "before": 9, "now": 9},
        {
            "watched": "items",
            "detector": "population_stability",
            "alarm": True,
            "why": "most of all a: 3.0% before, 20.0% now",
            "before": 9,
            "now": 9,
            "statistic": 0.5,
            "threshold": 0.2,
        },
    ],
}
"""A look for drift."""


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[Running]:
    """A service of a run with another run beside it, items and users in its store, and two jobs."""
    folder = tmp_path_factory.mktemp("runs")
    home, _ = a_run(folder, "circle"), a_run(folder, "other")
    with running(home, "deadline_ms=5000", "rate=5000", "burst=5000") as made:
        with made.client() as api:
            items = [
                {"item_id": f"i{n}", "title": f"thing {n}", "colour": "red" if n % 2 else "blue"} for n in range(8)
            ]
            assert api.post("/v1/items", json={"rows": items}).status_code == 200
            assert api.post("/v1/users", json={"rows": [{"user_id": "ann", "age": 40}]}).status_code == 200
            events = [{"user_id": "ann", "item_id": f"i{n}", "action": "view", "timestamp": n} for n in (1, 2, 3)]
            assert api.post("/v1/events", json={"events": events}).status_code == 200
        with open_store(Sqlite(), home) as store:
            store.jobs.add("embed", {})
            store.jobs.add("refresh", {})
        yield made
        print(f"the service said:\n{made.log.read_text()}")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all."""
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield made
        made.close()


@dataclass
class Desk:
    """A page of a browser that has not been there before; at its end nothing may have gone wrong in it."""

    page: Page
    url: str

    def go(self, path: str) -> Page:
        """Open a page of the console, and wait until it is alive."""
        self.page.goto(f"{self.url}/console{path}")
        return self.alive()

    def alive(self) -> Page:
        """Wait until the page answers to what is pressed in it."""
        self.page.locator("h1").wait_for(timeout=PATIENCE)
        self.page.wait_for_function("window.did_handshake === true")
        return self.page

    def shot(self, name: str) -> None:
        """Keep a picture."""
        if folder := os.environ.get("GENRE_SHOTS"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)

    def press(self, name: str, exact: bool = True) -> None:
        """Press a button by what it is called."""
        self.page.get_by_role("button", name=name, exact=exact).first.click()

    def told(self, text: str) -> None:
        """A notice says something; it is closed again."""
        notice = self.page.locator(".notice", has_text=text).first
        expect(notice).to_be_visible(timeout=PATIENCE)
        notice.get_by_role("button").click()


@contextmanager
def desk(browser: Browser, url: str, **options: Any) -> Iterator[Desk]:
    context = browser.new_context(**{"viewport": WIDE, "locale": "en-US", "color_scheme": "light", **options})
    page, wrong = context.new_page(), []
    page.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    page.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("requestfailed", lambda request: wrong.append(request.url) if "socket.io" not in request.url else None)
    page.on("request", lambda asked: wrong.append(f"fetched {asked.url}") if not _own(asked.url, url) else None)
    try:
        yield Desk(page, url)
    except BaseException:
        print(f"the page at its end: {page.url}\n{page.inner_text('body')}\nwent wrong in it: {wrong}")
        raise
    finally:
        context.close()
    assert wrong == []


def _own(address: str, url: str) -> bool:
    """Whether an address is the console's own; nothing comes from elsewhere."""
    return address.startswith((url, url.replace("http", "ws"), "data:", "blob:"))


@pytest.fixture
def here(browser, served) -> Iterator[Desk]:
    with desk(browser, served.url) as made:
        yield made


@pytest.mark.parametrize(
    ("size", "language", "colours", "name"),
    [(WIDE, 0, "light", "wide-en-light"), (NARROW, 1, "dark", "narrow-zh-dark")],
)
def test_every_page_in_both_languages_and_sizes(browser, served, size, language, colours, name):
    locale = ("en-US", "zh-CN")[language]
    with desk(browser, served.url, viewport=size, locale=locale, color_scheme=colours) as made:
        for path, headings in HEADINGS.items():
            page = made.go(path)
            expect(page.locator("h1")).to_have_text(headings[language])
            expect(page.locator(".card").first).to_be_visible()
            assert page.evaluate("document.documentElement.scrollWidth") <= size["width"], f"{path} is too wide"
            assert page.evaluate("document.documentElement.lang") == ("en", "zh-CN")[language]
            assert not re.search(r"\b(page|lead|mend|problem|overview)\.[a-z_]+\b", page.inner_text("body"))
            unnamed = "!el.textContent.trim() && !el.getAttribute('aria-label') && !el.getAttribute('aria-hidden')"
            assert page.evaluate(f"[...document.querySelectorAll('button,a')].filter(el => {unnamed}).length") == 0, (
                path
            )
            made.shot(f"{name}-{path.strip('/').replace('/', '-') or 'overview'}")


def test_a_user_is_asked_for_and_their_history_changed(here):
    page = here.go("/try")
    page.get_by_label("Find a user, or type an id").fill("ann")
    page.locator(".pick", has_text="ann").click()
    slate = page.locator(".slate > li")
    expect(slate).to_have_count(10)
    expect(slate.first).to_contain_text("i4")
    expect(slate.first).to_contain_text("Because you chose")
    slate.first.locator("summary").click()
    expect(slate.first.locator(".bar").first).to_be_visible()
    expect(slate.first.locator("table").first).to_contain_text("transitions")
    picture = page.locator(".picture svg")
    expect(picture).to_contain_text("Slate of 10")
    expect(picture).to_contain_text("transitions")
    here.shot("try-user")
    page.locator(".if").get_by_role("button", name=re.compile("Take out")).first.click()
    expect(page.get_by_role("heading", name="Slate of the changed history")).to_be_visible()
    expect(page.locator(".slate > li").first).not_to_contain_text("i4")
    expect(page.locator(".slate .badge").first).to_be_visible()
    here.shot("try-what-if")
    here.press("Put all back")
    expect(page.locator(".slate > li").first).to_contain_text("i4")


def test_a_history_is_put_together_and_a_text_is_asked(here):
    page = here.go("/try")
    here.press("A history")
    for number in (1, 2):
        page.get_by_label("Find items to put in").fill(f"thing {number}")
        page.locator(".pick", has_text=f"thing {number}").click()
        expect(page.locator(".chip-row")).to_have_count(number)
    here.press("Recommend")
    expect(page.locator(".slate > li").first).to_contain_text("i3")
    here.press("A text")
    here.press("Recommend")
    here.told("Write what the person likes first")
    page.get_by_label("What the person likes").fill("red things")
    here.press("Recommend")
    expect(page.locator(".slate > li").first).to_be_visible()


def test_clicks_and_drift_are_told_where_one_looks_first(here, served):
    now = time.time()
    slates = [SlateRow(f"shown{n}", f"reader{n % 20}", f"m@{n % 2}", [], now - 600 * (n % 40)) for n in range(120)]
    events = [
        {"user_id": f"reader{n % 20}", "item_id": "i1", "action": "view", "slate_id": f"shown{n}"}
        for n in range(0, 120, 4)
    ]
    with open_store(Sqlite(), served.folder) as store, served.client() as api:
        store.slates.add(slates)
        assert api.post("/v1/events", json={"events": events}).status_code == 200
    page = here.go("/")
    expect(page.get_by_text("Nobody has looked yet")).to_be_visible()
    clicks = page.locator(".card", has=page.get_by_role("heading", name="Click-through", exact=True))
    clicks.get_by_label("Tell apart").click()
    page.get_by_role("option", name="by model", exact=True).click()
    expect(clicks.locator("tr", has_text="m@0")).to_contain_text("50.00%")
    expect(clicks.locator("tr", has_text="m@1")).to_contain_text("0.00% (0.00% –")
    clicks.get_by_role("button", name="last week by day").click()
    expect(clicks.get_by_role("button", name="last week by day")).to_have_attribute("aria-pressed", "true")
    expect(clicks.locator("canvas")).to_be_visible()
    folder = served.folder / "drift"
    folder.mkdir()
    try:
        (folder / "drift.json").write_text(json.dumps(DRIFT), encoding="utf-8")
        until = time.monotonic() + 60
        while "95 %:" not in here.go("/").locator(".tile", has_text="Click-through").inner_text():
            assert time.monotonic() < until, "what was counted before these slates is answered for twenty seconds"
            time.sleep(3)
        expect(page.locator(".alarm", has_text="Drifting: which items people choose")).to_be_visible()
        drift = page.locator(".card", has=page.get_by_role("heading", name="Drift", exact=True))
        expect(drift.locator("tbody tr").first).to_contain_text("most of all a")
        expect(drift.locator(".picture svg circle")).to_have_count(2)
        here.shot("overview-watched")
        here.press("Colours: as the system")
        expect(page.get_by_role("button", name="Colours: dark").first).to_be_visible()
        here.alive()
        page.set_viewport_size(NARROW)
        expect(drift.locator("tbody tr").first).to_contain_text("most of all a")
        assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
        here.shot("overview-watched-narrow-dark")
    finally:
        shutil.rmtree(folder)


def test_an_item_is_hidden_pinned_reported_and_blocked_by_rule(here, served):
    page = here.go("/items")

    def decide(button: str, why: str) -> None:
        here.press(button)
        dialog = page.get_by_role("dialog")
        dialog.get_by_role("button", name=button, exact=True).click()
        expect(dialog).to_contain_text("Say why")
        dialog.get_by_role("textbox").fill(why)
        dialog.get_by_role("button", name=button, exact=True).click()

    page.get_by_label("Words of the title or an id").fill("thing 4")
    page.locator(".pick", has_text="thing 4").click()
    expect(page.locator(".card", has_text="Nearest to it")).to_be_visible()
    decide("Hide", "a complaint")
    here.told("thing 4 is hidden")
    expect(page.get_by_text("not shown").first).to_be_visible()
    with served.client() as api:
        slate = api.post("/v1/recommend", json={"history": ["i1", "i2", "i3"], "k": 5}).json()
        assert "i4" not in [one["item_id"] for one in slate["items"]]
    standing = page.locator(".card", has_text="In force")
    expect(standing).to_contain_text("a complaint")
    here.shot("items-hidden")
    standing.get_by_role("button", name=re.compile("Release")).click()
    page.get_by_role("dialog").get_by_role("textbox").fill("looked at")
    page.get_by_role("dialog").get_by_role("button", name="Release", exact=True).click()
    here.told("It is released")
    expect(page.locator(".card", has_text="Ended")).to_contain_text("looked at")
    decide("Pin", "of the week")
    here.told("thing 4 is pinned")
    decide("Put in the queue", "is it true?")
    here.told("It is in the queue")
    queue = page.locator(".card", has_text="Waits to be looked at")
    queue.get_by_role("button", name="Resolve the review of i4").click()
    page.get_by_role("dialog").get_by_role("textbox").fill("it is")
    page.get_by_role("dialog").get_by_role("button", name="Resolve", exact=True).click()
    here.told("The review is resolved")
    expect(queue).to_contain_text("Nothing waits")
    page.get_by_label("Column", exact=True).fill("no_such")
    page.get_by_label("Values, with commas between").fill("red")
    decide("Block them", "not now")
    here.told("the items have no column 'no_such'")
    page.get_by_label("Column", exact=True).fill("title")
    page.get_by_label("Values, with commas between").fill("nothing")
    decide("Block them", "not now")
    here.told("Items with title nothing are blocked")


def test_an_experiment_is_made_runs_and_has_a_result(here, served):
    page = here.go("/experiments")
    here.press("Save the draft")
    here.told("Give it a name")
    page.get_by_label("Name", exact=True).fill("halves")
    page.get_by_label("Actions that count as an answer").fill("view")
    here.press("Save the draft")
    here.told("halves is saved")
    one = page.locator(".card", has=page.get_by_role("heading", name="halves", exact=True))
    one.get_by_role("button", name="Start").click()
    here.told("halves runs")
    with served.client() as api:
        for number in range(12):
            slate = api.post("/v1/recommend", json={"user_id": f"e{number}", "k": 3}).json()
            event = {"user_id": f"e{number}", "item_id": "i1", "action": "view", "slate_id": slate["slate_id"]}
            if number % 2:
                api.post("/v1/events", json={"events": [event]})
        until = time.monotonic() + 10
        while sum(arm["slates"] for arm in api.get("/v1/experiments/halves").json()["arms"]) < 12:
            assert time.monotonic() < until
            time.sleep(0.1)
    one.get_by_role("button", name="Read again").click()
    expect(one.locator(".picture svg circle")).to_have_count(2)
    expect(one).to_contain_text("95 % interval")
    here.shot("experiment-running")
    one.get_by_role("button", name="Stop").click()
    here.told("halves is stopped")
    one.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete", exact=True).click()
    here.told("halves is deleted")
    expect(page.get_by_text("No experiments yet")).to_be_visible()


@contextmanager
def exploring(tmp_path: Path) -> Iterator[Running]:
    """A service whose policy chooses for half of the users, with a second model in memory; twenty have been asked."""
    home, _ = a_run(tmp_path, "circle"), a_run(tmp_path, "other")
    patient = ("deadline_ms=5000", "source_ms=5000", "target_ms=60000", "rate=5000", "burst=5000")
    with running(home, *patient, "explore={share: 0.5, policy: {type: softmax}}") as made:
        with made.client() as api:
            assert api.post("/v1/models/other/load").status_code == 200
            for number in range(24):
                slate = api.post("/v1/recommend", json={"user_id": f"p{number}", "k": 3}).json()
                chosen_by_policy = slate["items"][0].get("propensity") is not None
                if chosen_by_policy or number % 4 == 0:
                    click(api, f"p{number}", slate["items"][0]["item_id"], slate["slate_id"])
            wait_for(lambda: sum(arm["slates"] for arm in api.get("/v1/policy").json()["arms"]) == 24)
        yield made


def click(api: httpx.Client, user: str, item: str, slate_id: str) -> None:
    event = {"user_id": user, "item_id": item, "action": "click", "slate_id": slate_id}
    assert api.post("/v1/events", json={"events": [event]}).status_code == 200


def wait_for(done: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE / 1000
    while not done():
        assert time.monotonic() < until
        time.sleep(0.1)


def test_two_models_are_interleaved_and_the_policy_is_stopped_and_allowed(browser, tmp_path):
    with exploring(tmp_path) as served, desk(browser, served.url) as made, served.client() as api:
        page = made.go("/experiments")
        policy = page.locator(".card", has=page.get_by_role("heading", name="The policy that explores", exact=True))
        expect(policy).to_contain_text("softmax, for 50% of the users")
        expect(policy.locator("tbody tr", has_text="the policy")).to_contain_text("1.0000")
        expect(policy.locator(".picture svg circle")).to_have_count(2)
        expect(policy).to_contain_text("95 % interval")
        made.shot("policy-on")

        def switch(name: str, why: str) -> None:
            policy.get_by_role("button", name=name, exact=True).click()
            dialog = page.get_by_role("dialog")
            dialog.get_by_role("button", name=name, exact=True).click()
            expect(dialog).to_contain_text("Say why")
            dialog.get_by_role("textbox").fill(why)
            dialog.get_by_role("button", name=name, exact=True).click()

        switch("Stop it", "a holiday")
        made.told("The policy is stopped")
        expect(policy).to_contain_text("Reason: a holiday")
        assert api.get("/v1/policy").json()["on"] is False
        made.shot("policy-stopped")
        switch("Allow it", "over")
        made.told("The policy chooses again")
        expect(policy).to_contain_text("it chooses")
        deeds = api.get("/v1/audit").json()["rows"]
        said = [(one["action"], one["detail"]["why"]) for one in deeds if one["action"].startswith("policy")]
        assert said == [("policy.start", "over"), ("policy.stop", "a holiday")]

        page.get_by_label("Name", exact=True).fill("mixed")
        page.get_by_label("Kind").click()
        page.get_by_role("option", name="Interleaving: each slate is of both").click()
        page.get_by_label("Model", exact=True).nth(1).click()
        page.get_by_role("option", name="other", exact=True).click()
        made.press("Save the draft")
        made.told("mixed is saved")
        one = page.locator(".card", has=page.get_by_role("heading", name="mixed", exact=True))
        one.get_by_role("button", name="Start").click()
        made.told("mixed runs")
        for number in range(10):
            slate = api.post("/v1/recommend", json={"user_id": f"q{number}", "k": 4}).json()
            mine = [item["item_id"] for item in slate["items"] if item["team"] == ("a" if number == 0 else "b")]
            click(api, f"q{number}", mine[0], slate["slate_id"])
        wait_for(lambda: sum(api.get("/v1/experiments/mixed").json()["preference"]["wins"]) == 10)
        one.get_by_role("button", name="Read again").click()
        expect(one.locator("tbody tr", has_text="other")).to_contain_text("9")
        expect(one.locator("tbody tr", has_text="ties")).to_contain_text("0")
        expect(one).to_contain_text("Preference for b over a")
        expect(one).to_contain_text("+0.4000, 95 % interval")
        expect(one.locator(".badge", has_text="better")).to_be_visible()
        expect(one.locator(".picture svg circle")).to_have_count(1)
        made.shot("interleaving")
        made.press("中文")
        expect(page.get_by_text("胜出的列表").first).to_be_visible()
        made.alive()
        page.set_viewport_size(NARROW)
        assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
        made.shot("interleaving-narrow-zh")


def test_a_model_is_loaded_takes_over_and_is_rolled_back(here, served):
    page = here.go("/models")
    here.press("Load other")
    here.told("other is loaded and waits")
    here.press("Let other answer")
    here.told("other answers")
    assert httpx.get(f"{served.url}/v1/health/ready").json()["model"] == "other"
    here.shot("models-two")
    here.press("Roll back")
    page.get_by_role("dialog").get_by_role("button", name="Roll back", exact=True).click()
    here.told("circle answers again")
    here.press("Unload other")
    here.told("other is unloaded")
    page.get_by_role("link", name="All that was measured of circle").click()
    expect(page.get_by_role("heading", name="Beside its baselines")).to_be_visible()
    expect(page.locator(".picture svg").first).to_contain_text("popular")
    before = page.locator(".picture svg").first.inner_html()
    page.get_by_label("Measure").click()
    page.get_by_role("option", name="recall@10", exact=True).click()
    page.wait_for_function("html => document.querySelector('.picture svg').innerHTML !== html", arg=before)
    expect(page.locator("canvas").first).to_be_visible()


def test_jobs_are_told_apart_and_cancelled(here):
    page = here.go("/jobs")
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(2)
    here.press("Cancel job 1")
    here.told("Job 1 is cancelled")
    here.press("cancelled")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("embed")
    here.press("done")
    expect(page.get_by_text("No jobs")).to_be_visible()


def test_a_job_is_put_in_with_its_settings_and_what_is_wrong_is_said_by_name(here, served):
    page = here.go("/jobs")
    form = page.locator(".card", has=page.get_by_role("heading", name="A new job", exact=True))
    form.get_by_label("Kind").click()
    page.get_by_role("option", name="drift: look for drift").click()
    form.get_by_label("days").fill("soon")
    here.press("Put it in")
    here.told("payload.days: is 'soon', no number above 0")
    form.get_by_label("days").fill("3")
    form.get_by_label("clicks").fill("view, buy")
    here.press("Put it in")
    here.told("waits for a worker")
    row = page.locator("tbody tr").first
    expect(row).to_contain_text("drift")
    with served.client() as api:
        job = api.get("/v1/jobs").json()["rows"][0]
        assert (job["kind"], job["payload"]) == ("drift", {"days": 3, "clicks": ["view", "buy"]})
    form.get_by_label("Kind").click()
    page.get_by_role("option", name="publish: let a run take over").click()
    expect(page.get_by_role("option")).to_have_count(0)
    force = form.get_by_role("checkbox", name="force")
    force.click()
    expect(force).to_be_checked()
    here.press("Put it in")
    here.told("waits for a worker")
    expect(row).to_contain_text("publish")
    here.shot("jobs-form")
    with served.client() as api:
        rows = api.get("/v1/jobs").json()["rows"]
        assert (rows[0]["kind"], rows[0]["payload"]) == ("publish", {"force": True})
        deeds = [one["target"] for one in api.get("/v1/audit", params={"action": "job.add"}).json()["rows"]]
        assert deeds == [str(one["number"]) for one in rows[:2]]
    for job in rows[:2]:
        here.press(f"Cancel job {job['number']}")
        here.told(f"Job {job['number']} is cancelled")


def test_settings_become_the_command_of_the_next_run(here):
    page = here.go("/settings?section=train")
    page.get_by_label("train.epochs", exact=True).fill("7")
    page.get_by_label("train.epochs", exact=True).press("Tab")
    expect(page.locator("pre")).to_contain_text("train.epochs=7")
    expect(page.get_by_text("It fits together")).to_be_visible()
    here.shot("settings-changed")
    page.get_by_label("train.epochs", exact=True).fill("many")
    page.get_by_label("train.epochs", exact=True).press("Tab")
    expect(page.locator(".alarm.bad")).to_contain_text("train.epochs")
    page.get_by_role("link", name="pipeline", exact=True).click()
    expect(page.locator("pre")).to_contain_text("train.epochs=many")
    here.press("Forget the changes")
    expect(page.get_by_text("Nothing is changed")).to_be_visible()
    page.get_by_role("link", name="serve", exact=True).click()
    expect(page.get_by_label("serve.store.path")).to_be_disabled()


def test_language_and_colours_are_switched_and_stay(here):
    page = here.go("/jobs")
    here.press("中文")
    expect(page.locator("h1")).to_have_text("任务")
    here.press("配色：跟随系统")
    expect(page.get_by_role("button", name="配色：深色").first).to_be_visible()
    assert page.evaluate("document.body.classList.contains('body--dark')")
    here.go("/models")
    expect(page.locator("h1")).to_have_text("模型")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(17, 19, 22)"


def test_the_keyboard_is_enough(here):
    page = here.go("/jobs")

    def focused() -> str:
        return page.evaluate("(document.activeElement.innerText || document.activeElement.ariaLabel || '').trim()")

    page.keyboard.press("Tab")
    assert focused() == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.classList.contains('middle')")
    page.reload()
    here.alive()
    seen = []
    for _ in range(40):
        page.keyboard.press("Tab")
        seen.append(focused())
        shows = "(document.activeElement.closest('.q-field__control') || document.activeElement)"
        outline = f"getComputedStyle({shows}).outlineStyle"
        if page.evaluate("document.activeElement !== document.body"):
            assert page.evaluate(outline) != "none", f"{seen[-1]} does not show that it has the focus"
    assert seen[1:8] == ["Overview", "Try it", "Items and moderation", "Experiments", "Models", "Jobs", "Settings"]
    assert seen.index("all") > seen.index("Settings")
    assert "Skip to the content" in seen[8:], "the focus comes round again: nothing traps it"
    page = here.go("/try")
    line = page.get_by_label("Find a user, or type an id")
    line.focus()
    page.keyboard.type("ann")
    page.keyboard.press("Enter")
    expect(page.locator(".slate > li")).to_have_count(10)


def test_enter_counts_what_was_typed_in_a_slow_browser_too(here):
    page = here.go("/try")
    page.context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": 10})
    page.get_by_label("Find a user, or type an id").focus()
    page.keyboard.type("ann")
    page.keyboard.press("Enter")
    expect(page.locator(".slate > li")).to_have_count(10)


def test_a_dialog_is_left_by_escape_and_gives_the_focus_back(here):
    page = here.go("/items")
    page.get_by_label("Words of the title or an id").fill("thing 5")
    page.locator(".pick", has_text="thing 5").click()
    here.press("Hide")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert page.evaluate("document.activeElement.innerText") == "Hide"


def test_a_narrow_screen_has_its_menu(browser, served):
    with desk(browser, served.url, viewport=NARROW) as made:
        page = made.go("/")
        page.locator(".top summary").click()
        made.shot("narrow-menu")
        page.locator(".top").get_by_role("link", name="Models").click()
        expect(page.locator("h1")).to_have_text("Models")


@contextmanager
def alone(url: str) -> Iterator[str]:
    """`genre console` of a service, in a process of its own."""
    command = [sys.executable, "-c", "from genre.cli import main; main()", "console", url, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split()[1].removesuffix("/console")
        finally:
            process.kill()


def test_it_stands_alone_and_says_when_the_service_is_away(browser, served):
    with alone(served.url) as url, desk(browser, url) as made:
        page = made.go("/models")
        expect(page.get_by_role("heading", name="circle")).to_be_visible()
    with alone("http://127.0.0.1:9") as url, desk(browser, url) as made:
        page = made.go("/models")
        expect(page.get_by_role("alert")).to_contain_text("The service does not answer")
        made.shot("away")


def test_a_key_is_asked_for_and_nowhere_to_be_found(browser, tmp_path):
    home = a_run(tmp_path)
    with open_store(Sqlite(), home) as store:
        tokens = {scope: store.keys.add(scope, scope)[1] for scope in ("read", "admin")}
    with running(home) as served, desk(browser, served.url) as made:
        page = made.go("/models")
        expect(page.locator("h1")).to_have_text("Sign in")
        made.shot("sign-in")
        page.get_by_label("Key").fill("wrong")
        made.press("Sign in")
        made.told("A key is needed")
        page.get_by_label("Key").fill(tokens["read"])
        page.get_by_label("Key").press("Enter")
        expect(page.locator("h1")).to_have_text("Models")
        made.go("/jobs")
        expect(page.get_by_role("alert")).to_contain_text("Your key does not allow this")
        made.press("Sign out")
        expect(page.locator("h1")).to_have_text("Sign in")
        page.get_by_label("Key").fill(tokens["admin"])
        page.get_by_label("Key").press("Enter")
        expect(page.locator("h1")).to_have_text("Overview")
        made.go("/jobs")
        expect(page.get_by_text("No jobs")).to_be_visible()
        held = page.content() + page.url + str(page.context.cookies())
        held += page.evaluate("JSON.stringify(localStorage) + JSON.stringify(sessionStorage)")
        assert not any(token in held for token in tokens.values())
        [cookie] = [one for one in page.context.cookies() if one["name"] == "genre_console"]
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
        assert not any(token in served.log.read_text() for token in tokens.values())
        anybody = httpx.get(f"{served.url}/console/jobs")
        assert anybody.status_code == 303
