"""How the report writes systems, numbers, labels and slices for people."""

from __future__ import annotations

import re
from typing import Any

LABELS = {
    "genre": "GENRE, whole pipeline",
    "genre_before": "GENRE before fine-tuning",
    "model": "model, fine-tuned",
    "model_before": "model before fine-tuning",
    "pretrained": "language model as it came",
    "retrieved": "pipeline without reading its top again",
    "unarranged": "pipeline without its rerankers",
    "tfidf": "TF-IDF and a linear model",
}


def label(system: str) -> str:
    """A system's name for people."""
    return LABELS.get(system, system.replace("_", " "))


def words(value: float | None, task: str) -> str:
    """A label or what was said of it, for people: a yes or no where it is certain, else how likely a yes is."""
    if value is None:
        return "not known"
    if task != "binary":
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return {0.0: "no", 1.0: "yes"}.get(value, f"{value:.0%} yes")


def relative(values: list[float | None]) -> list[float | None]:
    """Shares of the first known value."""
    first = next((value for value in values if value), None)
    return [value / first if value is not None and first else None for value in values]


def choice_in_words(facts: dict[str, Any]) -> str:
    """What validation chose for a baseline, in words: ``ngrams 1, 2, strength 10`` of ``Choice(...)``."""
    choice = str(facts.get("choice") or "")
    inside = re.fullmatch(r"\w+\((.*)\)", choice)
    return inside[1].replace("=", " ").replace("'", "") if inside else ""


def number(value: float | None, digits: int = 4) -> str:
    """A measure with a fixed number of digits, so that columns align."""
    return "–" if value is None else f"{value:.{digits}f}"


def signed(value: float) -> str:
    """A difference, with its sign."""
    return f"{value:+.4f}".replace("-", "−")


def count(value: float | None) -> str:
    """A count with thin spaces between thousands."""
    return "–" if value is None else f"{value:,.0f}".replace(",", "\u202f")


def duration(seconds: float | None) -> str:
    """Seconds, or minutes and seconds."""
    if seconds is None:
        return "–"
    return f"{seconds:.1f} s" if seconds < 90 else f"{int(seconds // 60)} min {int(seconds % 60)} s"


def slice_in_words(name: str) -> str:
    """``user_history_1_5`` as ``history 1–5``, ``age=55_up`` as ``age 55 and more``."""
    words = re.sub(r"^(user|item)_(?!interactions|.*=)", "", name).replace("=", " ").replace("..", "–")
    words = re.sub(r"(\d)_(\d+)$", r"\1–\2", words)
    return re.sub(r"_up$", " and more", words).replace("_", " ")
