"""How true estimates from logs are, what policies lose while they learn, what learning from logs gains, what it costs.

    python benchmarks/bandits.py [estimators agreement regret fit speed] [--repeat 200] [--seeds 20] [--out FILE]

Needs the data sets `jester` and `coat`, and `open_bandit` for ``agreement``. On one core: ``estimators`` 1 minute,
``regret`` 15, ``fit`` 2, ``speed`` half a minute.

``estimators``  Jester's people who rated all jokes, and Coat's random test, are bandits whose every reward is known. A
softmax over a supervised model's scores logs 1,000 people, drawn with replacement; a sharper one is judged. Bias,
standard deviation, mean squared error against the truth, and how often the 95 % interval (normal) holds it.
``agreement``   The same inputs, from the Open Bandit sample, through the Open Bandit Pipeline 0.5.7.
``regret``      New people (20 visits each) on Jester and on people simulated from MovieLens 100K, among all items and
among new ones alone. All policies have the same log of earlier people; some know only what items earned in it, some
who liked what, some also what MiniLM makes of the texts. Paired differences over seeds with 95 % intervals.
``fit``         `genre learn fit`'s learning from a log of 6,000 slates, by true value on people it has not seen.
``speed``       Decisions a second among 200 candidates with contexts of 64 on one core, an update, a state's size.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from banditlogs import Known, coat, evidence_of, jester, logged
from genre.component import Slot, names
from genre.environments import World
from genre.estimators import Evidence
from genre.learn.deciding import choose
from genre.learn.intervals import interval
from genre.learn.knowledge import Knowledge
from genre.learn.playing import FEATURES, play
from genre.learn.simulate import estimate, told
from genre.policies import Arms, Feedback, Policy
from peers.environment import HERE, place

ESTIMATORS = names("estimators")
PEOPLE = 1000


def estimators(repeat: int) -> dict[str, Any]:
    """Bias, spread, error and coverage of every estimator."""
    result = {}
    for name, known in (("jester", jester()), ("coat", coat())):
        logging, target = known.chances(1.0, 0.1), known.chances(0.3)
        truth = float((target * known.reward).sum(1).mean())
        said: dict[str, list[tuple[float, bool]]] = {one: [] for one in ESTIMATORS}
        for seed in range(repeat):
            rng = np.random.default_rng([seed, 1])
            people = rng.integers(0, len(known.reward), PEOPLE)
            made = evidence_of(logged(known, people, logging, rng), target[people])
            for one, found in said.items():
                guess = Slot("estimators").build(one).estimate(made)
                low, high = interval(guess, made.person, "normal")
                found.append((guess.value, low <= truth <= high))
        result[name] = {"truth": truth, "logging": float((logging * known.reward).sum(1).mean())}
        result[name]["estimators"] = {one: _error(found, truth) for one, found in said.items()}
        print(f"\n{name}: truth {truth:.4f}, {repeat} logs of {PEOPLE} people")
        for one, row in result[name]["estimators"].items():
            print(
                f"  {one:14} bias {row['bias']:+.5f}  sd {row['sd']:.5f}  mse {row['mse']:.2e}  "
                f"coverage {row['coverage']:.1%}"
            )
    return result


def _error(found: list[tuple[float, bool]], truth: float) -> dict[str, float]:
    values = np.array([value for value, _ in found])
    return {
        "bias": float(values.mean() - truth),
        "sd": float(values.std(ddof=1)),
        "mse": float(np.square(values - truth).mean()),
        "mse_error": float(np.square(values - truth).std(ddof=1) / np.sqrt(len(values))),
        "coverage": float(np.mean([held for _, held in found])),
    }


def agreement() -> dict[str, Any]:
    """Largest difference to the Open Bandit Pipeline on the same inputs."""
    folder, pins = place() / "obp", HERE / "requirements-obp.txt"
    if not (folder / "obp").is_dir():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--ignore-requires-python"]
        subprocess.run([*pip, "--target", str(folder), "-r", str(pins)], check=True)
    arrays = _open_bandit()
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, "log.npz")
        np.savez(file, **arrays)
        env = {**os.environ, "PYTHONPATH": str(folder)}
        command = [sys.executable, str(HERE / "with_obp.py"), str(file)]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    theirs = json.loads(done.stdout.splitlines()[-1])
    ours = _ours(arrays)
    result = {one: {"ours": ours[one], "obp": theirs[one], "apart": abs(ours[one] - theirs[one])} for one in theirs}
    for one, row in result.items():
        print(f"  {one:14} {row['ours']:.10f}  obp {row['obp']:.10f}  apart {row['apart']:.1e}")
    return result


def _open_bandit() -> dict[str, Any]:
    """The sample's uniform log; judged is a softmax over smoothed clicks; slates are its rows by three."""
    log: Any = Slot("datasets").build("open_bandit").read().interactions
    action = np.array([int(one) for one in log["item_id"].to_pylist()])
    reward = np.array([float(one == "click") for one in log["action"].to_pylist()])
    logged_by = np.array([float(one) for one in log["propensity"].to_pylist()])
    n, m = len(action), int(action.max()) + 1
    rate = (np.bincount(action, reward, m) + 0.4) / (np.bincount(action, minlength=m) + 100)
    rng = np.random.default_rng(0)
    target = rng.dirichlet(20 * m * rate / rate.sum(), n)
    arrays: dict[str, Any] = {"reward": reward, "action": action, "logged": logged_by, "most": 3.0, "target": target}
    arrays["predicted"] = np.tile(rate, (n, 1)) * rng.uniform(0.5, 1.5, (n, 1))
    cut = n - n % 3
    shape = (cut // 3, 3)
    arrays |= {f"slate_{name}": arrays[name][:cut].reshape(shape) for name in ("reward", "action", "logged")}
    arrays["slate_chances"] = target[:cut].reshape(*shape, m)
    arrays["slate_predicted"] = arrays["predicted"][:cut].reshape(*shape, m)
    shown = arrays["slate_action"][:, :, None]
    arrays["slate_target"] = np.take_along_axis(arrays["slate_chances"], shown, 2)[:, :, 0]
    return arrays


def _ours(arrays: dict[str, Any]) -> dict[str, float]:
    rows, action, target = np.arange(len(arrays["reward"])), arrays["action"], arrays["target"]
    columns = (arrays["reward"], arrays["logged"], target[rows, action], arrays["predicted"][rows, action])
    single = Evidence(*(c[:, None] for c in (*columns, (target * arrays["predicted"]).sum(1))))
    shown = arrays["slate_action"][:, :, None]
    predicted = np.take_along_axis(arrays["slate_predicted"], shown, 2)[:, :, 0]
    expected = (arrays["slate_chances"] * arrays["slate_predicted"]).sum(2)
    # Their model tells of the rest of the list; ours adds what it expects of the places below to that of a place.
    nothing = np.zeros_like(expected)
    lists = Evidence(
        arrays["slate_reward"], arrays["slate_logged"], arrays["slate_target"], predicted, expected, nothing
    )
    below_free = Evidence(*(getattr(lists, name) for name in ("reward", "logged", "target", "predicted", "expected")))
    limited = {"clipped_ips", "switch_dr"}
    found = {}
    for one in ESTIMATORS:
        spec = {"type": one, "most": arrays["most"]} if one in limited else one
        on = lists if one == "cascade_dr" else below_free if one == "independent" else single
        found[one] = Slot("estimators").build(spec).estimate(on).value
    return found


PLAYED: dict[str, tuple[Any, str]] = {
    "uniform": ({"type": "softmax", "temperature": 1e6}, "standing"),
    "popularity": ("greedy", "standing"),
    "thompson_beta": ("thompson_beta", "log"),
    "linucb": ("linucb", "standing"),
    "past greedy": ("greedy", "past"),
    "columns greedy": ("greedy", "columns"),
    "text greedy": ("greedy", "text"),
    "text thompson_neural": ("thompson_neural", "text"),
    "true means": ("greedy", "truth"),
}
"""Policy, and what it knows: means of items in the log (and live), also who liked what, also columns or texts."""
RIVALS = ("uniform", "popularity", "thompson_beta", "linucb", "past greedy", "columns greedy")
OURS = ("text greedy", "text thompson_neural", "true means")
EARLY = (200, 500, 1000, 2000)
"""Rounds up to which regret is compared: 2 to 20 of each of 100 new people, 1 to 10 of each of 200 new items."""
FILM = "A {categories} film of {year}"
WORLDS: dict[str, dict[str, Any]] = {
    "jester": {"type": "ratings", "reader": "jester"},
    "ml100k": {"type": "simulator", "reader": "movielens", "most_items": 1000, "text": FILM},
}
OFFERS = {"jester": {"all": 0.2, "new": 0.5}, "ml100k": {"all": 0.2, "new": 0.2}}


def regret(seeds: int, first: int = 0) -> dict[str, Any]:
    """Regret of a new person's first 20 visits, among all items and among new ones alone."""
    result: dict[str, Any] = {}
    for name, spec in WORLDS.items():
        read: dict[tuple[str, ...], np.ndarray] = {}
        for offer, share in OFFERS[name].items():
            environment = Slot("environments").build({**spec, "offer": offer, "new": share})
            played: dict[str, list[Any]] = {one: [] for one in PLAYED}
            facts = []
            for seed in range(first, first + seeds):
                world = environment.build(2000, seed)
                if world.texts not in read:
                    read[world.texts] = _read(list(world.texts))
                known, log = _known(world, read[world.texts], name)
                facts.append(world.facts)
                for one, (policy, kind) in PLAYED.items():
                    if kind in known:
                        before = log if kind == "log" else None
                        played[one].append(play(world, Slot("policies").build(policy), known[kind], 1, seed, before))
            some = {one: found for one, found in played.items() if found}
            result[f"{name} {offer}"] = _compared(some, f"{name}, {offer} items")
            result[f"{name} {offer}"]["world"] = {
                fact: float(np.mean([one[fact] for one in facts])) for fact in facts[0]
            }
            print(f"  the world: {result[f'{name} {offer}']['world']}", flush=True)
    return result


def _known(world: World, vectors: np.ndarray, name: str) -> tuple[dict[str, Knowledge], Feedback]:
    """What policies may know of a world, and its past as feedback for those that count by themselves."""
    known = {kind: Knowledge.of(world, kind, vectors) for kind in ("standing", "past", "text")}
    known["log"] = known["standing"]
    if name == "ml100k":
        known["columns"] = Knowledge.of(world, "text", _columns(world.texts))
    people, item = np.nonzero(np.isfinite(world.past))
    n, zero = len(item), np.zeros(len(item))
    log = Feedback(
        item.astype(np.int32), world.past[people, item], np.zeros((n, FEATURES)), zero, zero.astype(np.int32),
        np.arange(n),
    )  # fmt: skip
    # No policy can know it: how much is to be had by knowing what items are worth, whoever comes.
    mean = np.nan_to_num(np.nanmean(world.expected, 0), nan=known["standing"].overall)
    sure = np.full(len(mean), 1e9)
    known["truth"] = replace(known["standing"], counts=sure, sums=sure * mean)
    return known, log


def _columns(texts: tuple[str, ...]) -> np.ndarray:
    """The genres and the year of `FILM`'s texts as numbers, which no language model reads."""
    parts = [text.removeprefix("A ").rpartition(" film of ") for text in texts]
    names = sorted({one for genres, _, _ in parts for one in genres.split(", ") if one})
    years = [float(year) if year.isdigit() else 1990.0 for _, _, year in parts]
    flags = [[float(one in genres.split(", ")) for one in names] for genres, _, _ in parts]
    return np.concatenate([np.array(flags), (np.array(years)[:, None] - 1990) / 10], 1)


def _compared(played: dict[str, list[Any]], title: str) -> dict[str, Any]:
    totals = {name: np.array([one.regret.sum() / 100 for one in found]) for name, found in played.items()}
    print(f"\n{title}: regret of a new person's first 20 visits")
    for name, values in totals.items():
        one = estimate(values)
        print(f"  {name:22} {one['value']:.3f} [{one['ci95'][0]:.3f}, {one['ci95'][1]:.3f}]")
    cuts: dict[str, Any] = {}
    for ours in OURS:
        for rival in RIVALS:
            if rival in played:
                cut = {str(rounds): estimate(1 - _until(played[ours], rounds) / _until(played[rival], rounds))
                       for rounds in EARLY}  # fmt: skip
                cuts[f"{ours} against {rival}"] = cut
                ends = "  ".join(f"{n}: {_ends(one)}" for n, one in cut.items())
                print(f"  {ours} cuts {rival} by the round, {ends}")
    return {"policies": {name: told(found) for name, found in played.items()}, "cuts": cuts}


def _until(played: list[Any], rounds: int) -> np.ndarray:
    return np.array([one.regret[:rounds].sum() for one in played])


def _ends(one: dict[str, Any]) -> str:
    return f"{one['value']:+.1%} [{one['ci95'][0]:+.1%}, {one['ci95'][1]:+.1%}]"


def _read(texts: list[str]) -> np.ndarray:
    from genre.config import Config
    from genre.model import text_embedder

    config = Config(data={"reader": "jester"}, model={"max_tokens": 128})  # pyright: ignore[reportArgumentType]
    return np.asarray(text_embedder(config)(texts), dtype=np.float64)


def fit(repeat: int) -> dict[str, Any]:
    """True value of what is learned from a log, beside the supervised policy that it starts from."""
    result: dict[str, Any] = {}
    for name, known in (("jester", jester()), ("coat", coat())):
        rows: dict[str, list[float]] = {}
        for seed in range(repeat):
            for method, values in _fitted(known, seed).items():
                rows.setdefault(method, []).append(values)
        print(f"\n{name}: true value on people that it has not learned from, {repeat} logs")
        found = {one: estimate(np.array(values)) for one, values in rows.items()}
        greedy = np.array(rows["supervised greedy"])
        for one, values in rows.items():
            gain = estimate(np.array(values) - greedy)
            found[one]["gain_over_greedy"] = gain
            ends = f"[{gain['ci95'][0]:+.4f}, {gain['ci95'][1]:+.4f}]"
            print(f"  {one:28} {found[one]['value']:.4f}  over supervised greedy {gain['value']:+.4f} {ends}")
        result[name] = found
    return result


def _fitted(known: Known, seed: int) -> dict[str, float]:
    rng = np.random.default_rng([seed, 2])
    order = rng.permutation(len(known.reward))
    test, rest = order[: len(order) // 3], order[len(order) // 3 :]
    logging = known.chances(1.0, 0.1)
    sizes = {"train": 4500, "valid": 1500}
    drawn = {name: rng.choice(rest, size) for name, size in sizes.items()}
    logs = {name: logged(known, people, logging, rng) for name, people in drawn.items()}
    rows = np.arange(len(test))
    said = {"logging": float((logging * known.reward)[test].sum(1).mean())}
    said["supervised softmax"] = float((known.chances(0.3) * known.reward)[test].sum(1).mean())
    said["supervised greedy"] = float(known.reward[test][rows, known.scores[test].argmax(1)].mean())
    for method in ("doubly_robust", "policy_gradient"):
        learner = Slot("learners").build({"type": method, "leash": 0.01})
        weights, _ = learner.learn(logs["train"], logs["valid"], seed, lambda line: None)
        scores = known.scores[test]
        scores = (scores - scores.mean(1, keepdims=True)) / np.maximum(scores.std(1, keepdims=True), 1e-12)
        logits = scores * (1 / 0.3 + weights.pair[0]) + known.about[test] @ weights.pair[1:] + weights.item
        mass = np.exp(logits - logits.max(1, keepdims=True))
        chance = mass / mass.sum(1, keepdims=True)
        said[method] = float((chance * known.reward[test]).sum(1).mean())
        said[f"{method}, its best"] = float(known.reward[test][rows, logits.argmax(1)].mean())
    return said


def speed() -> dict[str, Any]:
    """Decisions a second, milliseconds an update, megabytes of state, for 100,000 items."""
    result = {}
    for name in names("policies"):
        result[name] = _speed_of(Slot("policies").build(name))
        print(f"  {name:18}" + "".join(f"  {key} {value:,.2f}" for key, value in result[name].items()))
    return result


def _speed_of(policy: Policy) -> dict[str, float]:
    rng = np.random.default_rng(0)
    arms, state, row = [_arms(rng) for _ in range(20)], policy.start(100_000, 64), {}
    for k in (1, 10):
        row[f"decisions_a_second_{k}"] = 1 / _timed(lambda i, k=k: choose(policy, state, arms[i % 20], k, rng), 300)
    item, place = arms[0].item[:1], np.zeros(1, dtype=np.int32)
    one = Feedback(item, np.ones(1), arms[0].contexts[:1], arms[0].scores[:1], place, np.zeros(1, dtype=np.int64))
    row["update_ms"] = 1000 * _timed(lambda i: policy.update(state, one), 100)
    row["state_mb"] = sum(array.nbytes for array in state.values()) / 1e6
    return row


def _arms(rng: np.random.Generator) -> Arms:
    item = rng.permutation(100_000)[:200].astype(np.int32)
    return Arms(item, rng.normal(size=200), rng.normal(size=(200, 64)))


def _timed(work: Callable[[int], Any], times: int) -> float:
    """Seconds of the processor, which other work on the machine does not lengthen."""
    work(0)
    started = time.process_time()
    for i in range(times):
        work(i)
    return (time.process_time() - started) / times


def main() -> None:
    """Do what is asked for, all of it if nothing is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", help="estimators, agreement, regret, fit, speed; all if none is named")
    parser.add_argument("--repeat", type=int, default=200, help="logs of estimators; fit does a tenth")
    parser.add_argument("--seeds", type=int, default=20, help="worlds of regret")
    parser.add_argument("--first", type=int, default=0, help="its first seed; settings were chosen from 1000 on")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "bandits.json")
    asked = parser.parse_args()
    work: dict[str, Callable[[], Any]] = {
        "estimators": lambda: estimators(asked.repeat),
        "agreement": agreement,
        "regret": lambda: regret(asked.seeds, asked.first),
        "fit": lambda: fit(max(2, asked.repeat // 10)),
        "speed": speed,
    }
    unknown = set(asked.rows) - set(work)
    if unknown:
        parser.error(f"no row is called {', '.join(sorted(unknown))}; known: {', '.join(work)}")
    before = json.loads(asked.out.read_text(encoding="utf-8")) if asked.out.exists() else {}
    for name in asked.rows or work:
        started = time.perf_counter()
        print(name, flush=True)
        before[name] = work[name]()
        before[name]["seconds"] = time.perf_counter() - started
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text(json.dumps(before, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
