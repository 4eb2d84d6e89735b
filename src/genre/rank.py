"""Stage: choose the sources' settings, learn how to combine them, and fit them for serving."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from genre.cases import Cases
from genre.component import describe, name_of
from genre.config import Config
from genre.data import Dataset, Log
from genre.errors import GenreError
from genre.files import replacing_folder, seal, write_json
from genre.pipeline import FORMAT, Pipeline, named
from genre.progress import progress
from genre.reranking import Reranker, fit_reranker
from genre.resources import load_model, model_hash, resources_of, text_settings
from genre.run import Run
from genre.states import save_state
from genre.tuning import CRITERION, Tuned, Tuner
from genre.types import Floats, Recommender, State

MOST_CELLS = 1 << 26
"""Most scores held at a time while the scorer is fitted: a quarter of a gigabyte, a few times that at work."""


def rank(config: Config, run: Run) -> None:
    """Fit the pipeline of ``config``: settings and scorer on validation, sources then on training and validation.

    Raises `GenreError` when a source cannot be fitted.
    """
    if config.model.formulation.reads == "rows":
        raise GenreError(
            "model.formulation is text, which recommends nothing: there is nothing to rank, go on to evaluate"
        )
    data = Dataset.load(run.path("data"))
    inputs = {
        "data": data.hash,
        "model": model_hash(run),
        "text": text_settings(config),
        "pipeline": TypeAdapter(Config).dump_python(config, mode="json")["pipeline"],
        "candidates": config.evaluate.candidates,
        "seed": config.seed,
    }
    run.do("rank", inputs, lambda folder: _rank(config, run, data, folder))


def _rank(config: Config, run: Run, data: Dataset, folder: Path) -> None:
    model = load_model(run, data)
    resources = resources_of(config, data, model)
    tune = Tuner.of(config, run, data, resources)
    sources = named(config.pipeline.sources)
    with progress("rank", 3 * len(sources)) as advance:
        tuned: dict[str, Tuned] = {}
        for name, source in sources.items():
            tuned[name] = tune.tune(source)
            advance(1)
        draft = Pipeline(
            data=data,
            resources=resources,
            sources={name: one.source for name, one in tuned.items()},
            states={},
            filters=named(config.pipeline.filters),
            scorer=config.pipeline.scorer,
            scorer_state={},
        )
        draft = fit_sources(draft, tune.log, advance)
        scorers = {"scorer": fit_scorer(draft, tune.cases, config.seed)}
        before = load_model(run, data, "before")
        if before is not None and any(name_of(source) == "model" for source in sources.values()):
            earlier = replace(draft, resources=replace(resources, model=before))
            scorers["scorer_before"] = fit_scorer(earlier, tune.cases, config.seed)
        rerankers = {}
        if config.pipeline.rerank is not None:
            scored = replace(draft, scorer_state=scorers["scorer"])
            models = {"finetuned": model, "before": before}
            rerankers = {v: _rerank(config, scored, one, tune.cases) for v, one in models.items() if one is not None}
        final = fit_sources(draft, Log.of(data).parts("train", "valid"), advance)
    _save(folder, final, tuned, scorers, rerankers, {"data": data.hash, "model": model_hash(run)})


MOST_READ = 20_000
"""Pairs that are read to choose how much the reading counts."""


def _rerank(config: Config, pipeline: Pipeline, model: Recommender, cases: Cases) -> dict[str, Any]:
    """How much a cross model's reading counts beside the scorer, chosen on validation."""
    rerank = config.pipeline.rerank
    assert rerank is not None
    some = cases.sample(max(1, MOST_READ // rerank.top), config.seed)
    scores, trace = pipeline.score_block(some.histories, None if some.shown is None else some.allowed())
    trace.insist()
    fitted, tried = fit_reranker(Reranker(model, rerank.head, rerank.top), scores, some)
    # JSON has no infinity, which is the weight of a reading that alone decides.
    return {"weight": str(fitted.weight), CRITERION: tried, "cases": len(some)}


def fit_sources(pipeline: Pipeline, log: Log, advance: Any = lambda done: None) -> Pipeline:
    """The pipeline with its sources fitted on ``log``."""
    states = {}
    for name, source in pipeline.sources.items():
        states[name] = source.fit(log, pipeline.resources)
        advance(1)
    return replace(pipeline, states=states)


def fit_scorer(pipeline: Pipeline, cases: Cases, seed: int) -> State:
    """The scorer fitted on as many cases as memory allows; targets that no source retrieved teach it nothing."""
    most = max(1, MOST_CELLS // (cases.n_items * len(pipeline.sources)))
    cases = cases.sample(most, seed)
    scores, allowed = _retrieve(pipeline, cases)
    targets = [items[allowed[i, items]] for i, items in enumerate(cases.targets)]
    useful = [i for i, items in enumerate(targets) if len(items)]
    rows = useful or list(range(len(cases)))
    picked = {name: values[rows] for name, values in scores.items()}
    return pipeline.scorer.fit(picked, allowed[rows], [targets[i] for i in rows])


def _retrieve(pipeline: Pipeline, cases: Cases) -> tuple[dict[str, Floats], Any]:
    scores, allowed, trace = pipeline.retrieve(cases.histories)
    trace.insist()
    return scores, allowed if cases.shown is None else cases.allowed()


def _save(
    folder: Path,
    pipeline: Pipeline,
    tuned: dict[str, Tuned],
    scorers: dict[str, State],
    rerankers: dict[str, Any],
    of: dict,
) -> None:
    settings = {
        name: {"source": describe(one.source), "trials": one.trials, "valid": one.valid} for name, one in tuned.items()
    }
    with replacing_folder(folder) as aside:
        (aside / "sources").mkdir()
        for name, state in pipeline.states.items():
            save_state(aside / "sources" / f"{name}.safetensors", state)
        for name, state in scorers.items():
            save_state(aside / f"{name}.safetensors", state)
        for version, found in rerankers.items():
            write_json(aside / f"rerank_{version}.json", found)
        write_json(aside / "settings.json", settings)
        seal(aside, FORMAT, **of)
