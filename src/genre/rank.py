"""Stage: choose the sources' settings, learn how to combine them, and fit them for serving."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from genre import arranging
from genre.candidates import Candidates
from genre.cases import Cases
from genre.clock import times
from genre.component import describe, name_of
from genre.config import Config
from genre.data import Dataset, Log
from genre.errors import GenreError
from genre.featurestates import fit_features
from genre.files import replacing_folder, seal, write_json
from genre.pipeline import FORMAT, Pipeline, named, read_by
from genre.progress import progress
from genre.reranking import Reranker, fit_reranker
from genre.resources import hash_of, load_model, model_hash, resources_of, text_settings
from genre.run import Run
from genre.searching import Built, build, file_of, vectors_of
from genre.states import save_state
from genre.systems import Catalogue, longest_list, mean, measure, metric_named, of_pipeline, rank_cases
from genre.tuning import CRITERION, Tuned, Tuner
from genre.types import Bools, Recommender, State

MOST_HELD = 2000
"""Cases held out to measure the scorer on; half of them where there are few."""

MOST_VALUES = 1 << 28
"""Most scores and features held while the scorer is fitted: a gigabyte, a few times that at work."""

BLOCK_CELLS = 1 << 22
"""Most people times items that sources are asked of at a time while the scorer is fitted."""


def rank(config: Config, run: Run) -> None:
    """Fit the pipeline of ``config``: settings and scorer on validation, sources then on training and validation.

    Raises `GenreError` when a source cannot be fitted.
    """
    if config.model.formulation.reads == "rows":
        raise GenreError(
            "model.formulation is text, which recommends nothing: there is nothing to rank, go on to evaluate"
        )
    data = Dataset.load(run.path("data"))
    arranging.check(named(config.pipeline.rerankers), resources_of(config, data, None))
    section = TypeAdapter(Config).dump_python(config, mode="json")["pipeline"]
    inputs = {
        "data": data.hash,
        "model": model_hash(run),
        "text": text_settings(config),
        # What arranges a list comes after all that is fitted here.
        "pipeline": {name: part for name, part in section.items() if name != "rerankers"},
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
            features=read_by(config.pipeline),
        )
        draft = fit_sources(draft, tune.log, advance)
        draft = replace(draft, feature_states=fit_features(draft.features, tune.log, resources))
        asked = Cases.of(Log.of(data), "valid", config.evaluate.candidates)
        scorers = {"scorer": fit_scorer(draft, asked, tune.catalogue, config.seed)}
        before = load_model(run, data, "before")
        if before is not None and any(name_of(source) == "model" for source in sources.values()):
            earlier = replace(draft, resources=replace(resources, model=before))
            # With nothing fine-tuned both are one model, and one scorer is right for both.
            one = hash_of(run, "before") == hash_of(run, "finetuned")
            fitted = scorers["scorer"] if one else fit_scorer(earlier, asked, tune.catalogue, config.seed)
            scorers["scorer_before"] = fitted
        rerankers = {}
        if config.pipeline.rerank is not None:
            scored = replace(draft, scorer_state=scorers["scorer"].state)
            models = {"finetuned": model, "before": before}
            rerankers = {v: _rerank(config, scored, one, tune.cases) for v, one in models.items() if one is not None}
        past = Log.of(data).parts("train", "valid")
        final = fit_sources(draft, past, advance)
        final = replace(final, feature_states=fit_features(draft.features, past, resources))
        indexes = build_indexes(final, config, tune.cases)
    _save(folder, final, tuned, scorers, (rerankers, indexes), {"data": data.hash, "model": model_hash(run)})
    for name, built in indexes.items():
        print(f"{name}: {built.sentence}")


@times("build indexes")
def build_indexes(pipeline: Pipeline, config: Config, cases: Cases) -> dict[str, Built]:
    """An index for each source that scores by vectors, tried on what validation asks."""
    built: dict[str, Built] = {}
    for name, source in pipeline.sources.items():
        vectors = vectors_of(source, pipeline.states[name], pipeline.resources)
        if vectors is not None:
            k = getattr(source, "top_k", None) or len(vectors.items)
            built[name] = build(config.pipeline.index, vectors, cases.histories, k, config.seed)
    return built


MOST_READ = 20_000
"""Pairs that are read to choose how much the reading counts."""


@times("choose reranking")
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


@times("fit sources")
def fit_sources(pipeline: Pipeline, log: Log, advance: Any = lambda done: None) -> Pipeline:
    """The pipeline with its sources fitted on ``log``."""
    states = {}
    for name, source in pipeline.sources.items():
        states[name] = source.fit(log, pipeline.resources)
        advance(1)
    return replace(pipeline, states=states)


@dataclass(frozen=True)
class FittedScorer:
    """A scorer's state, and what it was learned from."""

    state: State
    facts: dict[str, Any]
    """Cases and targets asked, targets that some source retrieved (no scorer can find the others), candidates, the
    criterion on cases held out, and the share of each column in what the scorer says."""


