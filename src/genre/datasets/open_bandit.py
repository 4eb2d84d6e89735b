"""Open Bandit: what a fashion shop showed, with the probability that it was shown."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from genre.component import component
from genre.data import SKIP
from genre.datasets import Reading
from genre.places import members
from genre.rows import Rejected, arrow, delimited, need

FOLDER = "open-bandit-small"
SOURCE = "https://research.zozo.com/data.html (a sample: pip download obp)"
LICENCE = "Open Bandit Dataset (ZOZO): CC BY 4.0"
WANTED = ["timestamp", "item_id", "position", "click", "propensity_score"]
PERSON = [f"user_feature_{i}" for i in range(4)]


@component
class OpenBandit:
    """The Open Bandit Dataset: each item shown in one of three places is a ``click`` or a ``skip``, with its true
    ``propensity``, by a uniform policy or by Thompson sampling.

    There are no people, only four coarse features of them: everyone with the same four counts as one user. Every row is
    an impression by itself. Items have no text but ``feature_0`` and the hashes ``feature_1`` to ``feature_3``. The
    sample of 10,000 rows a log has some 40 to 70 clicks: enough to check code, too few to conclude anything.
    Saito et al. (2021), https://arxiv.org/abs/2008.07146.
    """

    policy: Literal["random", "bts"] = "random"
    """Whose log: of the uniform policy, or of Bernoulli Thompson sampling."""
    campaign: Literal["all", "men", "women"] = "all"
    """Of which campaign: 80, 34 or 46 items."""
    path: Path | None = None
    """The folder with ``random_all.csv``, ``item_context_all.csv`` and the like, plain or gzipped; by default
    ``open-bandit-small``. One that is not in the working directory is looked for where ``genre data get`` puts data
    sets, then below ``GENRE_DATA``, else below ``../shared/data``."""

    def files(self) -> list[Path]:
        names = (f"{self.policy}_{self.campaign}.csv", f"item_context_{self.campaign}.csv")
        return list(members(self.path, FOLDER, names, SOURCE).values())

    def read(self) -> Reading:
        log_file, item_file = self.files()
        rejected: Rejected = []
        log = delimited(log_file, ",", None, rejected)
        need(log, WANTED + PERSON, log_file, f"fetch it from {SOURCE}")
        people = list(zip(*(log[name] for name in PERSON), strict=True))
        number = {features: f"u{i}" for i, features in enumerate(dict.fromkeys(people))}
        rows: dict[str, list[Any]] = {
            "user_id": [number[features] for features in people],
            "item_id": log["item_id"],
            "action": ["click" if click == "1" else SKIP for click in log["click"]],
            "timestamp": [_seconds(text) for text in log["timestamp"]],
            "impression_id": [f"{self.policy}-{line}" for line in log["line"]],
            "position": log["position"],
            "propensity": log["propensity_score"],
            "file": log["file"],
            "line": log["line"],
        }
        items = delimited(item_file, ",", None, rejected)
        features = [f"item_feature_{i}" for i in range(4)]
        need(items, ["item_id", *features], item_file, f"fetch it from {SOURCE}")
        kept = {name.removeprefix("item_"): items[name] for name in features}
        described = {"item_id": items["item_id"], **kept, "file": items["file"], "line": items["line"]}
        users = {"user_id": list(number.values())}
        users |= {f"feature_{i}": [features[i] for features in number] for i in range(4)}
        name = f"{FOLDER}-{self.policy}-{self.campaign}"
        return Reading(arrow(rows), arrow(described), arrow(users), rejected, name, SOURCE, LICENCE)


def _seconds(text: str) -> Any:
    """Seconds since 1970, or the text as it stands where it is no time, for `prepare` to reject."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return text
