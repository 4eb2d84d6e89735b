"""Where time goes: clocks that add up, what the machine can do, and the profile of each formulation."""

import json
import threading
import time
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from click.testing import CliRunner

from genre.breakdown import OTHER, breakdown, rates_of
from genre.cli import commands
from genre.clock import Clock, Part, heard, listening, note, stretch, timed, timed_each, times
from genre.config import DataSection
from genre.datasets import Reading
from genre.errors import GenreError
from genre.files import unseal
from genre.fitting import Fitter
from genre.hidden import hidden_states, states_in, tokenize
from genre.limits import Operations, best_threads, gemm_peak, step_shapes, thread_speeds, use_threads
from genre.profile import FORMAT, profile
from genre.run import Run
from genre.sampling import sample
from genre.scaling import Scale, sizes_of
from genre.textencoder import load
from genre.wastes import wastes
from toyworld import circle, config, dataset, reviews, text_config, tiny_backbone


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GENRE_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    return tiny_backbone(tmp_path_factory.mktemp("bert"))


def reads(conf, reading: Reading, monkeypatch):
    """The configuration, whose reader gives ``reading``."""
    monkeypatch.setattr(type(conf.data.reader), "files", lambda self: [])
    monkeypatch.setattr(type(conf.data.reader), "read", lambda self: reading)
    return conf


# The clock.


class Work:
    """Counts what is done, so that a clock that reads it is exact."""

    def __init__(self) -> None:
        self.done = 0.0

    def do(self, amount: float) -> None:
        self.done += amount


def test_a_part_has_its_own_work_alone_and_the_parts_add_up():
    work = Work()
    clock = Clock(lambda: work.done)
    started = time.perf_counter()
    with listening(clock), stretch("stage"):
        work.do(1)
        with timed("outer"):
            work.do(2)
            with timed("inner"):
                work.do(4)
            work.do(8)
        with timed("outer"):
            work.do(16)
    passed = time.perf_counter() - started
    parts = clock.stretches["stage"]
    assert {name: part.counted for name, part in parts.items()} == {"": 1, "outer": 26, "inner": 4}
    assert {name: part.calls for name, part in parts.items()} == {"": 1, "outer": 2, "inner": 1}
    assert 0 < sum(part.seconds for part in parts.values()) <= passed


def test_a_part_takes_as_long_as_it_takes():
    clock = Clock()
    with listening(clock), stretch("stage"), timed("sleep"):
        time.sleep(0.05)
    assert clock.stretches["stage"]["sleep"].seconds >= 0.05


def test_what_is_whole_takes_in_its_parts_but_for_those_that_are_whole_too():
    clock = Clock()
    with listening(clock), stretch("work"), timed("all", whole=True):
        with timed("a part"):
            note(tokens=3)
        with timed("a whole one", whole=True):
            note(tokens=5)
    assert set(clock.stretches["work"]) == {"", "all", "a whole one"}
    assert clock.stretches["work"]["all"].amounts == {"tokens": 3}
    assert clock.stretches["work"]["a whole one"].amounts == {"tokens": 5}


def test_stretches_are_kept_apart_and_come_back():
    clock = Clock()
    with listening(clock), stretch("one"):
        with timed("part"):
            pass
        with stretch("two"), timed("part"):
            pass
        with timed("part"):
            pass
    assert {name: parts["part"].calls for name, parts in clock.stretches.items()} == {"one": 2, "two": 1}


def test_making_each_is_heard_and_what_is_done_with_it_is_not():
    work = Work()

    def made():
        for i in range(3):
            work.do(1)
            yield i

    clock = Clock(lambda: work.done)
    with listening(clock), stretch("stage"):
        found = []
        for one in timed_each("making", made()):
            work.do(10)
            found.append(one)
    assert found == [0, 1, 2]
    assert clock.stretches["stage"]["making"].counted == 3
    assert clock.stretches["stage"][""].counted == 30


