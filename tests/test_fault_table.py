"""The handbook's table of faults names tests that are there."""

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parent
TABLE = "### What goes wrong, and what is held to"


def rows() -> list[list[str]]:
    """The cells of the table, without its head."""
    text = (TESTS.parent / "docs" / "operate.md").read_text(encoding="utf-8").partition(TABLE)[2]
    found = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    assert found[0] == ["fault", "what happens", "shown by"]
    return found[2:]


def named_in(name: str) -> set[str]:
    """Names of the tests in a file."""
    tree = ast.parse((TESTS / name).read_text(encoding="utf-8"))
    return {one.name for one in tree.body if isinstance(one, ast.FunctionDef) and one.name.startswith("test_")}


def test_every_fault_has_tests_and_they_exist():
    for row in rows():
        fault, _, shown = row
        named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", shown)
        assert named, f"{fault}: no test"
        assert shown == " ".join(f"`{file}::{test}`" for file, test in named)
        for file, test in named:
            assert test in named_in(file), f"{fault}: {file} has no {test}"


def test_the_tests_of_faults_are_all_in_the_table():
    named = {test for row in rows() for test in re.findall(r"::(test_\w+)`", row[2])}
    asides = {"test_a_run_that_is_not_finished_is_refused_with_what_to_do"}
    assert named_in("test_serve_faults.py") - asides <= named
