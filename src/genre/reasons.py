"""Reasons in words, English or Chinese: templates that say what was computed and nothing more."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from genre.types import Carried, Explanation, Slate

Language = Literal["en", "zh"]

MOST_CITED = 2
"""Events of the history that a sentence names."""
LEAST_SHARE = 0.3
"""An event that adds less than this share of what the first adds is not named beside it."""
NOISE = 1e-4
"""An event that adds less than this share of the score adds nothing: numbers are not surer than that."""
MOST_SOURCES = 3
"""Sources that a sentence names."""
MOST_PLACES = 20
"""Further down a source's list an item is proposed, and no more is said of why."""

SOURCES: dict[str, tuple[str, str]] = {
    "model": ("the trained model expects it next", "训练好的模型预计您接下来会选它"),
    "transitions": ("people went on to it from what you chose", "其他人选过这些之后接着选了它"),
    "ease": ("it is chosen along with what you chose", "它常与您选过的内容一起被选"),
    "item_knn": ("those who chose the same chose it too", "选过同样内容的人也选了它"),
    "user_knn": ("people with a like history chose it", "历史相似的人选了它"),
    "ials": ("it fits the tastes learned from who chose what", "它符合从选择记录中学到的喜好"),
    "bpr": ("it fits the tastes learned from who chose what", "它符合从选择记录中学到的喜好"),
    "label_propagation": (
        "it is near to your history in the graph of who chose what",
        "在选择关系图中它离您的历史很近",
    ),
    "content_knn": ("its text is close in meaning to what you chose or said", "它的文字与您选过或说过的内容意思相近"),
    "bm25": ("its text shares words with what you chose or said", "它的文字与您选过或说过的内容有共同的词"),
    "popular": ("many choose it", "很多人选它"),
    "recent": ("many chose it lately", "最近很多人选它"),
}
"""What it means that a source ranks an item high, by the source's name."""
OF_HISTORY = {"transitions", "ease", "item_knn", "user_knn", "ials", "bpr", "label_propagation"}
"""Sources whose reason is an event of the history, and which say something else where there is none."""

WORDS: dict[str, tuple[str, str]] = {
    "chose": ("Because you chose {items}", "因为您选过{items}"),
    "said": ("Because you said \u201c{text}\u201d", "因为您说过“{text}”"),
    "and": (" and ", "和"),
    "title": ("{title}", "《{title}》"),
    "against": ("Nothing that is known of you speaks for it", "已知的信息中没有支持它的内容"),
    "nothing": ("Nothing is known of you yet", "目前还不了解您"),
    "source": ("{why} ({name}, place {rank})", "{why}（{name}，第{rank}位）"),
    "other": ("a source proposes it", "有来源推荐它"),
    "predicted": ("predicted: {values}", "预测：{values}"),
    "value": ("{head} {value:.2f}", "{head} {value:.2f}"),
    "between": ("; ", "；"),
    "list": (", ", "、"),
    "end": (".", "。"),
    "latest": (
        "only the latest {n} of {events} events were left out one by one",
        "共{events}条历史，只逐一去掉了最近的{n}条",
    ),
    "reread": (
        "reading the top again moved it {places}; the terms add up to the score before that",
        "重读榜首后{places}；各项之和是重读之前的得分",
    ),
    "no_terms": ("this scorer does not say what each column adds", "该打分器不能说明各列的作用"),
    "up": ("{n} up", "上升{n}位"),
    "down": ("{n} down", "下降{n}位"),
    "still": ("nowhere", "位置未变"),
    "moved": ("{name} then moved it {places}", "随后{name}使它{places}"),
    "unmet": ("{name}: {what}", "{name}：{what}"),
}


def sentence(found: Explanation, text: str | None, language: Language) -> str:
    """One sentence from what was computed of an item: what carried it, where it came from, what is predicted of it."""
    parts = [_cause(found, text, language), *_sources(found, language)]
    if found.predictions:
        values = [_say("value", language, head=head, value=value) for head, value in found.predictions.items()]
        parts.append(_say("predicted", language, values=_say("list", language).join(values)))
    return _say("between", language).join(parts) + _say("end", language)


def _cause(found: Explanation, text: str | None, language: Language) -> str:
    if not found.events and text is None:
        return _say("nothing", language)
    cited = cited_in(found.carried, found.score)
    if not cited:
        return _say("against", language)
    if cited[0].item_id is None:
        return _say("said", language, text=cited[0].title)
    items = [_say("title", language, title=one.title) for one in cited if one.item_id is not None]
    return _say("chose", language, items=_say("and", language).join(dict.fromkeys(items)))


def cited_in(carried: list[Carried], score: float) -> list[Carried]:
    """What a sentence names: what adds to the score, the first and those that add nearly as much."""
    best = max((one.change for one in carried), default=0.0)
    least = max(LEAST_SHARE * best, NOISE * abs(score))
    return [one for one in carried if one.change > 0 and one.change >= least][:MOST_CITED]


def _sources(found: Explanation, language: Language) -> Iterator[str]:
    """The sources that put the item high and lift it, or of which it is not known; else the one that proposes it."""
    lifts = [one for one in found.origins if one.rank is not None and (one.adds is None or one.adds > 0)]
    high = [one for one in lifts if one.rank is not None and one.rank <= MOST_PLACES]
    for one in high[:MOST_SOURCES] or lifts[:1]:
        name = re.sub(r"_\d+$", "", one.source)
        known = name in SOURCES and one in high and (found.events > 0 or name not in OF_HISTORY)
        why = SOURCES[name][language == "zh"] if known else _say("other", language)
        yield _say("source", language, why=why, name=one.source, rank=one.rank)


def remarks(found: Explanation, text: str | None, language: Language) -> list[str]:
    """What has to be known to read an explanation: what was not looked at, and what the terms do not hold."""
    notes = []
    left_out = len(found.carried) - (text is not None)
    if left_out < found.events:
        notes.append(_say("latest", language, n=left_out, events=found.events))
    if found.rank != found.scorer_rank:
        notes.append(_say("reread", language, places=_places(found.scorer_rank - found.rank, language)))
    if found.base is None:
        notes.append(_say("no_terms", language))
    return notes


def noted(slate: Slate, item: str, language: Language) -> list[str]:
    """What the rerankers did with an item after it was scored, and what they could not keep in its slate."""
    moved = {name: of[item] for name, of in slate.moved.items() if item in of}
    notes = [_say("moved", language, name=name, places=_places(up, language)) for name, up in moved.items()]
    return notes + [_say("unmet", language, name=name, what=one) for name, of in slate.unmet.items() for one in of]


def _places(up: int, language: Language) -> str:
    word = "up" if up > 0 else "down" if up else "still"
    return _say(word, language, n=abs(up))


def _say(word: str, language: Language, **values: object) -> str:
    return WORDS[word][language == "zh"].format(**values)