def test_an_error_goes_through_and_leaves_the_clock_right():
    work = Work()

    @times("fails")
    def fails() -> None:
        work.do(1)
        raise ValueError("no")

    clock = Clock(lambda: work.done)
    with listening(clock), stretch("stage"):
        with pytest.raises(ValueError, match="no"):
            fails()
        with timed("after"):
            work.do(2)
    assert clock.stretches["stage"]["fails"].counted == 1
    assert clock.stretches["stage"]["after"].counted == 2


def test_another_thread_is_not_heard():
    clock = Clock()

    def work() -> None:
        with timed("part"):
            note(tokens=1)

    with listening(clock), stretch("stage"):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert set(clock.stretches["stage"]) == {""}


def test_when_nobody_listens_nothing_is_kept_and_little_is_done():
    assert not heard()
    started = time.perf_counter()
    for _ in range(10_000):
        with timed("a part"):
            note(tokens=1)
    assert (time.perf_counter() - started) / 10_000 < 1e-4


# What the machine can do.


def test_operations_of_products_and_their_gradient_are_counted():
    left = torch.ones(6, 7, requires_grad=True)
    right = torch.ones(7, 8, requires_grad=True)
    with Operations() as operations:
        (left @ right).sum().backward()
    assert operations.total == 3 * 2 * 6 * 7 * 8


def test_operations_of_attention_are_counted_with_and_without_a_graph():
    q = torch.ones(2, 3, 5, 4)
    with Operations() as operations, torch.inference_mode():
        torch.nn.functional.scaled_dot_product_attention(q, q, q)
    assert operations.total == 2 * (2 * 2 * 3 * 5 * 5 * 4)
    with Operations() as operations:
        asked = q.clone().requires_grad_()
        torch.nn.functional.scaled_dot_product_attention(asked, q, q).sum().backward()
    assert operations.total > 2 * 2 * (2 * 2 * 3 * 5 * 5 * 4)


def test_the_peak_is_not_below_what_a_product_reaches():
    peak = gemm_peak([(256, 64, 64)], 0.2)
    ones = torch.ones(512, 512)
    started = time.perf_counter()
    torch.mm(ones, ones)
    assert peak > 0.5 * 2 * 512**3 / (time.perf_counter() - started)


def test_more_threads_are_taken_only_where_they_are_clearly_faster():
    assert best_threads({1: 100.0, 2: 190.0, 4: 195.0}) == 2
    assert best_threads({1: 100.0, 2: 60.0}) == 1
    assert best_threads({1: 100.0, 2: 102.0, 4: 300.0}) == 4


def test_the_probe_leaves_the_threads_as_they_were():
    before = torch.get_num_threads()
    speeds = thread_speeds(step_shapes(32, 16, 64, 64), 3, seconds=0.05)
    assert set(speeds) == {1, 2, 3}
    assert min(speeds.values()) > 0
    assert torch.get_num_threads() == before


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_auto_leaves_alone_what_the_environment_says(monkeypatch, threads):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before, said = torch.get_num_threads(), []
    use_threads("auto", [(8, 8, 8)], said.append)
    assert torch.get_num_threads() == before
    assert said == [f"threads: {before}, as OMP_NUM_THREADS says"]


def test_auto_tries_once_and_then_always_takes_the_same(monkeypatch, threads, tmp_path):
    from genre import limits

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    monkeypatch.setattr(limits, "cores", lambda: 2)
    monkeypatch.setattr(limits.os, "getloadavg", lambda: (1.2, 4.0, 4.0))
    answers = iter([{1: 1e9, 2: 2e9}, {1: 2e9, 2: 1e9}])
    monkeypatch.setattr(limits, "thread_speeds", lambda shapes, most: next(answers))
    said = []
    for _ in range(2):
        torch.set_num_threads(1)
        use_threads("auto", [(8, 8, 8)], said.append)
        assert torch.get_num_threads() == 2
    kept = f"as tried once and kept in {tmp_path / 'cache' / 'threads.json'}"
    assert said == [f"threads: 2; 1 GFLOP/s with 1, 2 GFLOP/s with 2, {kept}"] * 2
    use_threads("auto", [(16, 8, 8)], said.append)
    assert torch.get_num_threads() == 1


