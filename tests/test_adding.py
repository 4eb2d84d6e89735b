"""Adding a component is adding one file: the examples of CONTRIBUTING.md, put into a copy of the package."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import genre

ROOT = Path(__file__).parents[1]
EXAMPLE = re.compile(r"`src/(genre/(\w+)/(\w+)\.py)`:\n\n```python\n(.*?)```", re.DOTALL)
EXAMPLES = EXAMPLE.findall((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with the examples in it."""
    place = tmp_path_factory.mktemp("copy")
    shutil.copytree(Path(genre.__file__).parent, place / "genre", ignore=shutil.ignore_patterns("__pycache__"))
    for path, _, _, code in EXAMPLES:
        assert not (place / path).exists()
        (place / path).write_text(code, encoding="utf-8")
    return place


def python(package: Path, *arguments: str) -> str:
    """What Python prints with the copy in place of the installed package; fails with all of it if it fails."""
    environment = {**os.environ, "PYTHONPATH": str(package)}
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=environment, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def command(package: Path, *arguments: str) -> str:
    return python(package, "-c", "from genre.cli import main; main()", *arguments)


def test_the_examples_are_a_source_a_metric_and_a_head():
    assert [(kind, name) for _, kind, name, _ in EXAMPLES] == [
        ("sources", "rare"),
        ("metrics", "mean_rank"),
        ("heads", "quantile"),
    ]


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for _, kind, name, _ in EXAMPLES])
def test_list_shows_it(package: Path, kind: str, name: str):
    assert name in command(package, "list", kind)
    assert command(package, "list", kind, name).startswith(f"{name} ({kind})\n")


def test_a_configuration_names_them(package: Path, tmp_path: Path):
    path = tmp_path / "c.yaml"
    path.write_text(
        "data: {reader: movielens}\n"
        "model: {heads: {next: next_item, plays: {type: quantile, weight: 0.1}}}\n"
        "train: {early_stopping: {metric: mean_rank}}\n"
        "pipeline: {sources: [model, {type: rare, top_k: 10}]}\n"
        "evaluate: {metrics: [mean_rank, rmse]}\n",
        encoding="utf-8",
    )
    assert "plays (quantile)" in command(package, "check", str(path))


def test_the_contract_tests_find_them_and_pass(package: Path):
    chosen = " or ".join(f"{name}]" for _, _, name, _ in EXAMPLES)
    output = python(package, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_components.py", "-k", chosen)
    passed = re.search(r"(\d+) passed", output)
    assert passed
    # Five that every component has, and those of their kinds: three of a source, two of a metric, two of a head.
    assert int(passed[1]) == 5 * len(EXAMPLES) + 3 + 2 + 2


def test_the_examples_keep_the_style(package: Path):
    files = [str(package / path) for path, _, _, _ in EXAMPLES]
    configuration = ["--config", str(ROOT / "pyproject.toml")]
    for arguments in (["check", *configuration], ["format", "--check", *configuration]):
        python(package, "-m", "ruff", *arguments, *files)
