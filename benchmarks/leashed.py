"""Whether preferences lower a decoder's hit rate: `genre learn fit` on the shipped cross-encoder of a decoder.

    python benchmarks/leashed.py --people 180 [--learners preference group_relative] [--folder DIR] [--out FILE]

MovieLens 100K (`genre data get movielens-100k`), configs/cross_decoder.yaml as shipped, on some people of the log with
all that they did: on one core SmolLM2 reads 2 to 5 prompts a second, 30 a person. The states below the trained layers
are kept from one reading to the next, which changes nothing that is said. Gate, intervals and divergence are those of
`genre learn fit`; a second call with the same folder goes on with its trained model.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

HERE = Path(__file__).parent
CONFIG = HERE.parent / "configs" / "cross_decoder.yaml"
CACHE = 20e9
"""Bytes on disk for the states of a sheet."""


def main() -> None:
    """Train what is shipped, train it on by each learner, keep what the gate says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=180, help="of the log's 943")
    parser.add_argument("--learners", nargs="*", default=["preference", "group_relative"])
    parser.add_argument("--folder", type=Path, default=Path("runs/leashed"), help="where data and runs are put")
    parser.add_argument("--set", nargs="*", default=[], help="further overrides, as genre takes them")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "leashed.json")
    asked = parser.parse_args()
    keep_states()
    from dataclasses import replace

    from genre.component import Slot
    from genre.configfile import load
    from genre.learn.model import learn_model
    from genre.prepare import prepare
    from genre.rank import rank
    from genre.run import Run
    from genre.train import train

    data = some_people(asked.people, asked.folder.resolve())
    config = load(CONFIG, [f"data.reader={json.dumps({'type': 'movielens', 'path': str(data)})}", *asked.set])
    root = asked.folder / "runs"
    run, found = Run.create(config, root), {"people": asked.people, "settings": asked.set, "learners": {}}
    if not run.path("rank").exists():
        started = time.perf_counter()
        for name, work in (("prepare", prepare), ("train", train), ("rank", rank)):
            work(config, run)
            print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)
    for learner in asked.learners:
        started = time.perf_counter()
        spec = Slot("learners").build(learner)
        result = learn_model(replace(config, learn=replace(config.learn, fit=spec)), run, say)
        said = {key: result[key] for key in ("learner", "curve", "systems", "alone", "weights", "users", "gate")}
        found["learners"][learner] = {**said, "seconds": time.perf_counter() - started}
        show(learner, said)
        asked.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        # The next learner begins at the supervised model too.
        shutil.rmtree(run.path("learn"), ignore_errors=True)


def some_people(count: int, folder: Path) -> Path:
    """The data set with the ratings of some people alone, drawn evenly; the files are RecBole's."""
    import numpy as np

    from genre.places import places

    home = next(one for one in places(Path("movielens-100k")) if (one / "ml-100k.inter").is_file())
    made = folder / f"movielens-{count}"
    made.mkdir(parents=True, exist_ok=True)
    head, *rows = (home / "ml-100k.inter").read_text(encoding="utf-8").splitlines()
    people = np.unique([row.split("\t", 1)[0] for row in rows])
    kept = set(np.random.default_rng(0).choice(people, min(count, len(people)), replace=False).tolist())
    some = [row for row in rows if row.split("\t", 1)[0] in kept]
    (made / "ml-100k.inter").write_text("\n".join([head, *some]) + "\n", encoding="utf-8")
    for name in ("ml-100k.item", "ml-100k.user"):
        shutil.copy2(home / name, made / name)
    return made


def keep_states() -> None:
    """Let re-ranking keep what it computed below the trained layers, as training does."""
    from genre.sheets import Sheet

    states = Sheet.states

    def kept(self: Sheet, loaded: Any, taps: tuple[int, ...], budget: int, most_bytes: float) -> Any:
        return states(self, loaded, taps, budget, max(most_bytes, CACHE))

    Sheet.states = kept


def say(line: str) -> None:
    """A line at once."""
    print(line, flush=True)


def show(learner: str, said: dict[str, Any]) -> None:
    """Before, after, what is between them, how far it went, and the decision."""
    for kind in ("systems", "alone"):
        for name, values in said[kind].items():
            rows = "  ".join(f"{key} {one['value']:.4f} {one['ci95']}" for key, one in values.items())
            say(f"{learner}, {kind}, {name}: {rows}")
    for key, one in said["gate"]["comparisons"].items():
        say(f"{learner}: {key} {one}")
    curve, best = said["curve"], max(said["curve"], key=lambda row: row["ndcg"])
    say(f"{learner}: divergence {best['divergence']:.4f} at the kept pass of {len(curve) - 1}, gate {said['gate']}")


if __name__ == "__main__":
    main()
