"""The rules that keep the package one thing: imports go down only, components stand alone, files stay short."""

from __future__ import annotations

import ast
import json
import statistics
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import genre
from genre.component import PARTS

ROOT = Path(genre.__file__).parent
BOTTOM = {
    "errors",
    "types",
    "files",
    "clock",
    "component",
    "data",
    "candidates",
    "parallel",
    "logcolumns",
    "mapping",
}
STAGES = {
    "prepare",
    "train",
    "rank",
    "evaluate",
    "report",
    "compression.stage",
    "learn.evaluation",
    "learn.fit",
    "learn.simulate",
}
TOP = {
    "cli",
    "jobprocess",
    "learn.model",
    "reference",
    "refresh.cycle",
    "refresh.publishing",
    "worker",
    *(f"commands.{path.stem}" for path in (ROOT / "commands").glob("*.py") if path.stem != "__init__"),
}
PROGRAMS = {"console", "jobs", "serve"}
"""What stands above the stages, beside the command line."""
HEAVY = {
    "torch",
    "transformers",
    "peft",
    "implicit",
    "lightgbm",
    "faiss",
    "pyarrow",
    "matplotlib",
    "safetensors",
    "jinja2",
    "rich",
    "sklearn",
}
JUNK = {"utils", "util", "common", "helpers", "helper", "misc", "base", "manager", "managers", "stuff", "lib", "core"}


def module_of(path: Path) -> str:
    """``sources.ease``, ``sources`` for the contract, ``cli``; ``""`` for the package itself."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


FILES = {module_of(path): path for path in sorted(ROOT.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}
KINDS = {path.parent.name for path in ROOT.glob("*/__init__.py")} - PARTS
COMPONENTS = {name for name in FILES if name.partition(".")[0] in KINDS and "." in name}


def imports(body: list[ast.stmt], inside_functions: bool) -> set[str]:
    """Names of the modules that some code imports, those under ``TYPE_CHECKING`` left out."""
    found: set[str] = set()
    todo: list[ast.AST] = list(body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            todo += node.orelse
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"relative import in line {node.lineno}"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            whole = {name for name in names if name.removeprefix("genre.") in FILES}
            found |= whole
            if node.module != "genre" or names - whole:
                found.add(node.module or "")
        elif inside_functions or not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            todo += ast.iter_child_nodes(node)
    return found


def ours(names: set[str]) -> set[str]:
    """Those in this package, without its name."""
    return {name.removeprefix("genre").removeprefix(".") for name in names if name.partition(".")[0] == "genre"}


GRAPH = {name: ours(imports(tree.body, inside_functions=True)) - {""} for name, tree in TREES.items()}


def reached(start: str) -> set[str]:
    """Everything of ours that ``start`` imports, directly or not."""
    seen: set[str] = set()
    todo = [start]
    while todo:
        new = GRAPH[todo.pop()] - seen
        seen |= new
        todo += new
    return seen


def test_the_scan_sees_the_package():
    assert sorted((BOTTOM | STAGES | TOP) - set(FILES)) == []
    assert len(COMPONENTS) > 30
    assert {"sources.ease", "heads.next_item"} <= COMPONENTS


def test_there_are_no_cycles():
    assert list(TopologicalSorter(GRAPH).static_order())


@pytest.mark.parametrize("name", sorted(BOTTOM))
def test_the_bottom_row_stands_on_itself(name: str):
    assert GRAPH[name] <= BOTTOM


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_contract_stands_on_the_bottom_row_and_other_contracts(kind: str):
    assert GRAPH[kind] <= BOTTOM | KINDS


@pytest.mark.parametrize("name", sorted(COMPONENTS))
def test_a_component_knows_no_other_component_and_no_configuration(name: str):
    assert not reached(name) & COMPONENTS
    assert "config" not in reached(name)


def test_nothing_but_the_folder_scan_names_a_component():
    assert {name: GRAPH[name] & COMPONENTS for name in FILES if GRAPH[name] & COMPONENTS} == {}


@pytest.mark.parametrize("stage", sorted(STAGES & set(FILES)))
def test_stages_meet_through_files_only(stage: str):
    assert not reached(stage) & (STAGES | TOP)


def test_the_online_path_knows_no_stage():
    assert not reached("pipeline") & (STAGES | TOP)


def of_a_program(name: str) -> bool:
    """Whether a module belongs to the service or the console, which stand above the stages."""
    return name.partition(".")[0] in PROGRAMS


def test_only_the_top_imports_the_top():
    assert {name for name in FILES if GRAPH[name] & TOP and not of_a_program(name)} <= TOP


def test_only_the_top_and_programs_import_programs():
    assert {name for name in FILES if any(map(of_a_program, GRAPH[name])) and not of_a_program(name)} <= TOP


@pytest.mark.parametrize(
    "name", sorted(BOTTOM | KINDS | COMPONENTS | {"cli", "config", "configfile", "crosschecks", "settings"})
)
def test_heavy_modules_are_imported_where_they_are_used(name: str):
    direct = {one.partition(".")[0] for one in imports(TREES[name].body, inside_functions=False)}
    assert not direct & HEAVY


@pytest.mark.parametrize(
    ("module", "light"),
    [
        ("genre.cli", HEAVY | {"numpy", "scipy", "pydantic"}),
        ("genre.configfile", {"torch", "transformers", "pyarrow", "rich"}),
    ],
)
def test_start_is_light(module: str, light: set[str]):
    code = f"import json, sys, {module}; print(json.dumps([m.partition('.')[0] for m in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(json.loads(done.stdout)) & light


@pytest.mark.parametrize("name", sorted(FILES))
def test_files_are_short(name: str):
    assert len(FILES[name].read_text(encoding="utf-8").splitlines()) <= 400


def test_no_file_is_a_junk_drawer():
    assert not {part for name in FILES for part in name.split(".")} & JUNK


def functions() -> dict[str, ast.FunctionDef]:
    """Every function and method, by module and name."""
    nodes = [
        (name, node) for name, tree in TREES.items() for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)
    ]
    return {f"{name}:{node.name}:{node.lineno}": node for name, node in nodes}


def test_functions_are_short():
    lengths = [(node.end_lineno or 0) - node.lineno + 1 for node in functions().values()]
    assert statistics.median(lengths) <= 12
    assert max(lengths) <= 60


def test_functions_are_typed():
    untyped = []
    for name, node in functions().items():
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        bare = [a.arg for a in arguments if a.annotation is None and a.arg not in ("self", "cls")]
        if bare or node.returns is None:
            untyped.append(name)
    assert untyped == []


@pytest.mark.parametrize("name", sorted(FILES))
def test_modules_say_what_they_are(name: str):
    assert ast.get_docstring(TREES[name])


def test_public_functions_and_classes_say_what_they_do():
    silent = []
    for name, tree in TREES.items():
        for node in tree.body:
            public = isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_")
            if public and not ast.get_docstring(node):
                silent.append(f"{name}.{node.name}")
    assert silent == []
