"""Whether a model that was trained on is published: its lists beside the supervised model's, for the test people."""

from __future__ import annotations

import html
from dataclasses import replace
from typing import Any

import numpy as np

from genre.cases import Cases
from genre.comparisons import Measured, Resamples, compare
from genre.data import Log
from genre.figures import SERIES, alone, as_svg, drawing
from genre.pipeline import Pipeline
from genre.run import Run
from genre.systems import Catalogue, measure, metric_named, of_pipeline, rank_cases

METRICS = ("ndcg@10", "hit_rate@10")
LONGEST = 10


def judged(supervised: Run, learned: Run) -> dict[str, Any]:
    """Both runs' lists, as they would be served: refused where one measure is surely lower, people being drawn.

    ``alone`` is the same with the reading alone deciding the order of the top, which the gate does not look at.
    """
    config = supervised.config
    pipes = {name: Pipeline.load(run.folder) for name, run in (("supervised", supervised), ("learned", learned))}
    log: Log = pipes["supervised"].log
    cases = Cases.of(log, "test", config.evaluate.candidates)
    resamples = Resamples.of(cases.user, config.evaluate.bootstrap, config.seed)
    served = {name: _measured(pipe, cases, resamples) for name, pipe in pipes.items()}
    alone_ = {name: _measured(_alone(pipe), cases, resamples) for name, pipe in pipes.items()}
    beside = {one: compare(served["learned"][one], served["supervised"][one], larger_is_better=True) for one in METRICS}
    worse = {one: found for one, found in beside.items() if found is not None and found["verdict"] == "worse"}
    why = [
        f"{one} fell by {-found['difference']:.4f}, interval {found['ci95'][0]:+.4f} to {found['ci95'][1]:+.4f}"
        for one, found in worse.items()
    ]
    weights = {name: str(pipe.reranker.weight) for name, pipe in pipes.items() if pipe.reranker is not None}
    return {
        "systems": {name: {key: one.as_json() for key, one in found.items()} for name, found in served.items()},
        "alone": {name: {key: one.as_json() for key, one in found.items()} for name, found in alone_.items()},
        "weights": weights,
        "users": len(np.unique(cases.user)),
        "gate": {"published": not why, "why": why, "comparisons": beside},
    }


def _alone(pipe: Pipeline) -> Pipeline:
    assert pipe.reranker is not None
    return replace(pipe, reranker=replace(pipe.reranker, weight=float("inf")))


def _measured(pipe: Pipeline, cases: Cases, resamples: Resamples) -> dict[str, Measured]:
    nothing = Catalogue(np.zeros(cases.n_items, dtype=np.int32), np.zeros((cases.n_items, 1), dtype=np.float32))
    ranking = rank_cases(of_pipeline(pipe), cases, nothing, LONGEST)
    values = measure(ranking, [metric_named(one) for one in METRICS])
    return resamples.means({one: np.asarray(values[one], dtype=np.float64) for one in METRICS})


def page(name: str, result: dict[str, Any]) -> str:
    """The decision, its pictures and its numbers as one page."""
    gate = result["gate"]
    said = "published" if gate["published"] else "not published: " + "; ".join(gate["why"])
    rows = "".join(
        f"<tr><td>{html.escape(system)}{kind}</td>{''.join(_cell(found[one]) for one in METRICS)}</tr>"
        for key, kind in (("systems", ""), ("alone", ", its reading alone"))
        for system, found in result[key].items()
    )
    rows += "<tr><td>learned less supervised</td>" + "".join(
        _cell(one and {"value": one["difference"], "ci95": one["ci95"]}) for one in gate["comparisons"].values()
    )
    style = "body{font:15px/1.5 sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#1d2129}"
    style += "table{border-collapse:collapse;font-size:13px}td,th{padding:.25rem .6rem;border-bottom:1px solid #e0e3e8}"
    style += "div{overflow-x:auto}svg{max-width:100%;height:auto}"
    heads = "".join(f"<th>{one}</th>" for one in METRICS)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(name)}: learned model</title>'
        f"<style>{style}</style><h1>{html.escape(name)}: a model trained on by preferences</h1>"
        f"<p><b>{html.escape(said)}</b></p>{_picture(result)}"
        f"<p>Re-ranked lists of {result['users']} test people, 95 % intervals. The reading counts with the weight "
        f"{html.escape(str(result['weights']))}, chosen on validation.</p>"
        f"<div><table><tr><th>model</th>{heads}</tr>{rows}</tr></table></div></html>\n"
    )


def _cell(found: dict[str, Any] | None) -> str:
    if found is None or found["value"] is None:
        return "<td>-</td>"
    ends = "" if found["ci95"] is None else f"<br>[{found['ci95'][0]:.4f}, {found['ci95'][1]:.4f}]"
    return f"<td>{found['value']:.4f}{ends}</td>"


def _picture(result: dict[str, Any]) -> str:
    """The order of validation lists and the divergence after each pass."""
    with drawing("learning", (7.6, 2.8), columns=2) as (figure, axes):
        epochs = [row["epoch"] for row in result["curve"]]
        for axis, key, title in (
            (axes[0], "ndcg", "NDCG@10 of valid lists"),
            (axes[1], "divergence", "divergence, nats"),
        ):
            axis.plot(epochs, [row[key] for row in result["curve"]], "o-", color=SERIES[0], markersize=4)
            axis.set_title(title)
            axis.set_xlabel("pass")
        return alone(as_svg(figure))