def test_while_other_work_runs_nothing_is_tried_and_nothing_kept(monkeypatch, threads, tmp_path):
    from genre import limits

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    monkeypatch.setattr(limits, "cores", lambda: 2)
    monkeypatch.setattr(limits.os, "getloadavg", lambda: (3.0, 1.0, 1.0))
    torch.set_num_threads(2)
    said = []
    use_threads("auto", [(8, 8, 8)], said.append)
    assert torch.get_num_threads() == 2
    assert said == ["threads: 2; not tried, as other work keeps the cores busy"]
    assert not (tmp_path / "cache" / "threads.json").exists()


def test_a_number_of_threads_is_taken_and_said_and_too_many_are_refused(monkeypatch, threads):
    said = []
    use_threads(1, [(8, 8, 8)], said.append)
    assert torch.get_num_threads() == 1
    assert said == ["threads: 1, as train.threads says"]
    with pytest.raises(GenreError, match=r"train\.threads is 4096"):
        use_threads(4096, [(8, 8, 8)], said.append)


def test_threads_are_no_part_of_what_a_training_is_made_of(backbone, tmp_path):
    from genre.train import train

    conf = config(backbone, train={"warmup_epochs": 1, "epochs": 0})
    run = Run.create(conf, tmp_path)
    dataset(circle(30)).save(run.path("data"))
    train(conf, run)
    before = run.manifest["stages"]["model"]
    train(config(backbone, train={"warmup_epochs": 1, "epochs": 0, "threads": 1}), run)
    assert run.manifest["stages"]["model"] == before


# Samples.


def test_a_sample_holds_people_whole_and_what_they_name():
    few = sample(circle(200, 20), 300, seed=1)
    counts = few.interactions["user_id"].value_counts().to_pylist()
    assert {one["counts"] for one in counts} == {12}
    assert 300 <= few.interactions.num_rows < 330
    assert few.users is not None
    assert set(few.users["user_id"].to_pylist()) == {one["values"] for one in counts}
    assert few.items is not None
    assert set(few.items["item_id"].to_pylist()) == set(few.interactions["item_id"].to_pylist())


def test_a_sample_is_the_whole_where_that_is_small_and_rows_where_people_are_few():
    whole = circle(30)
    assert sample(whole, 10_000, seed=1) is whole
    table = pa.table({"user_id": ["a", "b"] * 200, "item_id": [f"i{i}" for i in range(400)]})
    few = sample(Reading(table), 50, seed=1)
    assert few.interactions.num_rows == 50
    assert set(few.interactions["user_id"].to_pylist()) == {"a", "b"}


def test_states_are_kept_elsewhere_inside(backbone, tmp_path):
    from genre.component import Slot

    loaded = load(Slot("backbones").build(backbone))
    tokens = tokenize(loaded, ["redcup", "bluehat"], 8)
    clock = Clock()
    with states_in(tmp_path / "a"):
        hidden_states(loaded, tokens, (1,))
        with listening(clock), stretch("again"):
            hidden_states(loaded, tokens, (1,))
        with states_in(tmp_path / "b"), listening(clock), stretch("elsewhere"):
            hidden_states(loaded, tokens, (1,))
    assert "frozen layers" not in clock.stretches["again"]
    assert clock.stretches["elsewhere"]["frozen layers"].amounts["tokens"] == sum(len(one) for one in tokens)
    assert not (tmp_path / "cache" / "hidden").exists()


# The breakdown.


def test_a_training_that_is_listened_to_learns_the_same(backbone):
    def trained():
        fitter = Fitter(config(backbone, train={"steps_per_round": 2}), dataset(circle(40)))
        losses = fitter.epoch("finetune", 1, fitter.steppers("finetune"), lambda steps: None)
        return losses, {name: weight.detach().clone() for name, weight in fitter.model.named_parameters()}

    (plain, weights), clock = trained(), Clock()
    with listening(clock), stretch("finetune"):
        heard_losses, heard_weights = trained()
    assert heard_losses == plain
    assert all(torch.equal(weights[name], heard_weights[name]) for name in weights)
    parts = clock.stretches["finetune"]
    steps = parts["user encoder"].calls
    assert steps == parts["heads"].calls == parts["backward"].calls
    assert parts["trained layers"].amounts["places"] >= parts["trained layers"].amounts["tokens"] > 0


