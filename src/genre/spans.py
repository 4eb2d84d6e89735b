"""Places in a text that carry a label, such as the names in a headline: the column that token labels are made of."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

Span = tuple[int, int, str]
"""First character, the one after the last, and the label: ``text[start:end]`` is the place."""
LETTER = r"[^\W\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff]"
"""A letter or digit of a script that puts spaces between words."""


def find_spans(text: str, surfaces: Iterable[tuple[str, str]]) -> list[Span]:
    """Everywhere that one of the surfaces, each with its label, stands in the text as whole words, in any case."""
    found: list[Span] = []
    lower = _lower(text)
    for surface, label in surfaces:
        sought = _lower(" ".join(surface.split()))
        start = lower.find(sought) if sought else -1
        while start >= 0:
            end = start + len(sought)
            if not (_inside(lower, start) or _inside(lower, end)):
                found.append((start, end, label))
            start = lower.find(sought, start + 1)
    return apart(found)


def _lower(text: str) -> str:
    """In lower case and as long as before, so that places stay the same."""
    lower = text.lower()
    return lower if len(lower) == len(text) else "".join(c.lower() if len(c.lower()) == 1 else c for c in text)


def _inside(text: str, place: int) -> bool:
    """Whether a place lies within a word."""
    return 0 < place < len(text) and all(re.match(LETTER, text[i]) for i in (place - 1, place))


def apart(spans: Iterable[Span]) -> list[Span]:
    """Spans in order, none over another: of two that overlap the longer stays, of equally long ones the earlier."""
    kept: list[Span] = []
    for span in sorted(set(spans), key=lambda span: (span[0] - span[1], *span)):
        if all(span[1] <= other[0] or other[1] <= span[0] for other in kept):
            kept.append(span)
    return sorted(kept)


def write_spans(spans: Iterable[Span]) -> list[str]:
    """As they stand in a table: ``start:end:label``."""
    return [f"{start}:{end}:{label}" for start, end, label in spans]


def read_spans(value: Any, length: int | None = None) -> list[Span]:
    """Spans from a cell: a list, JSON, or words with blanks between, each ``start:end:label``, triple or object.

    Raises `ValueError` that names the span that cannot be read, or that does not lie in a text of ``length``.
    """
    if isinstance(value, str):
        value = json.loads(value) if value.lstrip().startswith("[") else value.split()
    return apart(_span(one, length) for one in value or [])


def _span(value: Any, length: int | None) -> Span:
    try:
        parts = value.split(":", 2) if isinstance(value, str) else value
        start, end, label = (parts["start"], parts["end"], parts["label"]) if isinstance(parts, dict) else parts
        span = int(start), int(end), str(label).strip()
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"span {value!r} is not start:end:label") from None
    if not span[2]:
        raise ValueError(f"span {value!r} has no label")
    if not 0 <= span[0] < span[1] or (length is not None and span[1] > length):
        raise ValueError(f"span {value!r} does not lie in its text" + (f" of {length} characters" if length else ""))
    return span
