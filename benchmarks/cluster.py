"""Two machines of a Ray cluster, one of which is killed in mid-training: does the run recover, and to the same result?

    python benchmarks/cluster.py [--epochs 12] [--keep] [--out FILE]

Needs root, Linux and the extra ``ray``. The machines are network namespaces of this one, each with an address of its
own on a pair of virtual cables (10.213.77.1 and .2), a loopback of its own, and Ray's files in a folder of its own;
they share the file system, as a cluster shares the storage of its runs. One worker stands on each. When the training
has written its third checkpoint, every process of the second machine is ended by kill -9; ten seconds later a machine
takes its place. The log tells what happened, and the learning curve is compared with that of one process. All that was
built is taken down at the end, whatever happens.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

ADDRESSES = {"genre-head": "10.213.77.1", "genre-other": "10.213.77.2"}
HEAD, OTHER = ADDRESSES
PORT = 6379
CABLE = "eth0"
"""What the cable is called inside a machine: gloo is told to use it."""
PEOPLE, ITEMS, LENGTH = 240, 60, 12
CHECKPOINTS = 3
"""Checkpoints after which a machine is killed."""
BACK_AFTER = 10.0
LIMIT = 300.0
"""Seconds after which the whole is given up."""
TOLERANCE = 1e-4
TOKEN = secrets.token_hex(32)
"""What processes of this cluster show each other."""


def sh(*command: str) -> None:
    """Run a command that must succeed."""
    subprocess.run(command, check=True, capture_output=True, text=True)


@contextmanager
def network() -> Iterator[None]:
    """Two namespaces joined by a cable."""
    try:
        for name in ADDRESSES:
            sh("ip", "netns", "add", name)
            sh("ip", "-n", name, "link", "set", "lo", "up")
        sh("ip", "link", "add", "genre-c0", "type", "veth", "peer", "name", "genre-c1")
        for cable, (name, address) in zip(("genre-c0", "genre-c1"), ADDRESSES.items(), strict=True):
            sh("ip", "link", "set", cable, "netns", name, "name", CABLE)
            sh("ip", "-n", name, "addr", "add", f"{address}/24", "dev", CABLE)
            sh("ip", "-n", name, "link", "set", CABLE, "up")
        yield
    finally:
        for name in ADDRESSES:
            kill(name)
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def kill(name: str) -> int:
    """End every process of a machine by kill -9; how many there were."""
    found = subprocess.run(["ip", "netns", "pids", name], check=False, capture_output=True, text=True).stdout.split()
    for pid in found:
        try:
            os.kill(int(pid), signal.SIGKILL)
        except ProcessLookupError:
            continue
    return len(found)


def inside(name: str, folder: Path, command: str, log: Path) -> subprocess.Popen[bytes]:
    """Start a command on a machine, with Ray's files in a folder that it alone sees as /tmp/ray."""
    own = folder / f"ray-{name}"
    own.mkdir(exist_ok=True)
    Path("/tmp/ray").mkdir(exist_ok=True)
    script = f"mount --bind {own} /tmp/ray && exec {command}"
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": CABLE, "RAY_USAGE_STATS_ENABLED": "0", "PYTHONUNBUFFERED": "1"}
    environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}
    # A node that is gone is known to be gone after ten seconds instead of half a minute.
    environment |= {"RAY_health_check_period_ms": "2000", "RAY_health_check_failure_threshold": "5"}
    with log.open("ab") as out:
        return subprocess.Popen(
            ["ip", "netns", "exec", name, "sh", "-c", script], stdout=out, stderr=subprocess.STDOUT, env=environment
        )


def node(name: str, folder: Path) -> subprocess.Popen[bytes]:
    """Start Ray on a machine, with room for one worker."""
    ray = Path(sys.executable).with_name("ray")
    how = f"--head --port={PORT} --include-dashboard=false" if name == HEAD else f"--address={ADDRESSES[HEAD]}:{PORT}"
    command = f"{ray} start {how} --node-ip-address={ADDRESSES[name]} --num-cpus=1 --block --disable-usage-stats"
    return inside(name, folder, command, folder / f"{name}.log")


