"""The notebook runs from its first cell to its last, and what it says at the end holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def cells(name: str) -> list[dict[str, Any]]:
    return json.loads((NOTEBOOKS / name).read_text(encoding="utf-8"))["cells"]


@pytest.mark.parametrize("name", [path.name for path in NOTEBOOKS.glob("*.ipynb")])
def test_is_kept_without_outputs(name: str):
    code = [cell for cell in cells(name) if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in code)


def test_the_first_model_does_what_it_says(tmp_path, monkeypatch, capsys):
    import matplotlib

    matplotlib.use("Agg")
    monkeypatch.setenv("GENRE_CACHE", str(tmp_path / "cache"))
    # The notebook goes to a folder of its own; the test comes back from it.
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "__main__"}
    for cell in cells("first-model.ipynb"):
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
    shown = names["figure"].axes
    assert [len(axes.lines[0].get_xdata()) for axes in shown] == [32, 32]
    names["plt"].close("all")
    gained, over_baseline, share, chance = names["claims"].values()
    assert gained > 0
    assert over_baseline > 0
    assert share > 2 * chance
    out = capsys.readouterr().out
    assert "liked:" in out
    assert "taken out: {'seen':" in out
    assert f"{share:.3f}" in out
