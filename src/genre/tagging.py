"""Tags that people gave items: which come first, and how they read as text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable


def by_use(items: Iterable[str], tags: Iterable[str]) -> dict[str, list[str]]:
    """Each item's distinct tags: those given to it most often first, then those most used overall, then by letter."""
    given = list(zip(items, tags, strict=True))
    overall, here = Counter(tag for _, tag in given), Counter(given)
    order = sorted(here, key=lambda pair: (-here[pair], -overall[pair[1]], pair[1]))
    found: dict[str, list[str]] = {}
    for item, tag in order:
        found.setdefault(item, []).append(tag)
    return found


def readable(tags: Iterable[str]) -> str:
    """Tags as text: ``systems_biology`` and ``systems-biology`` are both ``systems biology``, said once."""
    words = (re.sub(r"[\W_]+", " ", tag).strip().lower() for tag in tags)
    return ", ".join(dict.fromkeys(word for word in words if word))