def write_world(folder: Path, epochs: int) -> None:
    """People who walk around a circle of items, and a configuration for one process and one for the cluster."""
    with (folder / "log.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["user_id", "item_id", "timestamp"])
        for person in range(PEOPLE):
            rows.writerows([f"u{person}", f"i{(7 * person + t) % ITEMS}", 1_000_000 + t] for t in range(LENGTH))
    with (folder / "items.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["item_id", "title"])
        rows.writerows([f"i{i}", f"the {i}th house on a round street"] for i in range(ITEMS))
    reader = {"type": "table", "interactions": str(folder / "log.csv"), "items": str(folder / "items.csv")}
    config = {
        "data": {"reader": reader},
        "model": {"backbone": "e5_small", "adapter": {"type": "lora", "layers": 2}, "max_history": 16},
        "train": {"warmup_epochs": 2, "epochs": epochs, "early_stopping": {"patience": epochs}},
    }
    executor = {"type": "ray", "workers": 2, "retries": 5, "address": f"{ADDRESSES[HEAD]}:{PORT}"}
    for name, more in (("one", {}), ("two", {"executor": executor})):
        text = yaml.safe_dump({**config, "name": name, **more})
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")


def genre(*arguments: str) -> list[str]:
    """The command line of a stage."""
    return [str(Path(sys.executable).with_name("genre")), *arguments]


def epochs_done(run: Path) -> int:
    """Epochs in the last checkpoint of a run, over all phases."""
    path = run / "model" / "checkpoint" / "progress.json"
    try:
        return len(json.loads(path.read_text(encoding="utf-8"))["progress"]["curves"])
    except (OSError, ValueError):
        return 0


def until(what: str, condition: Any, started: float) -> None:
    """Wait for something, but not for ever."""
    while not condition():
        if time.monotonic() - started > LIMIT:
            raise TimeoutError(f"{what}: not after {LIMIT:.0f} s")
        time.sleep(0.2)


def recovered(folder: Path) -> dict[str, Any]:
    """Train on two machines, kill one, and tell what happened."""
    started = time.monotonic()
    log, run = folder / "train.log", folder / "runs" / "two"

    def at() -> float:
        return round(time.monotonic() - started, 1)

    facts: dict[str, Any] = {}
    node(HEAD, folder)
    time.sleep(5)
    other = node(OTHER, folder)
    joined = folder / f"{OTHER}.log"
    until("the second machine joins", lambda: "Ray runtime started" in read(joined) or other.poll(), started)
    if other.poll():
        raise RuntimeError(read(joined))
    command = " ".join(genre("train", str(folder / "two.yaml")))
    driver = inside(HEAD, folder, command, log)
    until("training is under way", lambda: epochs_done(run) >= CHECKPOINTS or driver.poll() is not None, started)
    if driver.poll() is not None:
        raise RuntimeError(read(log))
    facts["killed"] = {"at_seconds": at(), "after_epoch": epochs_done(run), "processes": kill(OTHER)}
    time.sleep(BACK_AFTER)
    node(OTHER, folder)
    facts["replaced_at_seconds"] = at()
    until("the training ends", lambda: driver.poll() is not None, started)
    facts |= {"ended_at_seconds": at(), "exit_code": driver.returncode}
    told = ("Connection reset", "Connection closed", "RETRY", "going on after")
    lines = [line for line in read(log).splitlines() if any(word in line for word in told)]
    return facts | {"log": list(dict.fromkeys(line.split("\x1b[0m ")[-1][:200] for line in lines))}


def read(path: Path) -> str:
    """A log so far."""
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def curve(run: Path) -> list[dict[str, Any]]:
    """The learning curve of a run."""
    return pq.read_table(run / "model" / "curves.parquet").to_pylist()


def furthest(one: list[dict[str, Any]], two: list[dict[str, Any]]) -> float:
    """The largest difference between two learning curves."""
    if len(one) != len(two):
        return float("inf")
    pairs = [
        (a[key], b[key]) for a, b in zip(one, two, strict=True) for key in a if key.startswith(("loss/", "valid/"))
    ]
    return max(abs(a - b) for a, b in pairs if a is not None)


def main() -> None:
    """Build, train, kill, compare, take down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--keep", action="store_true", help="leave the folder with the logs")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "cluster.json")
    options = parser.parse_args()
    if sys.platform != "linux" or os.geteuid():
        sys.exit("benchmarks/cluster.py: network namespaces need Linux and root")
    # What was built is taken down by `finally`, which a plain SIGTERM would pass by.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))
    folder = Path(tempfile.mkdtemp(prefix="genre-cluster-"))
    with ExitStack() as stack:
        if not options.keep:
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
        os.chdir(folder)
        write_world(folder, options.epochs)
        for stage, name in (("prepare", "one"), ("train", "one"), ("prepare", "two")):
            subprocess.run(genre(stage, f"{name}.yaml"), check=True)
        with network():
            facts = recovered(folder)
        apart = furthest(curve(folder / "runs" / "one"), curve(folder / "runs" / "two"))
        facts |= {"epochs": len(curve(folder / "runs" / "two")), "furthest_from_one_process": apart}
        options.out.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        print(json.dumps(facts, indent=1), f"logs: {folder}" if options.keep else "")
        if facts["exit_code"] or apart > TOLERANCE or "going on after" not in facts["log"][-1]:
            sys.exit("the run did not recover as it should")


if __name__ == "__main__":
    main()
