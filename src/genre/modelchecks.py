"""Parts of a model that do not fit together: formulation, heads, language model, adapter, told before weights load."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from genre.backbones import Shape
from genre.component import name_of, suggest
from genre.config import Config, ModelSection
from genre.errors import ConfigError
from genre.labels import CHOSEN, Label
from genre.text import Field, parse
from genre.yamlfile import KeyPath

Finding = tuple[KeyPath, str]
Given = Callable[[KeyPath], bool]
"""Whether the file, or an override, says something at a path; else its value is the default."""
Check = Callable[[Config, Given], Iterator[Finding]]

FUSED = {"phi3": ("output", "down")}
"""Families that hold query, key and value in one matrix, and the parts of a layer that adapters find there.

Every other family that `genre.anatomy` can run has all parts, and layers that take learned keys and values.
"""
FOR_TEXTS = ("shots", "contrastive_start", "perturb", "temperature")
"""Settings of training that work on the texts of rows or pairs."""


def formulation_of(config: Config) -> str:
    """The formulation's name."""
    return name_of(config.model.formulation)


def place_of(name: str) -> KeyPath:
    """Where a head stands."""
    return ("model", "heads", name)


def labels(config: Config, given: Given) -> Iterator[Finding]:
    """Labels that cannot be read."""
    for name, head in config.model.heads.items():
        if not head.label:
            continue
        at = (*place_of(name), "label")
        if head.predicts == "text" and "{" in head.label:
            if why := _unreadable(head.label):
                yield at, why
            continue
        try:
            label = Label.parse(head.label)
        except ValueError as error:
            yield at, str(error)
            continue
        if head.predicts in ("tokens", "text") and label.binary:
            yield at, f"'{head.label}' is a comparison; write the name of a column, such as '{label.column}'"


def heads_fit(config: Config, given: Given) -> Iterator[Finding]:
    """Heads that need what the formulation does not have."""
    form, reads = formulation_of(config), config.model.formulation.reads
    for name, head in config.model.heads.items():
        at, kind = place_of(name), name_of(head)
        if head.reads == "vectors" and reads != "items":
            offer = "a binary head with label: chosen" if reads == "pairs" else "a head of a label, such as regression"
            yield at, f"{kind} compares vectors of people and items, and {form} has none; take two_tower, or {offer}"
        elif head.reads == "tokens" and reads != "rows":
            yield at, f"{kind} reads the tokens of a row's text, and {form} reads no rows; set model.formulation: text"
        elif reads == "rows" and (label := _label(head.label)) is not None and label.column == CHOSEN:
            why = "is about a choice among items, and a text has none; write a column, or take cross or two_tower"
            yield (*at, "label"), f"'{head.label}' {why}"


def language(config: Config, given: Given) -> Iterator[Finding]:
    """What the language model is asked for and cannot do."""
    model, shape = config.model, shape_of(config)
    if shape is None:
        return
    if shape.causal and model.pooling == "first" and _uses_text(model):
        yield ("model", "pooling"), "the first token of a decoder sees nothing but itself; take last or mean"
    for name, head in model.heads.items():
        if head.predicts == "text" and not shape.causal:
            mend = f"{name_of(model.backbone)} is an encoder, which does not write; take a decoder, such as smollm2"
            yield place_of(name), mend
    has = FUSED.get(shape.family)
    if has is None or not _uses_text(model):
        return
    targets = ("key",) if name_of(model.adapter) == "prefix" else getattr(model.adapter, "targets", ())
    if lacks := [part for part in targets if part not in has]:
        what = f"the layers of {shape.family} hold query, key and value in one matrix and have no '{lacks[0]}'"
        yield ("model", "adapter"), f"{what}; take targets of {', '.join(has)}, or top_layers"


def shape_of(config: Config) -> Shape | None:
    """What the backbone tells before it is loaded; None where it does not."""
    tell = getattr(config.model.backbone, "shape", None)
    return tell() if tell is not None else None


def _uses_text(model: ModelSection) -> bool:
    return model.text or model.formulation.reads != "items"


def verbalizers(config: Config, given: Given) -> Iterator[Finding]:
    """Heads that start from a decoder's words, where it is not asked for words or has not these."""
    for name, head in config.model.heads.items():
        words: tuple[str, str] | None = getattr(head, "words", None)
        if words:
            for why in _unsaid(config, words):
                yield (*place_of(name), "words"), why


