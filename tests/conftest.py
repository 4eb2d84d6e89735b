"""Fixtures that several tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

# The models of the tests are tiny: a second thread would only wait. Set before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import pytest

INTERACTIONS = """user_id,item_id,action,value,timestamp
ann,tea,view,3,2024-01-01T10:00:00
ann,cup,view,4,2024-01-02T10:00:00
ann,pot,purchase,5,2024-01-03T10:00:00
bob,cup,view,2,2024-01-01T12:00:00
bob,tea,skip,,2024-01-01T13:00:00
bob,pot,view,1,2024-01-02T12:00:00
bob,tea,view,4,2024-01-04T12:00:00
"""
ITEMS = """item_id,title,categories
tea,Green tea,drink|leaf
cup,"Cup, blue",ware
pot,Tea pot,ware
jug,Milk jug,ware
"""
USERS = "user_id,gender,age,region\nann,F,31,01234\nbob,M,44,98765\n"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder with a small log of a shop as CSV: two users, four items, one of them never bought."""
    for name, text in (("interactions", INTERACTIONS), ("items", ITEMS), ("users", USERS)):
        (tmp_path / f"{name}.csv").write_text(text, encoding="utf-8")
    return tmp_path


@pytest.fixture
def real_data() -> Path:
    """The folder of data sets that may not be passed on; the test is skipped where it is absent."""
    folder = Path(os.environ.get("GENRE_DATA") or "../shared/data")
    if not folder.is_dir():
        pytest.skip(f"no data sets in {folder}; set GENRE_DATA")
    return folder


@pytest.fixture(scope="session")
def shared() -> Iterator[str]:
    """The address of one service for all tests that leave nothing behind but events, items and users of their own."""
    import served

    with served.shared() as url:
        yield url
