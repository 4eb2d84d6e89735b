"""Settings that contradict each other, each told at its place with its mend, before any weight is loaded."""
# ruff: noqa: E501  # a case and its message are one row

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from genre.component import name_of
from genre.configfile import load, read
from genre.crosschecks import notes
from genre.errors import ConfigError
from toyworld import tiny_backbone, tiny_decoder

MINIMAL = "data: {reader: movielens}\n"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages name the file shortly."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def backbones(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An encoder, a decoder, and a decoder whose layers hold query, key and value in one matrix."""
    places = {name: tmp_path_factory.mktemp(name) for name in ("encoder", "decoder", "fused")}
    tiny_backbone(places["encoder"])
    tiny_decoder(places["decoder"])
    (places["fused"] / "config.json").write_text(
        json.dumps({"model_type": "phi3", "num_hidden_layers": 2, "architectures": ["Phi3ForCausalLM"]})
    )
    return {name: json.dumps({"type": "huggingface", "path": str(place)}) for name, place in places.items()}


def write(text: str) -> Path:
    """Write ``c.yaml``."""
    Path("c.yaml").write_text(text, encoding="utf-8")
    return Path("c.yaml")


def problems(text: str, *overrides: str) -> list[str]:
    """The problems of a text with overrides."""
    with pytest.raises(ConfigError) as caught:
        load(write(text), overrides)
    return caught.value.problems


def told(text: str, *overrides: str) -> list[str]:
    """The notes on a text with overrides."""
    return list(notes(*read(write(text), overrides)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("train: {early_stopping: {metric: ndgc@10}}", "train.early_stopping.metric: no metric named 'ndgc'; did you mean"),
        ("train: {early_stopping: {metric: ndcg}}", "train.early_stopping.metric: say at which cut-off, as in 'ndcg@10'"),
        ("train: {early_stopping: {metric: auc@3}}", "train.early_stopping.metric: 'auc@3' has no cut-off to set; write 'auc'"),
        ("train: {early_stopping: {metric: rmse}}", "train.early_stopping.metric: 'rmse' measures one head; say which"),
        ("train: {early_stopping: {metric: next.rmse}}", "train.early_stopping.metric: 'rmse' needs a regression head, and 'next' is ranking"),
        ("train: {early_stopping: {metric: next.auc}}", "train.early_stopping.metric: 'auc' measures the ranking, not one head; write 'auc'"),
        ("train: {early_stopping: {metric: novelty@10}}", "train.early_stopping.metric: 'novelty@10' is neither good nor bad in itself"),
        ("evaluate: {metrics: [rmse]}", "evaluate.metrics[0]: 'rmse' needs a regression head, and model.heads has none"),
        ("evaluate: {candidates: impression}", "evaluate.candidates: 'impression' needs data.split: impressions, and it is last"),
        ("model: {heads: {}}", "model.heads: is empty; the model needs at least one task"),
        ("model: {heads: {next: next_item, a.b: binary}}", "model.heads.a.b: a head's name is letters, digits and underscores"),
        ("model: {heads: {next: next_item, x: {type: binary, label: 'value ~ 4'}}}", "model.heads.x.label: 'value ~ 4' is not a label"),
        ("model: {heads: {next: next_item, x: {type: binary, label: action}}}", "model.heads.x.label: 'action': an action is a word"),
        ("model: {heads: {x: binary}, adapter: lora}\npipeline: {sources: [ease, model]}", "pipeline.sources[1]: source 'model' needs a head that ranks"),
        ("model: {heads: {x: binary}}", "model.heads: source 'model' (in pipeline.sources by default) needs a head that ranks"),
        ("model: {text: false, ids: false}", "model.text: model.text and model.ids are both false"),
        ("model: {dim: 9, user: {type: transformer, heads: 2}}", "model.user.heads: 2 does not divide model.dim, which is 9"),
        ("model: {template: '{title'}", "model.template: '{title': "),
        ("model: {template: film}", "model.template: names no column"),
        ("pipeline: {sources: []}", "pipeline.sources: is empty; without a source there is nothing to recommend"),
        ("model: {formulation: cross, heads: {x: binary}}\npipeline: {features: [{type: text_similarity, vectors: finetuned}]}", "pipeline.features[0].vectors: finetuned needs model.formulation: two_tower"),
        ("pipeline: {scorer: {type: weighted, weights: {eese: 1}}, sources: [ease, ease]}", "pipeline.scorer.weights.eese: weighs a source that"),
    ],
)  # fmt: skip
def test_contradiction(settings: str, message: str):
    assert any(
        problem.startswith(f"c.yaml:2: {message}") or f": {message}" in problem
        for problem in problems(MINIMAL + settings)
    )


