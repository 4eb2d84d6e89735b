"""The page of a search: one file that needs no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from genre.files import write_text
from genre.search import figures as drawn

HERE = Path(__file__).parent


def page_style() -> str:
    """The style sheet of the report, which other pages share."""
    report = (HERE.parent / "report.html").read_text(encoding="utf-8")
    return report.partition("<style>")[2].partition("</style>")[0]


def write_page(result: dict[str, Any], folder: Path) -> None:
    """Write ``search.html`` from what `search.json` holds."""
    write_text(folder / "search.html", page(result))


def page(result: dict[str, Any]) -> str:
    """The page as HTML."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((HERE / "search.html").read_text(encoding="utf-8"))
    figures = {name: Markup(svg) for name, svg in figures_of(result).items()}
    rows = {str(row["number"]): row for row in result["trials"]}
    first = next(iter(result["objectives"]))
    return template.render(result=result, figures=figures, rows=rows, first=first, style=Markup(page_style()))


def figures_of(result: dict[str, Any]) -> dict[str, str]:
    """Every figure that there is something to draw for, as SVG."""
    rows, space, objectives = result["trials"], result["space"], list(result["objectives"])
    first, larger = objectives[0], result["objectives"][objectives[0]]
    order = list(result["importances"])
    made = {
        "best": drawn.best_so_far(rows, first, larger),
        "bestofn": drawn.best_of_n(result["best_of_n"], first) if result["baselines"] else None,
        "pareto": drawn.front(rows, objectives, result["pareto"]),
        "importances": drawn.importances(result["importances"]),
        "slices": drawn.slices(rows, space, first, order),
        "parallel": drawn.parallel(rows, space, first, larger),
        "curves": drawn.curves(rows, first),
    }
    return {name: svg for name, svg in made.items() if svg is not None}