def _unsaid(config: Config, words: tuple[str, str]) -> Iterator[str]:
    model, shape = config.model, shape_of(config)
    if model.formulation.reads == "items":
        yield "are a decoder's answer to a prompt, and two_tower has no prompt; set model.formulation: text or cross"
        return
    if name_of(model.towers) != "direct":
        yield f"need model.towers: direct, and it is {name_of(model.towers)}, which leaves no word as it was"
    if model.pooling != "last":
        yield f"are read at the end of the prompt: set model.pooling: last, which is {model.pooling}"
    if shape is None:
        return
    if not shape.causal:
        yield f"{name_of(model.backbone)} is an encoder, which says no words; take a decoder, such as smollm2"
    elif shape.tokenizer is not None:
        yield from _not_one_token(words, shape)


def _not_one_token(words: tuple[str, str], shape: Shape) -> Iterator[str]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(shape.tokenizer))
    unknown = getattr(tokenizer.model, "unk_token", None)
    found: dict[str, int] = {}
    for word in words:
        read = [tokenizer.encode(one, add_special_tokens=False) for one in (f" {word}", word)]
        single = [one.ids[0] for one in read if len(one.ids) == 1 and one.tokens[0] != unknown]
        if single:
            found[word] = single[0]
        else:
            yield f"{word!r} is {_tokens(read[1].tokens)} to this language model; take a word of one"
    if len(found) == len(words) and len(set(found.values())) == 1:
        yield f"{words[0]!r} and {words[1]!r} are the same token; take words that differ"


def _tokens(tokens: list[str]) -> str:
    return f"not a word ({tokens[0]})" if len(tokens) == 1 else f"{len(tokens)} tokens ({' '.join(tokens)})"


def template(config: Config, given: Given) -> Iterator[Finding]:
    """A template that cannot be read, names nothing, or names what the formulation's table does not have."""
    model, at = config.model, ("model", "template")
    if why := _unreadable(model.template):
        yield at, why
        return
    fields = parse(model.template)
    columns = [field.column for field in fields if field.column is not None]
    of_rows = model.formulation.reads == "rows"
    if not columns and _uses_text(model):
        alike = "texts" if of_rows else "items"
        yield at, f"names no column, so that all {alike} would read alike; write one as {{title}}"
    for column in columns:
        yield from ((at, why) for why in _misplaced(column, of_rows))
    if of_rows:
        yield from ((at, why) for why in _spans_misplaced(config, fields, columns))


def _unreadable(text: str) -> str | None:
    """Why a template cannot be read; None if it can."""
    try:
        parse(text)
    except ConfigError as error:
        return str(error).partition(": ")[2]
    return None


def _misplaced(column: str, of_rows: bool) -> Iterator[str]:
    side, dot, inside = column.partition(".")
    if not column:
        yield "'{}' names no column; write one as {title}"
    elif dot and not of_rows:
        yield f"'{{{column}}}': an item's text has the columns of the items table; write {{{inside}}}"
    elif dot and side not in ("item", "user"):
        near = suggest(side, ["item", "user"])
        yield f"'{{{column}}}': a row has its own columns, {{item.x}} of its item and {{user.x}} of its user; {near}"
    elif of_rows and column in ("history", "item"):
        yield f"'{{{column}}}' is of the prompt of cross; a row's text has columns, such as {{item.title}}"


def _spans_misplaced(config: Config, fields: list[Field], columns: list[str]) -> Iterator[str]:
    """Why places in a text are not where a token head would look for them."""
    tagging = [name for name, head in config.model.heads.items() if head.predicts == "tokens"]
    if tagging and len(columns) > 1:
        yield f"head '{tagging[0]}' counts the characters of one column; name that one alone, as in {{{columns[0]}}}"
    elif tagging and columns and fields[0].words:
        what = f"{fields[0].words!r} stands before the text whose characters head '{tagging[0]}' counts"
        yield f"{what}; begin with {{{columns[0]}}}"