def test_a_default_metric_that_no_head_gives_is_no_mistake():
    assert "rmse" in {name_of(metric) for metric in load(write(MINIMAL)).evaluate.metrics}


TEXT = (
    MINIMAL
    + """\
model: {formulation: text, heads: {stars: regression, liked: {type: binary, label: liked}}, template: '{review}'}
train: {early_stopping: {metric: stars.rmse}}
"""
)
CROSS = (
    MINIMAL
    + """\
model: {formulation: cross, heads: {chosen: {type: binary, label: chosen}, stars: regression}}
train: {early_stopping: {metric: chosen.grouped_auc}}
pipeline: {sources: [transitions], rerank: {head: chosen}}
"""
)
TWO = MINIMAL + "model: {heads: {next: next_item, stars: regression}}\n"


@pytest.mark.parametrize("text", [TEXT, CROSS, TWO])
def test_what_fits_together_is_taken_without_a_note(text: str):
    assert told(text) == []


@pytest.mark.parametrize(
    ("text", "overrides", "path", "mend"),
    [
        (TEXT, "model.heads.next=next_item", "model.heads.next", "next_item compares vectors of people and items, and text has none; take two_tower"),
        (TEXT, "model.heads.pairs=contrastive", "model.heads.pairs", "or a head of a label, such as regression"),
        (CROSS, "model.heads.next=next_item", "model.heads.next", "or a binary head with label: chosen"),
        (CROSS, "model.heads.pairs=contrastive", "model.heads.pairs", "take two_tower"),
        (CROSS, "model.heads.names=token", "model.heads.names", "set model.formulation: text"),
        (TWO, "model.heads.names=token", "model.heads.names", "set model.formulation: text"),
        (TWO, "model.heads.title=generation", "model.heads.title", "set model.formulation: text"),
        (TEXT, "model.heads.liked.label=chosen", "model.heads.liked.label", "take cross or two_tower"),
        (TEXT, "model.heads.order=listwise", "model.heads.order.label", "write a column, or take cross"),
        (TEXT, "model.heads.names={type: token, label: spans >= 3}", "model.heads.names.label", "write the name of a column, such as 'spans'"),
        (TEXT, "model.heads.words={type: generation, label: '{title'}", "model.heads.words.label", "'{title': "),
        (TEXT, "model.heads={}", "model.heads", "such as stars: regression"),
        (CROSS, "model.heads={}", "model.heads", "such as chosen: {type: binary, label: chosen}"),
        (CROSS, "model.heads={}", "pipeline.rerank.head", "add one, such as chosen: {type: binary, label: chosen}"),
        (CROSS, "model.heads={kind: {type: multiclass}, chosen: multiclass}", "pipeline.rerank.head", "'chosen' is multiclass, which gives no single number"),
        (CROSS, "pipeline.rerank.head=choosen", "pipeline.rerank.head", "did you mean 'chosen'?"),
        (TWO, "pipeline.rerank={}", "pipeline.rerank", "set model.formulation: cross, or leave pipeline.rerank out"),
        (TEXT, "pipeline.rerank={}", "pipeline.rerank", "model.formulation is text; set model.formulation: cross"),
        (TWO, "learn.fit=preference", "learn.fit", "preference trains a cross model that re-ranks, and model.formulation is two_tower"),
        (CROSS.replace(", rerank: {head: chosen}", ""), "learn.fit=group_relative", "learn.fit", "pipeline.rerank is not set; set it, or take doubly_robust"),
        (CROSS, "pipeline.sources=[ease, model]", "pipeline.sources[1]", "give it the run folder of a two_tower model"),
        (CROSS.replace("sources: [transitions], ", ""), "seed=1", "model.formulation", "source 'model' (in pipeline.sources by default) cannot rank all items with cross"),
        (TEXT, "model.template='{items.title}'", "model.template", "{item.x} of its item and {user.x} of its user; did you mean 'item'?"),
        (TEXT, "model.template='{history} {item}'", "model.template", "'{history}' is of the prompt of cross"),
        (TEXT, "model.template=a review", "model.template", "all texts would read alike; write one as {title}"),
        (TEXT, "model.template='{review:much}'", "model.template", "after the colon stands a number of tokens"),
        (CROSS, "model.template='{item.title}'", "model.template", "an item's text has the columns of the items table; write {title}"),
        (TWO, "model.template='{item.title}'", "model.template", "write {title}"),
        (CROSS, "model.formulation.prompt='{item}'", "model.formulation.prompt", "does not say where the history goes; write {history}"),
        (CROSS, "model.formulation.prompt='{history:60}'", "model.formulation.prompt", "does not say where the item goes; write {item}"),
        (CROSS, "model.formulation.prompt='{history} {item} {title}'", "model.formulation.prompt", "'{title}': a prompt has {history} and {item}; columns belong in model.template"),
        (CROSS, "model.formulation.prompt='{history} {item'", "model.formulation.prompt", "expected '}' before end of string"),
        (CROSS, "model.formulation.prompt='{history:x} {item}'", "model.formulation.prompt", "after the colon stands a number of tokens"),
        (TEXT + "seed: 1\n", "model.heads.names=token model.template='{title} {review}'", "model.template", "counts the characters of one column; name that one alone, as in {title}"),
        (TEXT, "model.heads.names=token model.template='Review {review}'", "model.template", "stands before the text whose characters head 'names' counts; begin with {review}"),
        (TEXT, "model.text=false", "model.text", "leave model.text true, or take two_tower"),
        (TEXT, "train.early_stopping.metric=ndcg@10", "train.early_stopping.metric", "watch a head instead, as in 'stars.rmse'"),
        (TEXT.replace("stars.rmse", "recall@5"), "seed=1", "train.early_stopping.metric", "'recall@5' ranks all items, and a text model ranks none"),
        (CROSS.replace("train:", "evaluate: {bootstrap: 9} #"), "seed=1", "train.early_stopping.metric", "watch a head instead, as in 'chosen.label_auc'"),
        (TEXT, "train.early_stopping.metric=stars.accuracy", "train.early_stopping.metric", "'accuracy' needs a multiclass head, and 'stars' is regression"),
        (TEXT, "train.early_stopping.metric=entity_f1", "train.early_stopping.metric", "but no head is tokens"),
        (TEXT, "evaluate.metrics=[ndcg@10, rmse]", "evaluate.metrics[0]", "text ranks nothing; name measures of heads, such as rmse"),
        (TEXT, "evaluate.metrics=[accuracy]", "evaluate.metrics[0]", "needs a multiclass head"),
        (TEXT, "evaluate.metrics=[perplexity]", "evaluate.metrics[0]", "needs a text head"),
        (TEXT, "evaluate.metrics=[entity_f1]", "evaluate.metrics[0]", "needs a tokens head"),
        (TWO, "train.shots=8", "train.shots", "take text or cross, or leave it out"),
        (TWO, "train.perturb=fgm", "train.perturb", "take text or cross, or leave it out"),
        (TWO, "train.temperature=2", "train.temperature", "take text or cross, or leave it out"),
        (TWO, "train.contrastive_start=1", "train.contrastive_start", "take text or cross, or leave it out"),
        (CROSS, "train.contrastive_start=1", "train.contrastive_start", "set it to 0, or take model.formulation: text"),
        (TEXT, "model.heads={stars: regression} train.contrastive_start=1", "train.contrastive_start", "add a binary or multiclass head"),
        (TEXT, "model.adapter=frozen train.contrastive_start=1", "train.contrastive_start", "model.adapter is frozen; take lora"),
    ],
)  # fmt: skip
def test_parts_of_a_model_that_do_not_fit(text: str, overrides: str, path: str, mend: str):
    found = problems(text, *re.split(r" (?=(?:model|train)\.)", overrides))
    assert any((f"{path}: " in one) and mend in one for one in found), found


