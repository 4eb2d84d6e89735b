"""From a query to a slate: sources, merge, filters, scorer, predictions. Evaluating and serving run the same path."""

from __future__ import annotations

import difflib
import itertools
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from genre.additions import Index
from genre.arranging import arrange, arranged_table, width_of
from genre.candidates import Candidates
from genre.component import Slot, name_of
from genre.config import Config, PipelineSection
from genre.data import Dataset, Histories, Log
from genre.errors import GenreError, RunError
from genre.features import Feature
from genre.featurestates import with_features
from genre.files import unseal
from genre.filters import Filter
from genre.indexes import Search
from genre.ranking import top_lists
from genre.rerankers import ListReranker
from genre.reranking import Reranker
from genre.resources import Version, load_model, model_hash, resources_of
from genre.retrieving import Passes, Said, Trace, merged, retrieve, taken_out
from genre.run import Run
from genre.scorers import Scorer
from genre.searching import opened
from genre.slates import predicted, slate_of
from genre.sources import Resources, Source, Vectors
from genre.states import load_state
from genre.types import Bools, Floats, Ints, Query, Recommender, Slate, State

FORMAT = 2
"""Version of the layout of the folder that `genre rank` writes."""

FEW = 4
"""People up to whom tables of people times items cost more than they save."""

T = TypeVar("T")


