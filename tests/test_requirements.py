"""What is installed is pinned, and its hashes are written down."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "requirements"
UNHASHED = {"torch"}
"""Of which registries hold builds of their own, for one processor or card, under one version."""


def pins(text: str) -> dict[str, str]:
    """Versions by name."""
    found = re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;\\]+)", text, re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found}


@pytest.mark.parametrize("name", ["lock", "dev", "models"])
def test_every_pin_has_its_hashes(name):
    source = (FOLDER / f"{name}.txt").read_text(encoding="utf-8")
    hashed = (FOLDER / "hashes" / f"{name}.txt").read_text(encoding="utf-8")
    wanted = {one: version for one, version in pins(source).items() if one not in UNHASHED}
    lines = [line for line in source.splitlines() if line and not line.startswith(("#", "-c "))]
    assert len(lines) == len(pins(source)), "each line pins one version"
    assert pins(hashed) == wanted, "write requirements/hashes anew: make hashes"
    for entry in re.split(r"^(?=\S)", hashed, flags=re.MULTILINE)[1:]:
        assert re.findall(r"--hash=sha256:[0-9a-f]{64}\b", entry), entry