def test_operations_are_taken_from_a_few_calls_and_grow_with_the_places(backbone):
    operations = iter(range(0, 10_000, 100))
    counting, clock = Clock(lambda: float(next(operations))), Clock()
    with listening(counting), stretch("finetune"), timed("trained layers"):
        note(places=50, tokens=40)
    with listening(clock), stretch("finetune"):
        for places in (50, 100):
            with timed("trained layers"):
                note(places=places)
    sizes = [{"interactions": n, "items": 5, "people": 2, "windows": 2} for n in (100, 300)]
    conf = config(backbone, train={"epochs": 4, "batch_size": 1, "steps_per_round": 1})
    scale = Scale.of(conf, dict(zip(("sample", "whole"), sizes, strict=True)))
    found = breakdown(clock, rates_of(counting), scale, (1e9, 1e9), {"finetune": 12.4})
    row = next(row for row in found["finetune"]["parts"] if row["part"] == "trained layers")
    assert row["flop"] == pytest.approx(300)
    assert row["whole_seconds"] == pytest.approx(12 * row["seconds"])
    assert found["finetune"]["peak_mb"] == 12


def test_the_whole_is_not_said_to_read_more_items_than_there_are(backbone):
    few, all_ = (sizes_of(circle(n, 20, 12), 5) for n in (10, 1000))
    assert few == {"interactions": 120, "people": 10, "items": 20, "windows": 40}
    conf = config(backbone, train={"warmup_epochs": 2, "epochs": 3, "batch_size": 40, "steps_per_round": 10})
    scale = Scale.of(conf, {"sample": few, "whole": all_})
    assert (scale.steps, scale.rounds) == (100, 10)
    # The sample's one round read 20 items twice; the ten rounds of the whole do so too, in each of three epochs.
    assert scale.factor("finetune", "trained layers", Part(amounts={"texts": 40})) == 3 * 10
    assert scale.factor("finetune", "backward, layers", Part(amounts={"texts": 20})) == 3 * 10
    assert scale.factor("finetune", "optimizer", Part(calls=2)) == 3 * 55
    assert scale.factor("warmup", "heads", Part()) == 2 * 100
    assert scale.factor("warmup", "checkpoint", Part()) == 2
    assert scale.factor("set-up", "frozen layers", Part()) == 1
    assert scale.factor("rank", "fit scorer", Part()) == 100
    assert scale.factor("set-up", "load", Part()) == 1


SECONDS = 20.0


@pytest.mark.parametrize("adapter", [{"type": "lora", "layers": 1, "r": 4}, "frozen"])
def test_items_are_profiled(backbone, tmp_path, monkeypatch, adapter):
    conf = config(backbone, name="items", model={"adapter": adapter}, evaluate={"bootstrap": 50, "baselines": ["ease"]})
    found = profiled(conf, circle(300), tmp_path, monkeypatch)
    expected = {"prepare", "set-up", "warmup", "rank", "evaluate"}
    assert set(found["stretches"]) == (expected if adapter == "frozen" else expected | {"finetune"})
    warmup = parts_of(found, "warmup")
    assert {"user encoder", "heads", "backward", "optimizer", "batching", "validation"} <= set(warmup)
    assert warmup["user encoder"]["flop"] > 0
    assert parts_of(found, "set-up")["frozen layers"]["flop"] > 0
    assert parts_of(found, "set-up")["write states"]["written"] > 0
    if adapter != "frozen":
        finetune = parts_of(found, "finetune")
        # Forward twice, once with a graph; backward about as much again for the layers alone.
        assert finetune["trained layers"]["flop"] > finetune["backward, layers"]["flop"] > 0