@dataclass(frozen=True)
class Pipeline:
    """A fitted recommender: give it queries, or histories."""

    data: Dataset
    resources: Resources
    sources: dict[str, Source]
    states: dict[str, State]
    filters: dict[str, Filter]
    scorer: Scorer
    scorer_state: State
    features: dict[str, Feature] = field(default_factory=dict)
    """What the scorer reads beside scores; none for a scorer that reads scores alone."""
    feature_states: dict[str, State] = field(default_factory=dict)
    heads: tuple[str, ...] = ()
    """Tasks of the model whose predictions a slate shows."""
    searches: dict[str, Search] = field(default_factory=dict)
    """Indexes of the sources that have one, by name; the others score all items."""
    reranker: Reranker | None = None
    """What orders the top anew; none where ``pipeline.rerank`` is not set."""
    rerankers: dict[str, ListReranker] = field(default_factory=dict)
    """What arranges the list after that, one after another."""

    @classmethod
    def load(
        cls, folder: Path | str, version: Version = "finetuned", added: bool = True, form: str | None = None
    ) -> Pipeline:
        """The pipeline of a run folder, with the items that were ``added`` to it since, or as it was trained.

        ``form`` is one that `genre compress` made; it reads texts in the language model's place.

        Raises `RunError` when a stage is missing, damaged or older than another.
        """
        run = Run.open(folder)
        data = Dataset.load(run.path("data"))
        ranked = run.path("rank")
        manifest = unseal(ranked, FORMAT, "genre rank")
        for stage, current in (("data", data.hash), ("model", model_hash(run))):
            if manifest[stage] != current:
                raise RunError(f"{ranked}: was made from another {stage} than the one here; run 'genre rank' again")
        settings = json.loads((ranked / "settings.json").read_text(encoding="utf-8"))
        built = {name: Slot("sources").build(found["source"]) for name, found in settings.items()}
        states = {name: load_state(ranked / "sources" / f"{name}.safetensors") for name in built}
        features = read_by(run.config.pipeline)
        feature_states = {name: load_state(ranked / "features" / f"{name}.safetensors") for name in features}
        model = load_model(run, data, version, form)
        if added and (index := Index.of(run, data)) is not None:
            data, model = index.joined, index.grow(model, version)
            built, states = index.extend(built, states)
            features, feature_states = index.extend_features(features, feature_states)
        scorer = ranked / ("scorer.safetensors" if version == "finetuned" else "scorer_before.safetensors")
        if run.config.pipeline.rerank is not None:
            scorer = ranked / "scorer.safetensors"
        if not scorer.exists():
            raise RunError(f"{ranked}: no source uses the model, so there is no pipeline 'before'")
        resources = resources_of(run.config, data, model)
        return cls(
            data=data,
            resources=resources,
            sources=built,
            states=states,
            filters=named(run.config.pipeline.filters),
            scorer=run.config.pipeline.scorer,
            scorer_state=load_state(scorer),
            features=features,
            feature_states=feature_states,
            heads=_shown(model),
            searches=opened(ranked, settings, built, states, resources),
            reranker=_reranker(run.config, model, ranked / f"rerank_{version}.json"),
            rerankers=named(run.config.pipeline.rerankers),
        )

    @cached_property
    def log(self) -> Log:
        """The interactions as arrays."""
        return Log.of(self.data)

    @cached_property
    def item_ids(self) -> list[str]:
        """Id of every row of the items table."""
        return self.data.items["item_id"].to_pylist()

    @cached_property
    def titles(self) -> list[str]:
        """Title of every row of the items table, its id where it has none."""
        return [title or item for title, item in zip(self.data.items["title"].to_pylist(), self.item_ids, strict=True)]

    @cached_property
    def _item_rows(self) -> dict[str, int]:
        return {item: row for row, item in enumerate(self.item_ids)}

    @cached_property
    def _user_rows(self) -> dict[str, int]:
        return {user: row for row, user in enumerate(self.data.users["user_id"].to_pylist())}

    @cached_property
    def _histories(self) -> Histories:
        return Histories.of(self.log)

    def recommend(self, queries: Sequence[Query], block: int = 512) -> list[Slate]:
        """A slate for each query. Raises `GenreError` for an unknown id, or when every source fails."""
        slates: list[Slate] = []
        for i in range(0, len(queries), block):
            slates += self._answer(queries[i : i + block])
        return slates

    def score_block(self, histories: Histories, within: Bools | None = None) -> tuple[Floats, Trace]:
        """Final score of every item for each person, ``[people, items]``, -inf for what would not be shown.

        ``within`` names the items to rank, as in an impression, instead of the candidates that passed the filters.
        """
        candidates, said, trace = self._scored(histories, within)
        with trace.timed("scorer"):
            final = candidates.spread(said, self.data.items.num_rows)
        if self.reranker is not None and self.reranker.weight:
            with trace.timed("rerank"):
                final = self.reranker.apply(final, histories)
        return arranged_table(self.rerankers, final, histories, self.resources, trace), trace

    def _scored(self, histories: Histories, within: Bools | None = None) -> tuple[Candidates, Floats, Trace]:
        candidates, trace = self.retrieve(histories, within)
        with trace.timed("features"):
            candidates = self.described(candidates, histories)
        with trace.timed("scorer"):
            return candidates, self.scorer.score(self.scorer_state, candidates), trace

    def _top(self, histories: Histories, k: int) -> tuple[Ints, Floats, Trace]:
        """The best ``k`` for each person, -1 where there are fewer, with their scores: ``[people, k]``."""
        if self.reranker is None or not self.reranker.weight:
            candidates, said, trace = self._scored(histories)
            width = width_of(self.rerankers, k, int(np.diff(candidates.offsets).max(initial=0)))
            lists, scores = candidates.top(said, width)
            lists, scores = arrange(self.rerankers, lists, scores, histories, self.resources, trace)
            return lists[:, :k], scores[:, :k], trace
        scores, trace = self.score_block(histories)
        lists = top_lists(scores, np.isfinite(scores), k)
        return lists, np.take_along_axis(scores, np.maximum(lists, 0), 1), trace

    def described(self, candidates: Candidates, histories: Histories) -> Candidates:
        """The candidates with the features that the scorer reads."""
        return with_features(candidates, self.features, self.feature_states, histories, self.resources)

    def anew(self, histories: Histories, candidates: Candidates) -> tuple[Candidates, Trace]:
        """The same candidates with all that is said of them for other ``histories`` of as many people."""
        trace, owner, item = Trace(), candidates.owner, candidates.item
        said = {name: self._said(name, source, histories, trace) for name, source in self.sources.items()}
        scores = {
            name: np.asarray(one.of(owner, item.astype(np.int64)), dtype=np.float32) for name, one in said.items()
        }
        return self.described(replace(candidates, scores=scores), histories), trace

    def retrieve(self, histories: Histories, within: Bools | None = None) -> tuple[Candidates, Trace]:
        """What may be shown to each person, with the sources' scores, and what happened on the way.

        Candidates are what some source retrieved and every filter let pass, or what ``within`` says.
        """
        if within is None and (self.searches or len(histories) <= FEW):
            return self._by_pairs(histories)
        trace, scores = Trace(), {}
        keep: dict[str, Bools] = {}
        for name, rule in self.filters.items():
            with trace.timed(f"filters.{name}"):
                keep[name] = rule.keep(histories, self.data.items)
        shape = (len(histories), self.data.items.num_rows)
        kept = np.logical_and.reduce([*keep.values(), np.ones(shape, dtype=bool)])
        allowed, walked = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
        for name, source in self.sources.items():
            with trace.timed(f"sources.{name}"):
                scores[name] = self._ask(name, source, histories, trace)
                reached, trace.lists[name] = _candidates(scores[name], kept, getattr(source, "top_k", None))
                allowed |= reached & kept
                walked |= reached & ~kept
        self._insist_on_one(trace)
        for name, mask in keep.items():
            trace.removed[name] = (walked & ~mask).sum(1).astype(np.int32)
            walked &= mask
        return Candidates.of(allowed if within is None else within, scores), trace

    def _by_pairs(self, histories: Histories) -> tuple[Candidates, Trace]:
        """The same without tables of people times items, and through an index where there is one."""
        trace, b, n = Trace(), len(histories), self.data.items.num_rows
        rules = {name: self._rule(name, rule, histories, trace) for name, rule in self.filters.items()}
        spare = int(histories.lengths.max(initial=0)) if rules else 0

        def passes(owner: Any, item: Any) -> Bools:
            return np.logical_and.reduce(
                [*(one(owner, item) for one in rules.values()), np.ones(len(item), dtype=bool)]
            )

        said, found = {}, []
        for name, source in self.sources.items():
            with trace.timed(f"sources.{name}"):
                said[name] = self._said(name, source, histories, trace)
                found.append(retrieve(said[name], passes, getattr(source, "top_k", None) or n, spare))
                trace.lists[name] = found[-1].lists
        self._insist_on_one(trace)
        trace.removed = taken_out(found, rules, b, n)
        return merged(said, found, b, n), trace

    def _rule(self, name: str, rule: Filter, histories: Histories, trace: Trace) -> Passes:
        among, items = getattr(rule, "among", None), self.data.items
        if among is None:
            with trace.timed(f"filters.{name}"):
                table = rule.keep(histories, items)
            return lambda owner, item: table[owner, item]

        def passes(owner: Any, item: Any) -> Bools:
            with trace.timed(f"filters.{name}"):
                return among(histories, items, owner, item)

        return passes

    def _said(self, name: str, source: Source, histories: Histories, trace: Trace) -> Said:
        """What a source says, through its index if it has one; a failure costs its candidates, not the answer."""
        search = self.searches.get(name)
        if search is None:
            return Said.scores(self._ask(name, source, histories, trace))
        try:
            vectors: Vectors = source.vectors(self.states[name], self.resources)  # type: ignore[attr-defined]
            said = Said.through(search, vectors, np.asarray(vectors.of(histories), dtype=np.float32))
        except Exception as error:
            trace.failed[name] = f"{type(error).__name__}: {error}"
            said = Said.scores(np.zeros((len(histories), self.data.items.num_rows), dtype=np.float32))
        trace.silent[name] = said.silent
        return said

    def _insist_on_one(self, trace: Trace) -> None:
        if len(trace.failed) == len(self.sources):
            raise GenreError("every source failed: " + "; ".join(f"{k}: {why}" for k, why in trace.failed.items()))

    def _ask(self, name: str, source: Source, histories: Histories, trace: Trace) -> Floats:
        """Scores of one source; a failure costs its candidates, not the answer, and scores that are not finite sink."""
        shape = (len(histories), self.data.items.num_rows)
        try:
            scores = np.asarray(source.score(self.states[name], histories, self.resources), dtype=np.float32)
            if scores.shape != shape:
                raise ValueError(f"gave scores of shape {scores.shape} instead of {shape}")
        except Exception as error:
            trace.failed[name] = f"{type(error).__name__}: {error}"
            scores = np.zeros(shape, dtype=np.float32)
        finite = np.isfinite(scores)
        if not finite.all():
            lowest = np.where(finite, scores, np.inf).min(1, keepdims=True)
            scores = np.where(finite, scores, np.where(np.isfinite(lowest), lowest, 0.0)).astype(np.float32)
        trace.silent[name] = scores.max(1) == scores.min(1)
        return scores

    def changed(self, **parts: Any) -> Pipeline:
        """The pipeline with other ``parts``, such as filters; what it has read of the data is not read again."""
        made, given = replace(self, **parts), {one.name for one in fields(self)}
        made.__dict__.update({name: value for name, value in self.__dict__.items() if name not in given})
        return made

    def _answer(self, queries: Sequence[Query]) -> list[Slate]:
        started = time.perf_counter()
        histories = self.hydrate(queries)
        return self.answer(queries, histories, time.perf_counter() - started)

    def answer(self, queries: Sequence[Query], histories: Histories, hydrate: float = 0.0) -> list[Slate]:
        """A slate for each query, whose person's history, and text, are those of ``histories``."""
        best, scores, trace = self._top(histories, max(query.k for query in queries))
        lists = [row[row >= 0][: query.k] for row, query in zip(best, queries, strict=True)]
        with trace.timed("predictions"):
            predictions = predicted(self.resources.model, self.heads, histories, lists, trace)
        seconds = {"hydrate": hydrate, **trace.seconds}
        return [
            slate_of(one, i, self.item_ids, lists[i], scores[i], predictions, trace, seconds)
            for i, one in enumerate(queries)
        ]

    def hydrate(self, queries: Sequence[Query]) -> Histories:
        """One history a query: the one given, else that of the user in the data; a text comes with either, or alone."""
        parts = [self._history(query) for query in queries]
        whole = Histories.joined(parts)
        return replace(whole, texts=tuple(query.text or None for query in queries))

    def _history(self, query: Query) -> Histories:
        if query.k < 1:
            raise GenreError(f"k is {query.k}; a slate has at least one place")
        if query.history is not None:
            return Histories.of_items([[self.item_row(item) for item in query.history]])
        if query.user_id in self._user_rows:
            return self._histories.take(np.array([self._user_rows[query.user_id]]))
        if query.user_id is not None and not query.text:
            mend = "or give a history or a text, for a person whom the data do not hold"
            raise GenreError(f"no user '{query.user_id}'; {_near(query.user_id, self._user_rows)}, {mend}")
        return Histories.of_items([[]])

    def item_row(self, item: str) -> int:
        """Row of an item in the items table. Raises `GenreError` for an unknown one."""
        if item not in self._item_rows:
            raise GenreError(f"no item '{item}'; {_near(item, self._item_rows)}")
        return self._item_rows[item]


