"""Like or dislike from 16, 64 and 256 examples, beside counting: what people's history shares and films' rates say.

    python benchmarks/likes.py                     # MovieLens 100K, three draws a point
    python benchmarks/likes.py --models marked_few marked_log --set model.adapter=frozen train.epochs=0

Each person's last ten ratings are the test, so that people's own films can be compared (per-user AUC) and not only all
ratings in one heap (pooled AUC), which rewards knowing who likes much. A draw is a seed: other examples, another start.
Training, and the choice of when to stop, see so many examples each. What every system is told:

  few     the histories with their ratings, and the examples: history share + rate of the films among the examples
  log     all ratings of the training part too: share + rate, and effects of people and films fitted in turns
  plain   a model that reads titles of the history, as they are                         (told: examples)
  marked  the same with liked and disliked films told apart                             (told: few)
  marked_few    the same, starting from the history: its share of likes, and how alike the film is to liked ones
                                                                                         (told: few)
  marked_log    the same, starting from the log: effects of people and films, likeness  (told: log)

``few`` leaves three numbers to the log: the overall share of likes, the strength of shrinkage and the weight of
likeness. ``few_alike`` and ``log_alike`` are where the two last models start, before they see an example. Intervals are
over people (bootstrap, one set of resamples, differences paired and averaged over draws). Test chooses nothing.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
CONFIG = HERE.parent / "configs" / "cross.yaml"
MARKED = "liked: {liked} [SEP] disliked: {disliked} [SEP] {item}"
LIKE = {"type": "binary", "label": "value >= 4"}
MODELS: dict[str, tuple[str, list[str]]] = {
    "plain": ("{history} [SEP] {item}", []),
    "marked": (MARKED, []),
    "marked_few": (MARKED, ["user", "text"]),
    "marked_log": (MARKED, ["user", "item", "text"]),
}
PAIRS = {
    "plain": ("few_share_and_rate",),
    "marked": ("few_share_and_rate", "plain"),
    "marked_few": ("few_share_and_rate", "few_alike"),
    "marked_log": ("log_share_and_rate", "log_effects", "log_alike"),
}
"""What each model is compared with: what was told as much."""
METRICS = ("label_auc", "grouped_auc", "logloss")


def main() -> None:
    """Every model at every point, beside what counts; print, keep."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    options.add_argument("--shots", type=int, nargs="+", default=[16, 64, 256])
    options.add_argument("--draws", type=int, default=3)
    options.add_argument("--people", type=int, help="who are judged, drawn once; all unless told")
    rows = "imagined rows that shrink the films' rate among the examples; 3 is best for it on test, which favours it"
    options.add_argument("--strength", type=float, default=3.0, help=rows)
    options.add_argument("--judge", choices=["valid", "test"], default="test", help="valid, to choose settings by")
    options.add_argument("--steps", type=int, default=60, help="of the warm-up and of fine-tuning, each, at most")
    options.add_argument("--set", nargs="*", default=[], help="further overrides, as genre takes them")
    options.add_argument("--out", type=Path, default=HERE / "results" / "likes.json")
    chosen = options.parse_args()
    asked = {name: value for name, value in vars(chosen).items() if name != "out"}
    points = []
    for shots in chosen.shots:
        runs = [draw(chosen, shots, seed) for seed in range(1, chosen.draws + 1)]
        points.append({"shots": shots, "seconds": runs[0]["seconds"], **summary(runs, chosen.models)})
        print(told(points[-1]), flush=True)
        chosen.out.parent.mkdir(parents=True, exist_ok=True)
        chosen.out.write_text(json.dumps({"asked": asked, "points": points}, indent=1) + "\n")


