"""What several workers cannot do together, told before anything starts."""

from __future__ import annotations

from collections.abc import Iterator

from genre.component import name_of
from genre.config import Config
from genre.modelchecks import Check, Finding, Given
from genre.yamlfile import KeyPath

BY_GRADIENTS = ("gradnorm", "pcgrad", "upgrad")
"""Balancers that look at every task's gradient."""


def sharding(config: Config, given: Given) -> Iterator[Finding]:
    """Weights in parts, where something wants them whole."""
    if config.executor.shard == "none":
        return
    at, model = ("executor", "shard"), config.model
    reads = model.formulation.reads
    if config.executor.workers == 1:
        yield at, "divides weights among workers, and executor.workers is 1"
    if reads == "items" and not model.text:
        yield at, "divides the language model, which model.text: false leaves out"
    elif name_of(model.adapter) != "full":
        what = (
            "needs model.adapter: full, where every weight is trained; others share the weights that they leave alone"
        )
        yield at, f"{what}, and it is {name_of(model.adapter)}"
    if config.train.ema is not None:
        yield (
            ("train", "ema"),
            "keeps whole weights beside those that executor.shard: full divides; leave one of them out",
        )
    if reads != "items" and name_of(model.balance) in BY_GRADIENTS:
        what = f"{name_of(model.balance)} compares whole gradients, which executor.shard: full divides"
        yield ("model", "balance"), f"{what}; take fixed, uncertainty or dwa"


def shared_losses(config: Config, given: Given) -> Iterator[Finding]:
    """Losses of several workers that cannot be put together to that of one."""
    perturb = config.train.perturb
    if config.executor.workers == 1 or perturb is None or name_of(perturb) != "rdrop":
        return
    for name, head in config.model.heads.items():
        weighed = name_of(head) == "listwise" or getattr(head, "class_weights", "none") != "none"
        if weighed:
            what = f"is a mean over lists or weighed classes, and rdrop's over rows: {config.executor.workers} workers"
            yield ("model", "heads", name), f"{what} cannot put both together; take fgm, freelb, or one worker"


_MODEL: list[KeyPath] = [("model", name) for name in ("formulation", "heads", "adapter", "balance", "text")]
CHECKS: dict[Check, list[KeyPath]] = {
    sharding: [*_MODEL, ("executor",), ("train", "ema")],
    shared_losses: [*_MODEL, ("executor",), ("train", "perturb")],
}
"""Each check, with the settings it reads."""
