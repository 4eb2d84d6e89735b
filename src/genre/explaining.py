"""Why an item is in a slate: computed by leaving out what is known of the person, event by event, never guessed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from genre.candidates import Candidates
from genre.component import suggest
from genre.data import Histories
from genre.errors import GenreError
from genre.pipeline import Pipeline
from genre.reasons import Language, noted, remarks, sentence
from genre.retrieving import Trace
from genre.slates import predicted
from genre.types import Carried, Explanation, Floats, Origin, Slate, Terms

LATEST = 50
"""Events that are left out one by one; of a longer history the latest."""

Indices = NDArray[np.int64]


def explain(
    pipeline: Pipeline,
    slate: Slate,
    items: Sequence[str] | None = None,
    latest: int = LATEST,
    language: Language = "en",
) -> list[Explanation]:
    """Why each of the ``items`` (all of the slate unless named) stands where it does.

    Raises `GenreError` for an item that was no candidate of the query.
    """
    asked = [item.item_id for item in slate.items] if items is None else list(items)
    found = explain_items(pipeline, pipeline.hydrate([slate.query]), asked, latest, language)
    return [replace(one, notes=[*one.notes, *noted(slate, one.item_id, language)]) for one in found]


def explain_items(
    pipeline: Pipeline, histories: Histories, items: Sequence[str], latest: int = LATEST, language: Language = "en"
) -> list[Explanation]:
    """The same for the one person of ``histories``, asked of as they are."""
    if not items:
        return []
    inquiry, trace = Inquiry(pipeline, histories, latest), Trace()
    places = inquiry.places([pipeline.item_row(item) for item in items])
    rows, terms = inquiry.retrieved[0].item[places], inquiry.terms(places)
    said = predicted(pipeline.resources.model, pipeline.heads, histories, [rows], trace)
    found = [_explanation(inquiry, at, terms, i) for i, at in enumerate(places)]
    for i, row in enumerate(rows.tolist()):
        heads = {head: values[0, row] for head, values in said.items()}
        found[i] = replace(found[i], predictions=heads, missing=found[i].missing | trace.failures())
    text = histories.texts[0]
    return [replace(one, sentence=sentence(one, text, language), notes=remarks(one, text, language)) for one in found]


@dataclass(frozen=True)
class Inquiry:
    """One person's candidates, asked of with the whole history and with each of its ``latest`` events left out."""

    pipeline: Pipeline
    histories: Histories
    latest: int

    @cached_property
    def retrieved(self) -> tuple[Candidates, Trace]:
        """The candidates, which stay the same whatever is left out."""
        return self.pipeline.retrieve(self.histories)

    @cached_property
    def block(self) -> Histories:
        """The whole history, then one for each event left out, the latest first, then one without the text."""
        return without_each(self.histories, self.latest)

    @cached_property
    def described(self) -> tuple[Candidates, Trace]:
        """All that is said of the candidates, for every history of the block: one pass."""
        return self.pipeline.anew(self.block, repeated(self.retrieved[0], len(self.block)))

    @cached_property
    def scored(self) -> Floats:
        """What the scorer says: ``[block, candidates]``."""
        candidates, _ = self.described
        said = self.pipeline.scorer.score(self.pipeline.scorer_state, candidates)
        return said.reshape(len(self.block), -1)

    @cached_property
    def finals(self) -> Floats:
        """Final scores, reading the top again included, -inf where not finite: ``[block, candidates]``."""
        reader, (candidates, _) = self.pipeline.reranker, self.described
        said = np.where(np.isfinite(self.scored), self.scored, -np.inf).astype(np.float32)
        if reader is None or not reader.weight:
            return said
        spread = candidates.spread(said.ravel(), self.pipeline.data.items.num_rows)
        return reader.apply(spread, self.block)[:, self.retrieved[0].item]

    @cached_property
    def whole(self) -> Candidates:
        """All that is said of the candidates with nothing left out."""
        return self.described[0].of_people(np.arange(len(self.block)) == 0)

    def terms(self, places: Sequence[int]) -> Terms | None:
        """The scorer's scores of some candidates as sums; None where the scorer gives none."""
        made = getattr(self.pipeline.scorer, "terms", None)
        return None if made is None else made(self.pipeline.scorer_state, self.whole, np.array(places))

    def ranks(self, scores: Floats, at: int) -> Indices:
        """Place of a candidate by each row of ``scores``, equal ones in order of the items as in a slate."""
        own = scores[:, [at]]
        ahead = (scores > own).sum(1) + (scores[:, :at] == own).sum(1)
        return ahead + 1

    def places(self, rows: Sequence[int]) -> list[int]:
        """Where the items stand among the candidates. Raises `GenreError` for one that is none."""
        item, ids = self.retrieved[0].item, self.pipeline.item_ids
        at = np.searchsorted(item, rows)
        for row, place in zip(rows, at.tolist(), strict=True):
            if place >= len(item) or item[place] != row:
                hint = suggest(ids[row], [ids[one] for one in item[:20]])
                raise GenreError(
                    f"item '{ids[row]}' is no candidate of this query, so there is nothing to explain; {hint}"
                )
        return at.tolist()


