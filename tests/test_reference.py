"""The reference pages say what the code says."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from genre import reference
from genre.component import kinds, names

DOCS = Path(__file__).parents[1] / "docs"


def test_the_committed_pages_are_those_of_the_code():
    assert reference.stale(DOCS) == [], "run 'make docs'"


def test_every_component_and_command_is_there():
    components, cli = reference.components_page(), reference.cli_page()
    for kind in kinds():
        assert f"\n## {kind}\n" in components
        for name in names(kind):
            assert f"\n### {name}\n" in components
    for command in ("run", "prepare", "train", "check", "data get", "recommend"):
        assert f"\n## genre {command}\n" in cli


@pytest.mark.parametrize("words", ["| `train.lr`", "`early_stopping`", "whole number > 0", "cosine \\| linear"])
def test_the_configuration_page_has_types_and_sections(words: str):
    assert words.removeprefix("| ") in reference.config_page()


def test_writing_and_checking(tmp_path: Path):
    runner = CliRunner()
    missing = runner.invoke(reference.main, [str(tmp_path), "--check"])
    assert missing.exit_code == 1
    assert "cli.md, config.md, components.md" in missing.output
    assert runner.invoke(reference.main, [str(tmp_path)]).output.count("wrote") == 3
    assert runner.invoke(reference.main, [str(tmp_path), "--check"]).exit_code == 0
    (tmp_path / "config.md").write_text("old", encoding="utf-8")
    stale = runner.invoke(reference.main, [str(tmp_path), "--check"])
    assert stale.exit_code == 1
    assert "config.md in" in stale.output
