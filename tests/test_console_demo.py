"""The way from an empty folder: what it writes, and that nothing of it is the user's to lose."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from genre.commands.demo import written
from genre.serve.routes_evaluation import PASSWORD

ROOT = Path(__file__).parents[1]


def test_the_demo_writes_the_quickstart_and_leaves_what_is_there(tmp_path):
    path = written(tmp_path)
    assert path.read_text(encoding="utf-8") == (ROOT / "configs" / "quickstart.yaml").read_text(encoding="utf-8")
    path.write_text("name: mine\n", encoding="utf-8")
    assert written(tmp_path).read_text(encoding="utf-8") == "name: mine\n"


@pytest.mark.parametrize(
    ("written_there", "told"),
    [
        ("postgresql://genre:secret@db/genre", "postgresql://genre:***@db/genre"),
        ("postgresql://genre@db/genre", "postgresql://genre@db/genre"),
        ("https://example.com/a@b", "https://example.com/a@b"),
    ],
)
def test_a_configuration_is_told_without_passwords(written_there, told):
    assert json.loads(PASSWORD.sub(r"\1:***@", json.dumps({"url": written_there}))) == {"url": told}
