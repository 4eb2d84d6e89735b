"""The page about speed says what was measured."""

import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.delitem(sys.modules, "speedrows", raising=False)
    from speedrows import page

    return page


def test_the_page_is_made_from_the_results(page):
    results = json.loads(page.RESULTS.read_text(encoding="utf-8"))
    assert page.PAGE.read_text(encoding="utf-8") == page.page(results)
    assert set(results["tables"]) <= set(page.SECTIONS)


def test_shares_of_the_limit_and_the_time_within_the_layers_are_told(page):
    part = {"part": "both", "gflops": 61.25, "range": [60.0, 70.0], "share": 0.614, "share_range": [0.6, 0.7]}
    way = {"way": "kept", "seconds": 2.0, "range": [1.9, 2.1]}
    tables = {
        "dense": {"rows": [part], "of_the_step": 0.8},
        "graph": {"rows": [way], "layers": [way | {"seconds": 1.5}]},
    }
    told = page.page({"threads": 2, "machine": {"cores": 2}, "tables": tables})
    assert "| both | 61.2 [60.0, 70.0] | 61% [60%, 70%] |" in told
    assert "80% of the step's time" in told
    assert told.index("| kept | 2 [1.9, 2.1] | 1 |") < told.index("| kept | 1.5 [1.9, 2.1] | 1 |")