def prompt(config: Config, given: Given) -> Iterator[Finding]:
    """The prompt of a cross model."""
    if config.model.formulation.reads != "pairs":
        return
    text: str = getattr(config.model.formulation, "prompt", "{history} {item}")
    at = ("model", "formulation", "prompt")
    if why := _unreadable(text):
        yield at, why
        return
    columns = [field.column for field in parse(text) if field.column is not None]
    told_apart = [column for column in columns if column in ("liked", "disliked")]
    for word in ("history", "item"):
        if word not in columns and not (word == "history" and told_apart):
            yield at, f"does not say where the {word} goes; write {{{word}}}"
    for column in columns:
        if column not in ("history", "item", *told_apart):
            mend = "a prompt has {history} and {item}; columns belong in model.template, which writes both"
            yield at, f"'{{{column}}}': {mend}"
    for column in sorted({column for column in columns if columns.count(column) > 1}):
        yield at, f"'{{{column}}}' stands there twice; write it once"
    if told_apart and "history" in columns:
        yield at, f"has {{history}} and {{{told_apart[0]}}}, which is a part of it; write one or the other"
    if told_apart:
        liked: str = getattr(config.model.formulation, "liked", "")
        yield from ((("model", "formulation", "liked"), why) for why in _of_no_event(liked))
        if (label := _label(liked)) is not None and not label.binary:
            yield ("model", "formulation", "liked"), f"'{liked}' is no comparison; write one, such as value >= 4"


def _of_no_event(text: str) -> Iterator[str]:
    """Why an event of a history does not tell a label; nothing if it does, or if there is nothing to say."""
    label = _label(text)
    if label is None:
        yield f"'{text}' is no label; write a comparison, such as value >= 4"
    elif not label.of_history:
        yield f"an event of a history has value and action, and no '{label.column}'; write a label of one of these"


def _label(text: str) -> Label | None:
    try:
        return Label.parse(text)
    except ValueError:
        return None


def offsets(config: Config, given: Given) -> Iterator[Finding]:
    """Heads that start from counting, where nothing is counted."""
    form, reads = formulation_of(config), config.model.formulation.reads
    for name, head in config.model.heads.items():
        of, at = getattr(head, "offset", ()), (*place_of(name), "offset")
        label = _label(head.label)
        if not of or label is None:
            continue
        if reads == "items":
            yield at, f"{form} reads people and items as vectors, which count already; take text or cross, or leave it"
        elif label.column == CHOSEN:
            yield (
                at,
                "what was not chosen is drawn, and a count of it says nothing; take another label, or leave it",
            )
        elif reads == "rows" and of != ("item",):
            yield at, f"user and text are of a person's history, and {form} reads none; set it to [item], or take cross"
        elif of != ("item",):
            yield from ((at, f"{why}, or set offset: [item]") for why in _of_no_event(head.label))
        if len(set(of)) < len(of):
            yield at, "names one thing twice; write each once"
        elif "text" in of and "user" not in of:
            yield at, "text tells what a person likes, beside how much of all they like; write [user, text]"
        if getattr(head, "words", None):
            yield at, "starts from counting, and words from the language model's answer; leave one of them out"


def text_switch(config: Config, given: Given) -> Iterator[Finding]:
    """Item vectors of nothing, or a model of texts without text."""
    model = config.model
    if model.formulation.reads != "items":
        if not model.text:
            yield ("model", "text"), f"{formulation_of(config)} reads texts; leave model.text true, or take two_tower"
    elif not model.text and not model.ids:
        yield ("model", "text"), "model.text and model.ids are both false, which leaves nothing to make item vectors of"


def user_heads(config: Config, given: Given) -> Iterator[Finding]:
    """A user encoder whose heads do not divide its width."""
    user: Any = config.model.user
    if config.model.formulation.reads != "items":
        return
    if name_of(user) == "transformer" and config.model.dim % user.heads:
        yield ("model", "user", "heads"), f"{user.heads} does not divide model.dim, which is {config.model.dim}"


def training(config: Config, given: Given) -> Iterator[Finding]:
    """Settings of training that the formulation has no use for."""
    train, reads = config.train, config.model.formulation.reads
    if reads == "items":
        for name in FOR_TEXTS:
            if getattr(train, name):
                what = "works on the texts of rows or pairs, and two_tower reads items; take text or cross, or leave it"
                yield ("train", name), f"{what} out"
        return
    if not train.contrastive_start:
        return
    at = ("train", "contrastive_start")
    if reads != "rows":
        yield at, "tells classes of texts apart, and cross reads pairs; set it to 0, or take model.formulation: text"
    elif not any(head.predicts in ("binary", "multiclass") for head in config.model.heads.values()):
        yield at, "tells classes of texts apart, and no head has any; add a binary or multiclass head"
    if name_of(config.model.adapter) == "frozen":
        yield at, "trains the language model, and model.adapter is frozen; take lora or another adapter"