def test_a_model_without_text_is_profiled(backbone, tmp_path, monkeypatch):
    conf = config(backbone, name="ids", model={"text": False}, evaluate={"bootstrap": 50, "baselines": ["popular"]})
    found = profiled(conf, circle(200), tmp_path, monkeypatch)
    assert "finetune" not in found["stretches"]
    assert not {"load", "frozen layers", "tokenise"} & set(parts_of(found, "set-up"))


def test_texts_are_profiled(backbone, tmp_path, monkeypatch):
    split = {"type": "random", "per": "log", "valid": 0.2, "test": 0.2}
    conf = text_config(backbone, name="texts", evaluate={"bootstrap": 50})
    conf = replace(conf, data=DataSection(reader={"type": "table"}, split=split))
    found = profiled(conf, reviews(), tmp_path, monkeypatch)
    assert set(found["stretches"]) == {"prepare", "set-up", "warmup", "finetune", "evaluate"}
    assert {"trained layers", "backward", "heads", "optimizer"} <= set(parts_of(found, "finetune"))
    assert "all text vectors" in parts_of(found, "warmup")


def test_pairs_are_profiled(backbone, tmp_path, monkeypatch):
    formulation = {"type": "cross", "targets": 2, "negatives": 2, "pool": 10, "prompt": "{history:8} [SEP] {item}"}
    heads = {"chosen": {"type": "binary", "label": "chosen"}}
    conf = text_config(
        backbone,
        name="pairs",
        model={"formulation": formulation, "template": "{title}", "max_tokens": 32, "heads": heads},
        train={"early_stopping": {"metric": "chosen.grouped_auc"}},
        pipeline={"sources": ["ease", "popular"], "rerank": {"top": 3}},
        evaluate={"bootstrap": 50, "baselines": ["popular"], "shots": ()},
    )
    found = profiled(conf, circle(60), tmp_path, monkeypatch)
    assert {"rank", "evaluate", "finetune"} <= set(found["stretches"])
    assert "choose reranking" in parts_of(found, "rank")


def profiled(conf, reading, folder, monkeypatch) -> dict:
    """The profile of a configuration, checked for what is true of every profile."""
    said: list[str] = []
    run = Run.create(reads(conf, reading, monkeypatch), folder)
    found = profile(run.config, run, SECONDS, said.append)
    assert any("about" in line and "seconds" in line for line in said)
    assert json.loads((run.path("profile") / "profile.json").read_text()) == json.loads(json.dumps(found))
    assert "<svg" in (run.path("profile") / "profile.svg").read_text()
    assert unseal(run.path("profile"), FORMAT, "genre profile")["run"] == conf.name
    assert {one.name for one in run.folder.iterdir()} == {"config.json", "manifest.json", "profile"}
    for name, one in found["stretches"].items():
        assert sum(row["seconds"] for row in one["parts"]) == pytest.approx(one["seconds"])
        other = sum(row["seconds"] for row in one["parts"] if row["part"] == OTHER)
        # Everything here is tiny, so that a fixed cost of some milliseconds may be much of a stage.
        assert other < max(0.05 * one["seconds"], 0.25), (name, one)
    assert found["limits"]["flops"] > 1e8
    assert found["limits"]["bytes_per_s"] > 1e8
    assert found["wastes"][0]["sentence"]
    assert found["fills_a_batch"]
    return found


def parts_of(found, name) -> dict:
    return {row["part"]: row for row in found["stretches"][name]["parts"]}


# What is wasted.


def told(**stretches) -> dict:
    """A profile in which parts take so many seconds of the whole run, or are told of in full."""
    made = {}
    for name, parts in {"set-up": {}, **stretches}.items():
        rows = []
        for part, given in parts.items():
            row = given if isinstance(given, dict) else {"seconds": given}
            rows.append({"part": part, "flop": 0.0, "of_peak": 0.0, "whole_seconds": row["seconds"], **row})
        made[name] = {"parts": rows, "whole_seconds": sum(row["whole_seconds"] for row in rows)}
    limits = {"flops": 1e11, "threads": {"1": 1e11, "2": 1e11}, "best_threads": 1}
    return {"stretches": made, "limits": limits, "machine": {"threads": 1}}


