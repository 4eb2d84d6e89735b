"""What a compressed language model loses where it reads the top of a slate again."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from genre.cases import Cases
from genre.comparisons import Measured, Resamples
from genre.compression.compressed import CompressedTexts
from genre.compression.formjudges import Part, loss_of
from genre.compression.forms import Served
from genre.config import Config
from genre.data import Dataset, Log
from genre.errors import GenreError
from genre.featurestates import fit_features
from genre.pipeline import Pipeline
from genre.run import Run
from genre.sheets import SheetMaker
from genre.systems import Catalogue, measure, metric_named, of_pipeline, rank_cases
from genre.textmodel import PairReader, TextTaskModel

MOST_READ = 20_000
"""Pairs that are read of a part to measure a form."""
METRIC = "ndcg@10"


@dataclass
class PairJudge:
    """The lists of the run's pipeline, whose top a `cross` model orders anew, when the form reads it."""

    config: Config
    run: Run
    data: Dataset
    model: TextTaskModel
    whole: Served
    """The language model before any step."""
    _known: dict[Part, tuple[Measured, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.log = Log.of(self.data)
        served = Pipeline.load(self.run.folder, added=False)
        if served.reranker is None or not served.reranker.weight:
            raise GenreError(
                "reading the top again counts for nothing in this run (its weight on validation is 0), so that there "
                "is nothing that a compressed language model could lose; recommend without it"
            )
        train = self.log.parts("train")
        self.catalogue = Catalogue.of(train, served.resources)
        # What is judged on validation has not seen it.
        early = replace(
            served,
            states={name: source.fit(train, served.resources) for name, source in served.sources.items()},
            feature_states=fit_features(served.features, train, served.resources),
            searches={},
        )
        self.reranker = served.reranker
        self.pipelines: dict[Part, Pipeline] = {"valid": early, "test": served}

    def texts(self) -> list[str]:
        """See `Judge`."""
        whole: Any = self.whole
        made = SheetMaker(self.config.model, whole, self.data, self.config.seed, self.config.train.shots)
        return list(dict.fromkeys(prompt.text for prompt in made.part("train").prompts))

    def count(self) -> int:
        """See `Judge`."""
        return sum(len(self._cases(part)) * self.reranker.top for part in ("valid", "test"))

    def losses(self, form: Served, part: Part) -> dict[str, Any]:
        """See `Judge`."""
        if part not in self._known:
            self._known[part] = self._measured(self.whole, part)
        return {METRIC: loss_of(self._measured(form, part), self._known[part], larger=True)}

    def _cases(self, part: Part) -> Cases:
        cases = Cases.of(self.log, part, self.config.evaluate.candidates)
        return cases.sample(max(1, MOST_READ // self.reranker.top), self.config.seed)

    def _measured(self, form: Served, part: Part) -> tuple[Measured, int]:
        reader = PairReader(CompressedTexts.of(self.model, form), self.data)
        cases, pipeline = self._cases(part), self.pipelines[part]
        pipeline = replace(pipeline, reranker=replace(self.reranker, model=reader))
        ranking = rank_cases(of_pipeline(pipeline), cases, self.catalogue, 10)
        resamples = Resamples.of(cases.user, self.config.evaluate.bootstrap, self.config.seed)
        return resamples.means(measure(ranking, [metric_named(METRIC)]))[METRIC], resamples.n_groups