WORDS = {"words": ["yes", "no"]}


def asked(form: str, head: dict[str, Any], **model: Any) -> str:
    """A configuration whose one head is ``head``."""
    watch = {"early_stopping": {"metric": "answer.perplexity" if head["type"] == "generation" else "answer.label_auc"}}
    section = {"formulation": form, "template": "{review}", "heads": {"answer": head}, **model}
    sections = {"model": section, "train": watch, "pipeline": {"sources": ["popular"]}}
    return MINIMAL + "".join(f"{name}: {json.dumps(one)}\n" for name, one in sections.items())


SAYS: dict[str, Any] = {"type": "binary", "label": "liked", **WORDS}
ENDS: dict[str, Any] = {"towers": "direct", "pooling": "last"}


@pytest.mark.parametrize(
    ("backbone", "text", "path", "mend"),
    [
        ("encoder", asked("text", {"type": "generation"}), "model.heads.answer", "is an encoder, which does not write; take a decoder, such as smollm2"),
        ("encoder", asked("text", SAYS, **ENDS), "model.heads.answer.words", "is an encoder, which says no words; take a decoder"),
        ("decoder", asked("two_tower", SAYS, **ENDS), "model.heads.answer.words", "set model.formulation: text or cross"),
        ("decoder", asked("text", SAYS, pooling="last"), "model.heads.answer.words", "need model.towers: direct, and it is separate"),
        ("decoder", asked("text", SAYS, towers="direct"), "model.heads.answer.words", "set model.pooling: last, which is mean"),
        ("decoder", asked("text", SAYS | {"words": ["yes", "word1 word2"]}, **ENDS), "model.heads.answer.words", "'word1 word2' is 2 tokens (word1 word2) to this language model; take a word of one"),
        ("decoder", asked("cross", SAYS | {"words": ["yes", "naturally"]}, **ENDS), "model.heads.answer.words", "'naturally' is not a word ([UNK]) to this language model"),
        ("decoder", asked("text", SAYS | {"words": ["yes", " yes"]}, **ENDS), "model.heads.answer.words", "are the same token; take words that differ"),
        ("decoder", asked("text", {"type": "binary"}, pooling="first"), "model.pooling", "sees nothing but itself; take last or mean"),
        ("fused", asked("text", {"type": "binary"}, adapter="prefix"), "model.adapter", "phi3 hold query, key and value in one matrix and have no 'key'"),
        ("fused", asked("text", {"type": "binary"}, adapter="lora"), "model.adapter", "take targets of output, down, or top_layers"),
    ],
)  # fmt: skip
def test_what_a_language_model_cannot_do(backbones: dict[str, str], backbone: str, text: str, path: str, mend: str):
    found = problems(text, f"model.backbone={backbones[backbone]}")
    assert any(f"{path}: " in one and mend in one for one in found), found