GOOD = {"seconds": 50, "flop": 1e12, "of_peak": 0.8, "tokens": 99, "places": 100}


@pytest.mark.parametrize(
    ("stretches", "says", "mends"),
    [
        ({"finetune": {"trained layers": GOOD | {"tokens": 69}}}, "31% of the tokens", "train.token_budget"),
        ({"warmup": {"heads": 60, "backward": 40}}, "heads take 60% of training", "model.heads.next.negatives"),
        ({"finetune": {"trained layers": GOOD | {"of_peak": 0.35}}}, "35% of this machine's GEMM peak", "token_budget"),
        ({"finetune": {"frozen layers": 60, "trained layers": GOOD}}, "computed anew", "train.cache_gb"),
        ({"warmup": {"backward": 10}, "evaluate": {"intervals": 80}}, "8.0 times as long", "evaluate.bootstrap"),
        ({"warmup": {"batching": 50, "backward": 50}}, "putting batches together", "train.batch_size"),
        ({"warmup": {"optimizer": 50, "backward": 50}}, "the optimizer takes 50%", "model.ids: false"),
        ({"warmup": {"user encoder": 50, "backward": 50}}, "the user encoder takes 50%", "model.max_history: 8"),
        ({"finetune": {"all item vectors": 60, "trained layers": GOOD}}, "vectors of all items", "train.epochs"),
        ({"warmup": {"checkpoint": 30, "backward": 70}}, "writing checkpoints takes 30%", "checkpoint_every: 5"),
        ({"warmup": {"backward": 70}}, "'backward' in warmup", ""),
    ],
)
def test_the_largest_waste_is_named_with_what_mends_it(backbone, stretches, says, mends):
    first = wastes(told(**stretches), config(backbone))[0]
    assert says in first["sentence"]
    assert mends in first["setting"]


def test_wastes_come_in_the_order_of_what_they_cost(backbone):
    found = wastes(told(warmup={"heads": 200, "checkpoint": 60}, evaluate={"intervals": 1000}), config(backbone))
    assert [one["seconds"] for one in found] == sorted((one["seconds"] for one in found), reverse=True)
    assert len(found) == 3


def test_idle_cores_and_numbers_too_long_are_told(backbone):
    one = told(finetune={"trained layers": GOOD})
    one["limits"] |= {"threads": {"1": 1e11, "2": 2e11}, "best_threads": 2, "bfloat16_flops": 4e11}
    conf = config(backbone)
    found = {waste["setting"].partition(":")[0]: waste for waste in wastes(one, conf)}
    assert found["train.threads"]["seconds"] == pytest.approx(25)
    assert found["train.precision"]["seconds"] == pytest.approx(37.5)


# The command.


def test_the_command_prints_a_table_and_what_to_do(backbone, tmp_path, monkeypatch):
    conf = config(backbone, name="told", evaluate={"bootstrap": 50, "baselines": ["ease"]})
    run = Run.create(reads(conf, circle(200), monkeypatch), tmp_path)
    done = CliRunner().invoke(commands, ["profile", str(run.folder), "--seconds", "20"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    for words in ("user encoder", "GFLOP/s", "this machine:", "the whole run: about", "profile.svg"):
        assert words in done.output


def test_the_profile_of_a_log_that_teaches_nothing_says_why(backbone, tmp_path, monkeypatch):
    reading = circle(300)
    at = reading.interactions.column_names.index("value")
    reading.interactions = reading.interactions.set_column(at, "value", [np.full(reading.interactions.num_rows, 5.0)])
    run = Run.create(reads(config(backbone), reading, monkeypatch), tmp_path)
    with pytest.raises(GenreError, match="nothing to learn"):
        profile(run.config, run, SECONDS, lambda line: None)
    assert not run.path("profile").exists()