def read_by(section: PipelineSection) -> dict[str, Feature]:
    """The features that the pipeline's scorer reads, by name: none where it reads scores alone."""
    return named(section.features) if section.scorer.reads == "features" else {}


def _shown(model: Any) -> tuple[str, ...]:
    """The heads that say a number about a person and an item."""
    heads = {} if model is None else model.heads
    return tuple(name for name, head in heads.items() if head.predicts in ("ranking", "binary", "regression"))


def _reranker(config: Config, model: Recommender | None, fitted: Path) -> Reranker | None:
    rerank = config.pipeline.rerank
    if rerank is None or model is None or not fitted.exists():
        return None
    weight = float(json.loads(fitted.read_text(encoding="utf-8"))["weight"])
    return Reranker(model, rerank.head, rerank.top, weight)


def named(components: Sequence[T]) -> dict[str, T]:
    """Components by name; the second of a name is called ``name_2``."""
    result: dict[str, T] = {}
    for one in components:
        name = name_of(one).rpartition(":")[2]
        later = (f"{name}_{i}" for i in itertools.count(2))
        result[name if name not in result else next(n for n in later if n not in result)] = one
    return result


def _candidates(scores: Floats, kept: Bools, top_k: int | None) -> tuple[Bools, Ints]:
    """What a source ranks at least as high as the last of its ``top_k`` items that may be shown, and those items.

    Items at a person's lowest score are none of its candidates: of them the source has nothing to say.
    """
    above = scores > scores.min(1, keepdims=True)
    lists = top_lists(scores, kept & above, top_k or scores.shape[1])
    reached = np.zeros(scores.shape, dtype=bool)
    people, places = np.nonzero(lists >= 0)
    reached[people, lists[people, places]] = True
    full = (lists >= 0).all(1)
    last = np.where(full, scores[np.arange(len(scores)), lists[:, -1]], -np.inf)
    return reached | (above & ~kept & (scores >= last[:, None])), lists


def _near(word: str, known: Iterable[str]) -> str:
    """A known id like ``word``, or a few to show what ids look like."""
    known = list(known)
    near = difflib.get_close_matches(word, known, n=1)
    return f"did you mean '{near[0]}'?" if near else f"the data hold {len(known)}, such as {', '.join(known[:3])}"
