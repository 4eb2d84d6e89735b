"""What a run wastes its time on, by rules over a profile, and the setting that mends each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from genre.config import Config

TRAINING = ("warmup", "contrast", "heads", "finetune")
LAYERS = ("trained layers", "backward, layers")
GOOD_SHARE = 0.7
"""Share of the peak that a dense part reaches when all is well."""


@dataclass(frozen=True)
class Waste:
    """Time that need not be spent."""

    seconds: float
    """Of the whole run, about, that the mend saves."""
    sentence: str
    setting: str
    """What to change."""


def wastes(profile: dict[str, Any], config: Config) -> list[dict[str, Any]]:
    """The wastes of a profile, the largest first; where there is none, the most expensive part."""
    found = [waste for rule in RULES if (waste := rule(profile, config)) is not None]
    kept = sorted(found, key=lambda one: -one.seconds) or [_most_expensive(profile, config)]
    return [asdict(waste) for waste in kept]


def seconds_of(profile: dict[str, Any], parts: tuple[str, ...], stretches: tuple[str, ...] = TRAINING) -> float:
    """Seconds of some parts in the whole run."""
    return sum(row["whole_seconds"] for row in _rows(profile, parts, stretches))


def _rows(profile: dict[str, Any], parts: tuple[str, ...], stretches: tuple[str, ...]) -> list[dict[str, Any]]:
    known = [profile["stretches"][name] for name in stretches if name in profile["stretches"]]
    return [row for stretch in known for row in stretch["parts"] if row["part"] in parts]


def _training(profile: dict[str, Any]) -> float:
    known = (profile["stretches"].get(name) for name in TRAINING)
    return sum(stretch["whole_seconds"] for stretch in known if stretch)


def _dense(profile: dict[str, Any], config: Config) -> tuple[list[dict[str, Any]], float]:
    """The parts of a step that are the trained layers, and their seconds in the whole run."""
    by_item = config.model.formulation.reads == "items"
    rows = _rows(profile, LAYERS if by_item else (*LAYERS, "backward"), ("finetune", "contrast"))
    return rows, sum(row["whole_seconds"] for row in rows)


def padding(profile: dict[str, Any], config: Config) -> Waste | None:
    """Tokens that stand for nothing, where texts of different lengths are read together."""
    rows = _rows(profile, ("trained layers", "frozen layers"), ("set-up", "finetune", "contrast"))
    rows = [row for row in rows if row.get("places") and row.get("tokens")]
    places = sum(row["places"] for row in rows)
    if not places:
        return None
    share = 1 - sum(row["tokens"] for row in rows) / places
    seconds = share * (_dense(profile, config)[1] + seconds_of(profile, ("frozen layers",), ("set-up",)))
    if share < 0.1:
        return None
    return Waste(
        seconds,
        f"padding: {share:.0%} of the tokens that the language model reads are padding",
        f"train.token_budget: {max(256, config.train.token_budget // 2)}, as fewer texts together are more alike in "
        f"length; or a lower model.max_tokens than {config.model.max_tokens}",
    )


def heads(profile: dict[str, Any], config: Config) -> Waste | None:
    """Heads that weigh too much beside the rest of a step."""
    seconds, training = seconds_of(profile, ("heads",)), _training(profile)
    if not training or seconds < 0.4 * training:
        return None
    sentence = f"heads take {seconds / training:.0%} of training"
    name = next((name for name, head in config.model.heads.items() if hasattr(head, "negatives")), None)
    if name is None:
        return Waste(seconds / 2, sentence, "train.batch_size: a larger one has fewer steps")
    head: Any = config.model.heads[name]
    now = "all items" if head.negatives is None else head.negatives
    few = 512 if head.negatives is None else max(16, head.negatives // 2)
    return Waste(seconds / 2, f"{sentence} (candidates: {now})", f"model.heads.{name}.negatives: {few}")


def dense_share(profile: dict[str, Any], config: Config) -> Waste | None:
    """Products of the trained layers that are slower than this machine can do them."""
    rows, seconds = _dense(profile, config)
    known = [row for row in rows if row["flop"]]
    if not known or not seconds:
        return None
    share = sum(row["of_peak"] * row["seconds"] for row in known) / sum(row["seconds"] for row in known)
    if share >= 0.6:
        return None
    return Waste(
        seconds * max(0.0, 1 - share / GOOD_SHARE),
        f"the dense part of a step reaches {share:.0%} of this machine's GEMM peak",
        f"train.token_budget: {2 * config.train.token_budget}, as larger products are faster; and nothing else running "
        "on this machine",
    )


def recomputed(profile: dict[str, Any], config: Config) -> Waste | None:
    """Layers that are not trained, and are read anew in every step."""
    seconds = seconds_of(profile, ("frozen layers",))
    if not seconds:
        return None
    more = max(8.0, 4 * config.train.cache_gb)
    return Waste(
        seconds,
        f"frozen layers are computed anew in every epoch, as their states have no room in {config.train.cache_gb:g} GB",
        f"train.cache_gb: {more:g}, or model.max_tokens lower than {config.model.max_tokens}",
    )


def evaluation(profile: dict[str, Any], config: Config) -> Waste | None:
    """Measuring that takes longer than what it measures."""
    stretch = profile["stretches"].get("evaluate")
    training = _training(profile) + profile["stretches"]["set-up"]["whole_seconds"]
    if stretch is None or stretch["whole_seconds"] <= training:
        return None
    part = max(stretch["parts"], key=lambda row: row["whole_seconds"])
    mends = {
        "few-events curve": "evaluate.shots: []",
        "intervals": f"evaluate.bootstrap: {max(100, config.evaluate.bootstrap // 4)}",
    }
    mend = mends.get(part["part"], "evaluate.baselines: fewer of them, such as [popular, ease]")
    more = stretch["whole_seconds"] / max(training, 1e-9)
    return Waste(
        min(part["whole_seconds"], stretch["whole_seconds"] - training),
        f"evaluation takes {more:.1f} times as long as training, most of it in '{part['part']}'",
        mend,
    )


def batching(profile: dict[str, Any], config: Config) -> Waste | None:
    """Batches that take long to put together."""
    seconds, training = seconds_of(profile, ("batching", "read states")), _training(profile)
    if not training or seconds < 0.2 * training:
        return None
    return Waste(
        seconds / 2,
        f"putting batches together and reading their states takes {seconds / training:.0%} of training",
        f"train.batch_size: {2 * config.train.batch_size}, or a lower model.max_history than "
        f"{config.model.max_history}",
    )


def optimizer(profile: dict[str, Any], config: Config) -> Waste | None:
    """Steps that move more weights than they learn from."""
    seconds, training = seconds_of(profile, ("optimizer",)), _training(profile)
    if not training or seconds < 0.25 * training:
        return None
    by_item = config.model.ids and config.model.formulation.reads == "items"
    return Waste(
        seconds / 2,
        f"the optimizer takes {seconds / training:.0%} of training",
        f"train.batch_size: {2 * config.train.batch_size}, which makes half as many steps"
        + ("; or model.ids: false, whose table is most of what it moves" if by_item else ""),
    )


def users(profile: dict[str, Any], config: Config) -> Waste | None:
    """A user encoder that weighs more than all else."""
    seconds, training = seconds_of(profile, ("user encoder",)), _training(profile)
    if not training or seconds < 0.4 * training:
        return None
    return Waste(
        seconds / 2,
        f"the user encoder takes {seconds / training:.0%} of training",
        f"model.max_history: {max(1, config.model.max_history // 2)}, or fewer model.user.layers",
    )


def settling(profile: dict[str, Any], config: Config) -> Waste | None:
    """Vectors of the whole catalogue that are made after each epoch."""
    seconds, training = seconds_of(profile, ("all item vectors",), ("finetune",)), _training(profile)
    if not training or seconds < 0.3 * training:
        return None
    layers = getattr(config.model.adapter, "layers", None)
    return Waste(
        seconds / 2,
        f"making the vectors of all items after each epoch takes {seconds / training:.0%} of training",
        "train.epochs: fewer" + (f", or model.adapter.layers: {layers // 2}" if layers and layers > 1 else ""),
    )


def threads(profile: dict[str, Any], config: Config) -> Waste | None:
    """Cores that stand idle, or that get into each other's way."""
    speeds = {int(number): speed for number, speed in profile["limits"]["threads"].items()}
    now, best = profile["machine"]["threads"], profile["limits"]["best_threads"]
    if now not in speeds or speeds[best] < 1.1 * speeds[now]:
        return None
    gain = speeds[best] / speeds[now]
    dense = _dense(profile, config)[1] + seconds_of(profile, ("frozen layers",), (*TRAINING, "set-up"))
    return Waste(
        dense * (1 - 1 / gain),
        f"{now} threads compute, and {best} multiply matrices {gain:.1f} times as fast",
        f"train.threads: {best}, or leave OMP_NUM_THREADS unset",
    )