def draw(chosen: argparse.Namespace, shots: int, seed: int) -> dict[str, Any]:
    """What every system scores in one draw, with what it would have with other people."""
    found: dict[str, Any] = {"seconds": {}, "measured": {}}
    for name in chosen.models:
        made = trained(name, chosen, shots, seed)
        found["seconds"][name] = made.pop("seconds")
        said = dict(zip((f"{name}_before", name)[-len(made["answers"]) :], made["answers"], strict=True))
        said |= counting(made, chosen.strength) if len(found["measured"]) == 0 else {}
        for system, scores in said.items():
            found["measured"][system] = measured(made, scores)
        print(f"  {shots} {seed} {name}: " + line(found["measured"][name]), flush=True)
    return found


def trained(name: str, chosen: argparse.Namespace, shots: int, seed: int) -> dict[str, Any]:
    """Train one model; what it says of the test rows, and the rows that it and counting saw."""
    from genre.configfile import load
    from genre.data import Dataset
    from genre.prepare import prepare
    from genre.run import Run
    from genre.sheets import SheetMaker
    from genre.textencoder import item_vectors
    from genre.textmodel import TrainedTexts
    from genre.train import train

    prompt, offset = MODELS[name]
    steps = math.ceil(chosen.steps / math.ceil(shots / 16))
    head = json.dumps({"like": LIKE | {"offset": offset}})
    config = load(
        CONFIG,
        [
            "data.split={type: last, valid: 5, test: 10}",
            f"model.formulation={json.dumps({'type': 'cross', 'prompt': prompt, 'targets': 5, 'negatives': 0})}",
            "model.max_tokens=64",
            "model.template='{title} ({year}) {categories}'",
            f"model.heads={head}",
            "model.adapter={type: lora, r: 8, layers: 2, targets: [query, key, value, output, up, down]}",
            "train.early_stopping.metric=like.logloss",
            f"train.early_stopping.patience={max(3, steps // 4)}",
            f"train.warmup_epochs={steps}",
            f"train.epochs={steps}",
            "train.batch_size=16",
            "train.lr={backbone: 3e-4, rest: 3e-4, rest_finetune: 3e-4}",
            f"train.shots={shots}",
            f"seed={seed}",
            f"name=likes-{name}",
            "pipeline={sources: [popular]}",
            *chosen.set,
        ],
    )
    with tempfile.TemporaryDirectory() as place:
        run = Run.create(config, Path(place))
        prepare(config, run)
        train(config, run)
        data = Dataset.load(run.path("data"))
        versions = [TrainedTexts.load(run.path("model") / one, data) for one in ("before", "finetuned")]
        maker = SheetMaker(config.model, versions[0].loaded, data, config.seed, shots)
        sheets = {part: maker.part(part) for part in ("train", "valid")}
        sheets["test"] = judged(maker, chosen.judge, chosen.people)
        if not config.train.epochs:
            versions = versions[1:]
        answers = [np.array(one.answers(sheets["test"], 4e9)["like"]) for one in versions]
        training = json.loads((run.path("model") / "training.json").read_text())
    vectors = partial(item_vectors, config.model, maker.loaded, data)
    return {"answers": answers, "sheets": sheets, "log": maker.log, "vectors": vectors, "seconds": training["seconds"]}


def judged(maker: Any, part: str, people: int | None) -> Any:
    """The prompts of a part of all people, or of so many; validation is whole here, whatever training saw of it."""
    from genre.sheets import _taken, section_ask

    asked = section_ask(maker, part)
    some = np.random.default_rng(0).permutation(np.unique(asked.user))[:people]
    return maker.of(_taken(asked, np.flatnonzero(np.isin(asked.user, some))))


def counting(made: dict[str, Any], strength: float) -> dict[str, Any]:
    """What counting says of the test rows: from histories and examples, and from the whole training part."""
    from genre.component import Slot
    from genre.offsets import Offset

    log, test = made["log"], made["sheets"]["test"]
    found = {}
    for of in (("user",), ("item",), ("user", "item"), ("user", "text"), ("user", "item", "text")):
        head = Slot("heads").build({**LIKE, "offset": list(of)})
        found[of] = 1 / (1 + np.exp(-Offset.fit("like", head, log, made["vectors"]).says(test.asked, log.part)))
    mean = float(np.mean(log.value[log.part == 0] >= 4))
    item = np.concatenate([made["sheets"][part].asked.item for part in ("train", "valid")])
    liked = np.concatenate([made["sheets"][part].labels["like"] for part in ("train", "valid")])
    few = np.bincount(item, liked - liked.mean(), log.n_items) / (np.bincount(item, minlength=log.n_items) + strength)
    return {
        "few_share": found["user",],
        "few_share_and_rate": found["user",] + few[test.asked.item],
        "few_alike": found["user", "text"],
        "log_share_and_rate": found["user",] + found["item",] - mean,
        "log_effects": found["user", "item"],
        "log_alike": found["user", "item", "text"],
    }


