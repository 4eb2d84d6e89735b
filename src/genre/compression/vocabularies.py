"""A tokenizer with fewer words, which still reads any text."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genre.errors import GenreError

Numbers = NDArray[np.int64]


def kept_words(tokenizer: Any, texts: Sequence[str], reserve: int) -> Numbers:
    """Numbers of the words that texts use, of all single characters and special words, and of a reserve; sorted.

    Raises `GenreError` for a tokenizer of a sort that is not known.
    """
    described = json.loads(tokenizer.backend_tokenizer.to_str())
    words = tokenizer.get_vocab()
    used: set[int] = set()
    for start in range(0, len(texts), 10_000):
        for one in tokenizer(list(texts[start : start + 10_000]))["input_ids"]:
            used.update(one)
    used |= {number for word, number in words.items() if len(_bare(word, described["model"])) <= 1}
    used |= {entry["id"] for entry in described.get("added_tokens", [])}
    used |= {words[word] for word in tokenizer.all_special_tokens if word in words}
    used |= {number for word, number in words.items() if word.startswith("<0x") and word.endswith(">")}
    rest = sorted(set(words.values()) - used)
    used.update(rest[:reserve])
    if described["model"]["type"] == "BPE":
        used |= _parts(described["model"], words, used)
    return np.array(sorted(used), dtype=np.int64)


def _bare(word: str, model: dict[str, Any]) -> str:
    """A word without the marks that say where in a word it stands."""
    mark = model.get("continuing_subword_prefix") or ""
    return (word.removeprefix(mark) if mark and word != mark else word).removeprefix("▁")


def _parts(model: dict[str, Any], words: dict[str, int], used: set[int]) -> set[int]:
    """What the words in use are merged from, down to single characters."""
    made = {"".join(pair): pair for pair in map(_pair, model["merges"])}
    names = {number: word for word, number in words.items()}
    todo, found = [names[number] for number in used if number in names], set()
    while todo:
        for part in made.get(todo.pop(), ()):
            if part in words and words[part] not in used | found:
                found.add(words[part])
                todo.append(part)
    return found


def _pair(merge: Any) -> tuple[str, str]:
    first, second = merge.split(" ") if isinstance(merge, str) else merge
    return first, second


def smaller(tokenizer: Any, kept: Numbers) -> Any:
    """The tokenizer with only the words numbered ``kept``, numbered anew in that order."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    described = json.loads(tokenizer.backend_tokenizer.to_str())
    new = {int(old): number for number, old in enumerate(kept)}
    model = described["model"]
    model["vocab"] = _vocabulary(model, new)
    if model["type"] == "BPE":
        words = model["vocab"]
        model["merges"] = [
            pair for pair in map(list, map(_pair, model["merges"])) if {*pair, "".join(pair)} <= words.keys()
        ]
    if model["type"] == "Unigram" and model.get("unk_id") is not None:
        model["unk_id"] = new[model["unk_id"]]
    described["added_tokens"] = [
        {**entry, "id": new[entry["id"]]} for entry in described["added_tokens"] if entry["id"] in new
    ]
    if described.get("post_processor"):
        described["post_processor"] = _renumbered(described["post_processor"], new)
    special = {name: word for name, word in tokenizer.special_tokens_map.items() if isinstance(word, str)}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(described)),
        padding_side=tokenizer.padding_side,
        truncation_side=tokenizer.truncation_side,
        model_max_length=tokenizer.model_max_length,
        **special,
    )


def _vocabulary(model: dict[str, Any], new: dict[int, int]) -> Any:
    """The words of a model with their new numbers. Raises `GenreError` where that is not known to be done."""
    if model["type"] == "Unigram":
        return [entry for number, entry in enumerate(model["vocab"]) if number in new]
    if model["type"] in ("WordPiece", "WordLevel", "BPE"):
        return {word: new[number] for word, number in model["vocab"].items() if number in new}
    raise GenreError(f"vocabulary: cannot cut a tokenizer of sort {model['type']}; leave the step out")


def _renumbered(processor: dict[str, Any], new: dict[int, int]) -> dict[str, Any]:
    """What puts special words around a text, with their new numbers, wherever in it they stand."""
    made = copy.deepcopy(processor)
    if made["type"] == "Sequence":
        made["processors"] = [_renumbered(one, new) for one in made["processors"]]
    for entry in made.get("special_tokens", {}).values() if made["type"] == "TemplateProcessing" else ():
        entry["ids"] = [new[number] for number in entry["ids"]]
    for end in ("sep", "cls"):
        if isinstance(made.get(end), list):
            made[end][1] = new[made[end][1]]
    return made