def without_each(histories: Histories, latest: int) -> Histories:
    """Of one person: the history as it is, without each of its ``latest`` events, the last first, without its text."""
    n, spoken = min(int(histories.lengths[0]), latest), histories.texts[0] is not None
    block = histories.take(np.zeros(1 + n + spoken, dtype=np.int64))
    left_out = np.full(len(block), -1)
    left_out[1 : n + 1] = np.arange(n)
    keep = block.age != left_out[block.owner]
    return replace(
        block,
        offsets=np.concatenate([[0], np.cumsum(block.lengths - (left_out >= 0))]).astype(np.int64),
        item=block.item[keep],
        value=block.value[keep],
        action=block.action[keep],
        time=None if block.time is None else block.time[keep],
        texts=(*block.texts[:-1], None) if spoken else block.texts,
    )


def repeated(candidates: Candidates, n: int) -> Candidates:
    """The candidates of one person for ``n`` people, of which nothing is known yet."""
    return Candidates(np.arange(n + 1, dtype=np.int64) * len(candidates), np.tile(candidates.item, n), {})


def _explanation(inquiry: Inquiry, at: int, terms: Terms | None, i: int) -> Explanation:
    """All of the candidate at a place but what the heads say and the words; its terms are the ``i``-th."""
    pipeline, (candidates, trace) = inquiry.pipeline, inquiry.retrieved
    row, rank = int(candidates.item[at]), int(inquiry.ranks(inquiry.finals[:1], at)[0])
    return Explanation(
        item_id=pipeline.item_ids[row],
        title=pipeline.titles[row],
        score=float(inquiry.finals[0, at]),
        rank=rank,
        scorer_rank=int(inquiry.ranks(inquiry.scored[:1], at)[0]),
        carried=_carried(inquiry, at),
        events=int(inquiry.histories.lengths[0]),
        origins=_origins(inquiry, at, terms, i),
        base=None if terms is None else float(terms.base[i]),
        terms={} if terms is None else _columns(terms, i),
        missing=trace.skipped(0) | inquiry.described[1].failures(),
    )


def _carried(inquiry: Inquiry, at: int) -> list[Carried]:
    """What each event adds to the score of a candidate, and the text, the largest first."""
    pipeline, history, finals = inquiry.pipeline, inquiry.histories, inquiry.finals
    change = finals[0, at] - finals[:, at]
    ranks, n = inquiry.ranks(finals, at), min(len(history.item), inquiry.latest)
    rows = history.item[::-1][:n].tolist()
    found = [
        Carried(pipeline.item_ids[row], pipeline.titles[row], age, float(change[1 + age]), int(ranks[1 + age]))
        for age, row in enumerate(rows)
    ]
    if len(finals) > 1 + n:
        found.append(Carried(None, history.texts[0] or "", 0, float(change[-1]), int(ranks[-1])))
    return sorted(found, key=lambda one: -one.change)


def _origins(inquiry: Inquiry, at: int, terms: Terms | None, i: int) -> list[Origin]:
    """What each source says of a candidate, those that add most first."""
    trace, row = inquiry.retrieved[1], int(inquiry.retrieved[0].item[at])
    ranks, missing = trace.ranks(0), trace.skipped(0)
    weights, adds = ({}, {}) if terms is None else (terms.weights, terms.weighed)
    found = [
        Origin(
            source=name,
            rank=ranks.get(name, {}).get(row),
            score=None if name in missing else float(values[at]),
            weight=float(weights[name][i]) if name in weights else None,
            adds=float(adds[name][i]) if name in adds else None,
        )
        for name, values in inquiry.whole.scores.items()
    ]
    return sorted(found, key=lambda one: (-(one.adds or 0.0), one.rank or np.inf))


def _columns(terms: Terms, i: int) -> dict[str, float]:
    """What each column adds, the largest first, sources in the weighed sum by their name."""
    found = {name: float(values[i]) for name, values in terms.weighed.items()}
    found |= {f"trees: {name}": float(values[i]) for name, values in terms.trees.items()}
    return dict(sorted(found.items(), key=lambda one: -abs(one[1])))