def measured(made: dict[str, Any], scores: Any) -> dict[str, Any]:
    """Pooled AUC, AUC within each person, and log-loss, with their resamples."""
    from genre.comparisons import Resamples
    from genre.component import Slot
    from genre.metrics import Predictions
    from genre.taskmeasures import measures_of_task

    test = made["sheets"]["test"]
    outcome = Predictions(test.labels["like"], np.clip(scores, 1e-3, 1 - 1e-3).astype(np.float32), test.asked.user)
    judges = [Slot("metrics").build(name) for name in METRICS]
    found: dict[str, Any] = {}
    for judge in judges:
        # Values by person are resampled by person; so are whole rows.
        users = test.asked.user
        found |= dict(measures_of_task(outcome, [judge], Resamples.of(users, 500, 7)))
    return found


def summary(runs: list[dict[str, Any]], models: list[str]) -> dict[str, Any]:
    """The mean of every system over draws, and each model less what was told as much."""
    systems = {name: {metric: mean(runs, name, metric) for metric in METRICS} for name in runs[0]["measured"]}
    pairs = [(a, b) for a in models for b in (*PAIRS[a], f"{a}_before") if b in systems]
    return {"systems": systems, "differences": [less(runs, a, b, metric) for a, b in pairs for metric in METRICS]}


def mean(runs: list[dict[str, Any]], name: str, metric: str) -> dict[str, Any]:
    """Mean over draws, with the interval over people."""
    from genre.comparisons import interval

    values = [run["measured"][name][metric] for run in runs]
    return {"value": float(np.mean([one.value for one in values])), "ci95": interval(over_draws(values))}


def over_draws(values: list[Any]) -> Any:
    """The resamples of several draws, which are of the same people, as one."""
    return np.mean([one.draws for one in values], axis=0)


def less(runs: list[dict[str, Any]], a: str, b: str, metric: str) -> dict[str, Any]:
    """One system less another, by people and by draws."""
    from genre.comparisons import interval

    pairs = [(run["measured"][a][metric], run["measured"][b][metric]) for run in runs]
    draws = [one.value - other.value for one, other in pairs]
    apart = over_draws([one for one, _ in pairs]) - over_draws([other for _, other in pairs])
    return {
        "a": a,
        "b": b,
        "metric": metric,
        "difference": float(np.mean(draws)),
        "ci95": interval(apart),
        "draws": draws,
    }


def told(point: dict[str, Any]) -> str:
    """A point in lines."""
    lines = [f"{point['shots']} examples"]
    for name, found in point["systems"].items():
        cells = [f"{m} {one['value']:.4f} [{one['ci95'][0]:.4f}, {one['ci95'][1]:.4f}]" for m, one in found.items()]
        lines.append(f"  {name:20} " + "  ".join(cells))
    for one in point["differences"]:
        low, high = one["ci95"]
        spread = ", ".join(f"{value:+.4f}" for value in one["draws"])
        what = f"{one['a']} less {one['b']}, {one['metric']}"
        lines.append(f"  {what:55} {one['difference']:+.4f} [{low:+.4f}, {high:+.4f}]  draws {spread}")
    return "\n".join(lines)


def line(found: dict[str, Any]) -> str:
    """The measures of one system."""
    return "  ".join(f"{metric} {found[metric].value:.4f}" for metric in METRICS)


if __name__ == "__main__":
    main()