@pytest.mark.parametrize(
    ("backbone", "text"),
    [
        ("decoder", asked("text", SAYS, **ENDS)),
        ("decoder", asked("text", {"type": "generation"}, adapter="prefix")),
        ("decoder", asked("text", {"type": "generation", "label": "{title}, by {brand}"})),
        ("encoder", asked("text", {"type": "binary"}, pooling="first", adapter="prefix")),
        ("fused", asked("text", {"type": "binary"}, adapter={"type": "lora", "targets": ["output", "down"]})),
        ("fused", asked("text", {"type": "binary"}, adapter="bottleneck")),
    ],
)
def test_what_a_language_model_can_do(backbones: dict[str, str], backbone: str, text: str):
    load(write(text), [f"model.backbone={backbones[backbone]}"])


def test_of_an_unknown_language_model_nothing_is_said():
    head = {"type": "binary", "label": "liked", "words": ["yes", "certainly not"]}
    text = asked("text", head, **ENDS, backbone={"type": "huggingface", "path": "someone/something"})
    load(write(text))


@pytest.mark.parametrize(
    ("text", "overrides", "note"),
    [
        (MINIMAL, ["model.text=false", "model.adapter=lora"], "model.adapter has no effect, as model.text is false: the language model is not used"),
        (MINIMAL, ["train.epochs=0", "model.adapter=lora"], "model.adapter has no effect, as train.epochs is 0: the language model stays as it came"),
        (MINIMAL, ["model.adapter=frozen"], "train.epochs has no effect, as model.adapter is frozen: only the warm-up trains"),
        (MINIMAL, ["pipeline.features=[standing]"], "pipeline.features has no effect, as pipeline.scorer is weighted"),
        (TEXT, ["pipeline.sources=[popular]", "evaluate.baselines=[]"], "pipeline.sources, evaluate.baselines have no effect, as model.formulation is text"),
        (TEXT, ["model.user=mean", "model.ids=false", "model.max_history=9"], "model.user, model.ids, model.max_history have no effect, as model.formulation is text"),
        (CROSS, ["train.steps_per_round=2"], "train.steps_per_round has no effect, as model.formulation is cross"),
        (CROSS, ["model.formulation={type: cross, liked: 'value >= 3'}"], "model.formulation.liked has no effect, as the prompt has neither {liked} nor {disliked}"),
        (TEXT, ["model.towers=direct", "model.dim=64"], "model.dim has no effect, as model.formulation is text"),
        (CROSS.replace(", rerank: {head: chosen}", ""), [], "pipeline.rerank is not set, so what the cross model learns orders no recommendation; set it to use it"),
    ],
)  # fmt: skip
def test_settings_without_effect_are_noted(text: str, overrides: list[str], note: str):
    assert told(text, *overrides) == [note]


def test_what_the_file_does_not_say_is_not_noted():
    assert told(MINIMAL, "model.text=false") == []
    assert told(TEXT) == []


def test_checking_words_loads_no_torch(backbones: dict[str, str]):
    write(asked("text", SAYS, **ENDS, backbone=json.loads(backbones["decoder"])))
    code = "import sys; from genre.configfile import load; load('c.yaml'); print({'torch', 'transformers'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