def rerank(config: Config, given: Given) -> Iterator[Finding]:
    """Reading the top again by what cannot read it."""
    section, heads = config.pipeline.rerank, config.model.heads
    if section is None:
        return
    if config.model.formulation.reads != "pairs":
        what = f"reads pairs of a person and an item, and model.formulation is {formulation_of(config)}"
        yield ("pipeline", "rerank"), f"{what}; set model.formulation: cross, or leave pipeline.rerank out"
        return
    at, scalar = ("pipeline", "rerank", "head"), [n for n, h in heads.items() if h.predicts in ("binary", "regression")]
    offer = suggest(section.head, scalar) if scalar else "add one, such as chosen: {type: binary, label: chosen}"
    if section.head not in heads:
        yield at, f"no head named '{section.head}'; {offer}"
    elif section.head not in scalar and heads[section.head].reads != "vectors":
        kind = heads[section.head].predicts
        yield at, f"'{section.head}' is {kind}, which gives no single number to order by; {offer}"


def trained_on(config: Config, given: Given) -> Iterator[Finding]:
    """Training a model on that re-ranks nothing."""
    learner: Any = config.learn.fit
    if learner.makes != "model":
        return
    what = f"{name_of(learner)} trains a cross model that re-ranks"
    if config.model.formulation.reads != "pairs":
        what = f"{what}, and model.formulation is {formulation_of(config)}"
        yield ("learn", "fit"), f"{what}; set model.formulation: cross, or take doubly_robust"
    elif config.pipeline.rerank is None:
        yield ("learn", "fit"), f"{what}, and pipeline.rerank is not set; set it, or take doubly_robust"


def retrieves(config: Config, given: Given) -> Iterator[Finding]:
    """The model as a source, where it cannot rank all items."""
    reads = config.model.formulation.reads
    if reads == "rows" or any(head.predicts == "ranking" and reads == "items" for head in config.model.heads.values()):
        return
    stated = given(("pipeline", "sources"))
    for i, source in enumerate(config.pipeline.sources):
        if name_of(source) != "model" or getattr(source, "run", None) is not None:
            continue
        where = "" if stated else " (in pipeline.sources by default)"
        at = ("pipeline", "sources", i) if stated else ("model", "heads")
        why = "needs a head that ranks, such as next_item; model.heads has none"
        if reads == "pairs":
            at = at if stated else ("model", "formulation")
            why = "cannot rank all items with cross; give it the run folder of a two_tower model on the same data, "
            why += "{type: model, run: runs/NAME}, or take other sources, such as [transitions, popular]"
        yield at, f"source 'model'{where} {why}"


def any_head(config: Config, given: Given) -> Iterator[Finding]:
    """A model without a task."""
    offers = {"items": "next: next_item", "rows": "stars: regression"}
    if not config.model.heads:
        offer = offers.get(config.model.formulation.reads, "chosen: {type: binary, label: chosen}")
        yield ("model", "heads"), f"is empty; the model needs at least one task, such as {offer}"


_MODEL: list[KeyPath] = [("model", name) for name in ("formulation", "heads")]
CHECKS: dict[Check, list[KeyPath]] = {
    any_head: _MODEL,
    labels: [("model", "heads")],
    heads_fit: _MODEL,
    language: [*_MODEL, ("model", "backbone"), ("model", "pooling"), ("model", "adapter"), ("model", "text")],
    verbalizers: [*_MODEL, ("model", "backbone"), ("model", "towers"), ("model", "pooling")],
    template: [*_MODEL, ("model", "template"), ("model", "text")],
    prompt: [("model", "formulation")],
    offsets: _MODEL,
    text_switch: [("model", "formulation"), ("model", "text"), ("model", "ids")],
    user_heads: [("model", "formulation"), ("model", "user"), ("model", "dim")],
    training: [*_MODEL, ("train",), ("model", "adapter")],
    rerank: [*_MODEL, ("pipeline", "rerank")],
    retrieves: [*_MODEL, ("pipeline", "sources")],
    trained_on: [*_MODEL, ("pipeline", "rerank"), ("learn", "fit")],
}
"""Each check, with the settings it reads."""