@times("fit scorer")
def fit_scorer(pipeline: Pipeline, cases: Cases, catalogue: Catalogue, seed: int) -> FittedScorer:
    """The scorer fitted on as many cases as it wants and memory allows.

    A part of them is held out first, to say how good the scorer is on people it has not learned from; then all teach.
    """
    scorer = pipeline.scorer
    cases = cases.sample(max(1, scorer.most_people), seed)
    held = np.zeros(len(cases), dtype=bool)
    held[np.random.default_rng(seed).permutation(len(cases))[: min(MOST_HELD, len(cases) // 2)]] = True
    parts = [examples(pipeline, cases.take(np.flatnonzero(some)), seed) for some in (~held, held) if some.any()]
    candidates, chosen, facts = parts[0]
    early = replace(pipeline, scorer_state=scorer.fit(candidates, chosen), reranker=None)
    valid = _held_out(early, cases.take(np.flatnonzero(held)), catalogue) if held.any() else None
    candidates = Candidates.joined([one for one, _, _ in parts])
    state = scorer.fit(candidates, np.concatenate([chosen for _, chosen, _ in parts]))
    facts = {name: sum(counts[name] for _, _, counts in parts) for name in facts}
    columns = [*candidates.scores, *candidates.features]
    shares = dict(zip(columns, scorer.shares(state).tolist(), strict=True))
    ordered = {name: round(share, 6) for name, share in sorted(shares.items(), key=lambda one: -one[1])}
    return FittedScorer(state, {**facts, "held_out": valid, "shares": ordered})


def _held_out(pipeline: Pipeline, cases: Cases, catalogue: Catalogue) -> dict[str, Any]:
    """The criterion of the pipeline on cases that its scorer has not learned from."""
    metric = metric_named(CRITERION)
    ranking = rank_cases(of_pipeline(pipeline), cases, catalogue, longest_list([metric]))
    return {"cases": len(cases), CRITERION: mean(measure(ranking, [metric])[CRITERION])}


def examples(pipeline: Pipeline, cases: Cases, seed: int) -> tuple[Candidates, Bools, dict[str, int]]:
    """What a scorer learns from: candidates of the cases with the features it reads, which of them came next, counts.

    People of whom no source retrieved what came next teach nothing and are left out; of the others it gets as many
    candidates as it wants.
    """
    made: list[tuple[Candidates, Bools]] = []
    facts: dict[str, int] = {"cases": 0, "targets": 0, "retrieved": 0, "candidates": 0}
    for block in cases.blocks(BLOCK_CELLS):
        candidates, trace = pipeline.retrieve(block.histories, None if block.shown is None else block.allowed())
        trace.insist()
        chosen = candidates.holds(block.targets)
        counts = (len(block), sum(len(one) for one in block.targets), int(chosen.sum()), len(candidates))
        facts = {name: facts[name] + n for name, n in zip(facts, counts, strict=True)}
        made.append(_taught(pipeline, candidates, chosen, block, seed))
        if sum(len(one) * (len(one.scores) + len(one.features)) for one, _ in made) > MOST_VALUES:
            break
    return Candidates.joined([one for one, _ in made]), np.concatenate([chosen for _, chosen in made]), facts


def _taught(
    pipeline: Pipeline, candidates: Candidates, chosen: Bools, block: Cases, seed: int
) -> tuple[Candidates, Bools]:
    """The candidates of people with a chosen one, with features, thinned to the negatives that the scorer wants."""
    useful = candidates.total(chosen.astype(np.float32)) > 0
    candidates, chosen = candidates.of_people(useful), chosen[useful[candidates.owner]]
    candidates = pipeline.described(candidates, block.histories.take(np.flatnonzero(useful)))
    if pipeline.scorer.negatives is None:
        return candidates, chosen
    kept = candidates.thinned(chosen, pipeline.scorer.negatives, seed)
    return candidates.keep(kept), chosen[kept]


@times("write")
def _save(
    folder: Path,
    pipeline: Pipeline,
    tuned: dict[str, Tuned],
    scorers: dict[str, FittedScorer],
    further: tuple[dict[str, Any], dict[str, Built]],
    of: dict,
) -> None:
    rerankers, indexes = further
    settings = {
        name: {"source": describe(one.source), "trials": one.trials, "valid": one.valid}
        | ({"index": indexes[name].facts} if name in indexes else {})
        for name, one in tuned.items()
    }
    with replacing_folder(folder) as aside:
        (aside / "sources").mkdir()
        for name, state in pipeline.states.items():
            save_state(aside / "sources" / f"{name}.safetensors", state)
        (aside / "features").mkdir()
        for name, state in pipeline.feature_states.items():
            save_state(aside / "features" / f"{name}.safetensors", state)
        for name, fitted in scorers.items():
            save_state(aside / f"{name}.safetensors", fitted.state)
            write_json(aside / f"{name}.json", fitted.facts)
        (aside / "indexes").mkdir()
        for name, built in indexes.items():
            if built.state:
                save_state(file_of(aside, name), built.state)
        for version, found in rerankers.items():
            write_json(aside / f"rerank_{version}.json", found)
        write_json(aside / "settings.json", settings)
        seal(aside, FORMAT, **of)
