"""The systems that an evaluation compares: the pipeline, the model before and after fine-tuning, the baselines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from genre.component import Slot, describe
from genre.config import Config
from genre.data import Dataset, Log
from genre.pipeline import Pipeline, named
from genre.resources import load_model, resources_of
from genre.run import Run
from genre.sources import Resources, Source
from genre.systems import Score, of_pipeline, of_source
from genre.tuning import Tuned, Tuner
from genre.types import State

WHAT = {
    "genre": "the whole pipeline: sources, filters, scorer, and where it is set the top read again",
    "genre_before": "the same pipeline with the model as it was before its language model was fine-tuned",
    "retrieved": "the same pipeline without reading its top again",
    "unarranged": "the same pipeline without its rerankers",
    "model": "the fine-tuned model alone",
    "model_before": "the model before its language model was fine-tuned; all else was trained",
    "pretrained": "the language model as it came: items near in meaning to the history, nothing trained",
}
"""The systems that every evaluation has, in words."""


@dataclass
class Contestants:
    """Makes the systems one after another, so that only one baseline is in memory at a time."""

    config: Config
    run: Run
    data: Dataset
    tuned: dict[str, Tuned] = field(default_factory=dict)
    """The baselines' settings, and what they reached on validation."""

    @cached_property
    def log(self) -> Log:
        """The interactions as arrays."""
        return Log.of(self.data)

    @cached_property
    def models(self) -> dict[str, Any]:
        """The trained models, by the name of their system."""
        versions = {"model": "finetuned", "model_before": "before"}
        loaded = {name: load_model(self.run, self.data, version) for name, version in versions.items()}  # type: ignore[arg-type]
        return {name: model for name, model in loaded.items() if model is not None}

    @cached_property
    def resources(self) -> Resources:
        """What the baselines may use; none of them asks the model."""
        return resources_of(self.config, self.data, self.models.get("model"))

    @cached_property
    def pipeline(self) -> Pipeline:
        """The pipeline as it is served, but for items added since: nothing is known of who chooses them."""
        return Pipeline.load(self.run.folder, added=False)

    def count(self) -> int:
        """How many systems there are."""
        return (
            1
            + self._has_before()
            + (self.pipeline.reranker is not None)
            + bool(self.pipeline.rerankers)
            + len(self._rankers())
            + 1
            + len(self.config.evaluate.baselines)
        )

    def systems(self) -> Iterator[tuple[str, Score]]:
        """Each system by name; the last ones are the baselines."""
        yield "genre", of_pipeline(self.pipeline)
        if self._has_before():
            yield "genre_before", of_pipeline(Pipeline.load(self.run.folder, "before", added=False))
        if self.pipeline.reranker is not None:
            yield "retrieved", of_pipeline(replace(self.pipeline, reranker=None))
        if self.pipeline.rerankers:
            yield "unarranged", of_pipeline(replace(self.pipeline, rerankers={}))
        for name, model in self._rankers().items():
            yield name, lambda cases, model=model: model.score_next(cases.histories)
        past = self.log.parts("train", "valid")
        pretrained = Slot("sources").build("content_knn")
        yield "pretrained", of_source(pretrained, pretrained.fit(past, self.resources), self.resources)
        tune = Tuner.of(self.config, self.run, self.data, self.resources)
        for plain, source in named(self.config.evaluate.baselines).items():
            name = f"{plain}_baseline" if plain in WHAT else plain
            self.tuned[name] = tune.tune(source)
            best = self.tuned[name].source
            yield name, of_source(best, self._fitted(best, past), self.resources)

    def _fitted(self, source: Source, past: Log) -> State:
        """The state of the pipeline's own source where that is the same, else a new one."""
        for name, own in self.pipeline.sources.items():
            if describe(own) == describe(source):
                return self.pipeline.states[name]
        return source.fit(past, self.resources)

    def _rankers(self) -> dict[str, Any]:
        """The models that have a head to rank with."""
        return {name: model for name, model in self.models.items() if model.ranking_head is not None}

    def _has_before(self) -> bool:
        """Whether the model before fine-tuning makes a pipeline of its own."""
        files = ("scorer_before.safetensors", "rerank_before.json")
        return any((self.run.path("rank") / file).exists() for file in files)
