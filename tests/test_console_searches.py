"""The searches beside the served run, on the console's page of experiments."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

pytest.importorskip("playwright")
from playwright.sync_api import Browser, expect

from served import a_run, running
from test_console import browser, desk  # noqa: F401  # the fixture is found by its name
from test_search_progress import a_search


def test_a_search_is_seen_in_both_languages_and_goes_on_while_one_looks(
    browser: Browser,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    home = a_run(tmp_path)
    file = a_search(tmp_path, monkeypatch)
    facts = json.loads(file.read_text(encoding="utf-8"))
    best = f"{facts['best']['values']['ndcg@10']:.4g}"
    with running(home, "deadline_ms=5000", "rate=5000", "burst=5000") as made:
        for language, heading, trying in (
            ("en-US", "Searches of settings", "trying"),
            ("zh-CN", "参数搜索", "试验中"),
        ):
            file.write_text(json.dumps(facts | {"at": time.time(), "seconds_left": 600.0}), encoding="utf-8")
            with desk(browser, made.url, locale=language) as here:
                page = here.go("/experiments")
                card = page.locator(".card", has=page.get_by_role("heading", name=heading, exact=True))
                expect(card).to_contain_text(trying)
                expect(card).to_contain_text("10 minutes" if language == "en-US" else "10 分钟")
                expect(card.locator("tbody")).to_contain_text(best)
                expect(card.locator("tbody")).to_contain_text("train.lr.backbone")
                expect(card.locator(".plot")).to_have_count(1)
                here.shot(f"searches-{language}")
                if language == "en-US":
                    said = f"{facts['done']} of 14 trials done, {facts['pruned']} stopped early"
                    expect(card).to_contain_text(said)
                    file.write_text(json.dumps(facts | {"at": time.time(), "doing": "ended"}), encoding="utf-8")
                    expect(card).to_contain_text("ended")
                    file.unlink()
                    card.get_by_role("button", name="Read again").click()
                    expect(card).to_contain_text("No searches yet")