def precision(profile: dict[str, Any], config: Config) -> Waste | None:
    """Numbers longer than the processor needs."""
    fast, now = profile["limits"].get("bfloat16_flops", 0.0), profile["limits"]["flops"]
    seconds = _dense(profile, config)[1]
    if config.train.precision != "float32" or fast < 1.5 * now or not seconds:
        return None
    return Waste(
        seconds * (1 - now / fast),
        f"this processor multiplies bfloat16 {fast / now:.1f} times as fast as float32",
        "train.precision: bfloat16, which is coarser: see that validation stays the same",
    )


def checkpoints(profile: dict[str, Any], config: Config) -> Waste | None:
    """Checkpoints that are written too often."""
    seconds, training = seconds_of(profile, ("checkpoint",)), _training(profile)
    if not training or seconds < 0.1 * training:
        return None
    return Waste(
        seconds * 0.8,
        f"writing checkpoints takes {seconds / training:.0%} of training",
        f"train.checkpoint_every: {5 * config.train.checkpoint_every}",
    )


def _most_expensive(profile: dict[str, Any], config: Config) -> Waste:
    """Where nothing is wasted: what costs most, which only a smaller task would spare."""
    rows = [(name, row) for name, stretch in profile["stretches"].items() for row in stretch["parts"]]
    name, row = max(rows, key=lambda one: one[1]["whole_seconds"])
    total = sum(stretch["whole_seconds"] for stretch in profile["stretches"].values())
    return Waste(
        0.0,
        f"nothing is wasted that a setting could save; most time goes to '{row['part']}' in {name} "
        f"({row['whole_seconds'] / max(total, 1e-9):.0%} of the run)",
        "",
    )


Rule = Callable[[dict[str, Any], Config], Waste | None]
RULES: tuple[Rule, ...] = (
    padding,
    heads,
    dense_share,
    recomputed,
    evaluation,
    batching,
    optimizer,
    users,
    settling,
    threads,
    precision,
    checkpoints,
)
