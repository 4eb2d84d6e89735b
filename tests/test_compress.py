"""Compressing a finished run: what is measured, chosen, kept, refused and served."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from finished import finished, finished_pairs, finished_texts
from genre.additions import Index
from genre.cli import commands
from genre.comparisons import Measured
from genre.component import Slot
from genre.compression import formtimes
from genre.compression.budgets import Budget, cheapest
from genre.compression.compressed import load_compressed, load_form
from genre.compression.formjudges import loss_of
from genre.compression.stage import compress, forms_of
from genre.configfile import load
from genre.data import Dataset, Histories, Log
from genre.errors import ConfigError, GenreError, RunError
from genre.files import seal
from genre.pipeline import Pipeline
from genre.predicting import TextPredictor
from genre.rank import rank
from genre.resources import hash_of, load_model
from genre.run import Run
from genre.textmodel import PairReader, TrainedTexts
from genre.types import Query

ASKED = ("onnx", "vocabulary+dynamic_int8", "static_vectors")
ITEMS = ("matryoshka_int8_vectors", "onnx_binary_vectors")
OF_ITEMS = ("matryoshka+int8_vectors", "onnx+binary_vectors")


def silent(line: str) -> None:
    pass


def copy_of(run: Run) -> Run:
    """A run of one's own to write into."""
    folder = Path(tempfile.mkdtemp(prefix="genre-test-")) / "run"
    shutil.copytree(run.folder, folder)
    return Run.open(folder)


@functools.cache
def compressed() -> tuple[Run, dict[str, Any]]:
    run = copy_of(finished())
    return run, compress(run.config, run, (*ASKED, *OF_ITEMS), say=silent)


@functools.cache
def compressed_texts() -> tuple[Run, dict[str, Any]]:
    run = copy_of(finished_texts())
    return run, compress(run.config, run, ASKED, "loss=1%", silent)


@functools.cache
def compressed_pairs() -> tuple[Run, dict[str, Any]]:
    run = copy_of(finished_pairs())
    return run, compress(run.config, run, ["onnx", "static_vectors"], "ndcg_loss=1%", silent)


def genre(*arguments: str) -> Result:
    return CliRunner().invoke(commands, arguments)


def test_every_form_is_measured_beside_the_whole_model():
    run, result = compressed()
    assert list(result["forms"]) == ["torch", "onnx", "vocabulary_dynamic_int8", "static_vectors", *ITEMS]
    for name, form in result["forms"].items():
        assert form["mb"] > 0
        assert 0 < form["median_ms"] <= form["p99_ms"]
        assert form["texts_per_s"] > 0
        for cost, (low, high) in form["ranges"].items():
            assert low <= form[cost] <= high
        for part in ("valid", "test"):
            assert set(form[part]) == {"ndcg@10", "text.ndcg@10"}, name
    whole = result["forms"]["torch"]
    assert whole["test"]["ndcg@10"]["loss"] == 0.0
    assert whole["test"]["ndcg@10"]["model"] > 0.5
    exact = result["forms"]["onnx"]
    assert exact["cosine"] == pytest.approx(1.0, abs=1e-4)
    assert exact["test"]["ndcg@10"]["loss"] == pytest.approx(0.0, abs=1e-3)
    assert result == json.loads((run.path("compress") / "compress.json").read_text())
    picture = (run.path("compress") / "compress.svg").read_text()
    assert picture.startswith("<svg")
    assert "var(--" not in picture
    assert all(name in picture for name in result["forms"])


def test_the_loss_is_that_of_the_measure_that_the_run_reports():
    run, result = compressed()
    reported = json.loads((run.path("evaluate") / "metrics.json").read_text())["systems"]["model"]["ndcg@10"]["value"]
    # The run's own vectors were made of states kept in bfloat16.
    assert result["forms"]["torch"]["test"]["ndcg@10"]["form"] == pytest.approx(reported, abs=0.02)


def test_item_vectors_take_less_room_and_only_a_model_of_items_has_any():
    _, result = compressed()
    forms = result["forms"]
    assert forms["matryoshka_int8_vectors"]["vectors_mb"] < forms["torch"]["vectors_mb"] / 2
    assert forms["matryoshka_int8_vectors"]["runtime"] == "torch"
    assert forms["onnx_binary_vectors"]["test"]["ndcg@10"]["loss"] < 0.2
    texts = finished_texts()
    with pytest.raises(ConfigError, match="int8_vectors is about item vectors, and only two_tower has any"):
        compress(texts.config, texts, ["int8_vectors"], say=silent)


def test_each_head_of_a_text_model_is_measured_and_the_cheapest_within_the_budget_is_chosen():
    _, result = compressed_texts()
    measures = {"stars.rmse", "recommended.label_auc", "colour.accuracy", "names.entity_f1"}
    for form in result["forms"].values():
        assert set(form["valid"]) == measures
    exact = result["forms"]["onnx"]["test"]
    assert exact["colour.accuracy"]["loss"] == pytest.approx(0.0, abs=1e-6)
    assert exact["stars.rmse"]["loss"] == pytest.approx(0.0, abs=1e-2)
    assert result["broken"]["torch"] == []
    assert result["chosen"] not in (None, "torch")
    assert result["broken"][result["chosen"]] == []


def test_forms_are_timed_in_turn_so_that_a_slow_spell_hits_all(monkeypatch: pytest.MonkeyPatch):
    """A machine that slows down for good: one after the other the last form would look slowest."""
    clock, calls = [0.0], [0]

    class Equal:
        def encode(self, texts: list[str]) -> None:
            calls[0] += 1
            clock[0] += len(texts) * (0.001 if calls[0] < 600 else 0.003)

    monkeypatch.setattr(formtimes.time, "perf_counter", lambda: clock[0])
    forms: Any = {name: Equal() for name in "abc"}
    found = formtimes.times_of(forms, ["one", "two"])
    assert list(found) == ["a", "b", "c"]
    assert len({form["median_ms"] for form in found.values()}) == 1
    assert all(form["ranges"]["median_ms"] == [1.0, 3.0] for form in found.values())
    assert found["a"]["rounds"] == formtimes.ROUNDS


def test_what_is_there_is_not_made_again_and_another_model_is():
    run = copy_of(compressed()[0])
    stamp = (run.path("compress") / "onnx" / "manifest.json").stat().st_mtime_ns
    said: list[str] = []
    compress(run.config, run, ["onnx"], say=said.append)
    assert "2/2 onnx: there already" in said
    assert (run.path("compress") / "onnx" / "manifest.json").stat().st_mtime_ns == stamp
    (run.path("compress") / "onnx" / "form.json").write_text("{}")
    compress(run.config, run, ["onnx"], say=said.append)
    assert load_form(run.path("compress") / "onnx", hash_of(run, "finetuned")).hidden_size == 32


def test_a_form_of_another_model_is_refused():
    run = copy_of(compressed()[0])
    data = Dataset.load(run.path("data"))
    with pytest.raises(
        RunError,
        match="no such form; made are matryoshka_int8_vectors, onnx, onnx_binary_vectors, ",
    ):
        load_model(run, data, form="nothing")
    manifest = run.path("compress") / "onnx" / "manifest.json"
    changed = json.loads(manifest.read_text()) | {"model": "another"}
    manifest.write_text(json.dumps(changed))
    with pytest.raises(RunError, match="was made from another model than the one here; run 'genre compress"):
        load_model(run, data, form="onnx")


def test_recommends_alike_in_a_form_that_loses_nothing():
    run, _ = compressed()
    queries = [Query(user_id="u3"), Query(text="redcup word0"), Query(history=("i1", "i2"))]
    plain, formed = (Pipeline.load(run.folder, form=form).recommend(queries) for form in (None, "onnx"))
    for a, b in zip(plain, formed, strict=True):
        assert {item.item_id for item in a.items} == {item.item_id for item in b.items}


def test_added_items_are_read_by_the_form(tmp_path: Path):
    run = copy_of(compressed()[0])
    file = tmp_path / "new.csv"
    file.write_text("item_id,title\nnew,redcup word0\n")
    assert genre("index", str(run.folder), "--add", str(file)).exit_code == 0
    data = Dataset.load(run.path("data"))
    index = Index.of(run, data)
    assert index is not None
    for form in ("onnx", "static_vectors", *ITEMS):
        model = index.grow(load_model(run, data, form=form), "finetuned")
        np.testing.assert_allclose(model.item_vectors()[-1], model.vectors_of(index.joined)[-1], atol=2e-2)
    slate = Pipeline.load(run.folder, form="onnx").recommend([Query(text="redcup word0")])[0]
    assert slate.items


def test_predicts_alike_in_a_form_that_loses_nothing():
    run, _ = compressed_texts()
    texts = ["word1 bluehat", "word2 greypen"]
    plain, formed = (TextPredictor.load(run.folder, form).predict(texts) for form in (None, "onnx"))
    for a, b in zip(plain, formed, strict=True):
        assert a["heads"]["stars"] == pytest.approx(b["heads"]["stars"], abs=1e-3)
        assert a["heads"]["names"] == b["heads"]["names"]


@pytest.mark.parametrize("form", ["onnx", "static_vectors"])
def test_no_layer_of_the_language_model_is_loaded_to_serve(form: str):
    run, _ = compressed()
    texts, _ = compressed_texts()
    pairs, _ = compressed_pairs()
    code = f"""
import sys
from genre.pipeline import Pipeline
from genre.types import Query
from genre.data import Dataset
from genre.predicting import TextPredictor
from genre.resources import load_model
from genre.run import Run
run = Run.open({str(run.folder)!r})
model = load_model(run, Dataset.load(run.path("data")), form={form!r})
assert model.embed(["redcup word0"]).shape == (1, 32)
TextPredictor.load({str(texts.folder)!r}, {form!r}).predict(["word1 bluehat"])
assert Pipeline.load({str(pairs.folder)!r}, form={form!r}).recommend([Query(user_id="u3")])[0].items
from genre.textencoder import load
assert load.cache_info().currsize == 0
assert "transformers.models.bert.modeling_bert" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_source_of_pretrained_texts_loads_the_language_model_for_a_text_alone():
    run = copy_of(compressed()[0])
    sources = [Slot("sources").build(name) for name in ("model", "content_knn", "popular")]
    rank(replace(run.config, pipeline=replace(run.config.pipeline, sources=sources)), run)
    code = f"""
import sys
from genre.pipeline import Pipeline
from genre.textencoder import load
from genre.types import Query
path = Pipeline.load({str(run.folder)!r}, form="onnx")
assert "content_knn" in path.sources
for query in (Query(user_id="u3"), Query(history=("i1", "i2")), Query(history=("i1",), text=" ")):
    assert "content_knn" in path.recommend([query])[0].items[0].sources, query
    assert load.cache_info().currsize == 0
    assert "transformers.models.bert.modeling_bert" not in sys.modules
assert "content_knn" in path.recommend([Query(text="redcup word0")])[0].items[0].sources
assert load.cache_info().currsize == 1
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_commands():
    run, texts = copy_of(compressed()[0]), compressed_texts()[0]
    done = genre("compress", str(run.folder), "--with", "onnx", "--budget", "p99_ms=1000, ndcg_loss=2%")
    assert done.exit_code == 0, done.output
    assert "loss of ndcg@10" in done.output
    assert "chosen on validation: " in done.output or "no form keeps to the budget" in done.output
    done = genre("recommend", str(run.folder), "--text", "redcup", "--form", "onnx", "--k", "2")
    assert done.exit_code == 0, done.output
    done = genre("predict", str(texts.folder), "--text", "word1 bluehat", "--form", "static_vectors")
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--with", "onx"], "no form and no step is named 'onx'; did you mean 'onnx'?"),
        (["--with", "onnx+distill"], "distill works on weights, and onnx before it leaves a finished program"),
        (["--with", "int8_vectors", "--budget", "x"], "budget: 'x' is no limit"),
        (["--with", "layer_drop"], "layer_drop keeps 3 layers, and there are 2; keep fewer"),
        (["--budget", "p99=5"], "budget: nothing named 'p99'; did you mean 'p99_ms'?"),
        (["--budget", "loss"], "budget: 'loss' is no limit; write one as p99_ms=5 or loss=1%"),
    ],
)
def test_the_command_says_what_is_wrong(arguments: list[str], message: str):
    done = genre("compress", str(finished().folder), *arguments)
    assert done.exit_code == 1
    assert message in done.output


def test_a_cross_model_is_judged_by_the_lists_whose_top_it_orders():
    run, result = compressed_pairs()
    forms = result["forms"]
    for form in forms.values():
        assert set(form["valid"]) == set(form["test"]) == {"ndcg@10"}
    reported = json.loads((run.path("evaluate") / "metrics.json").read_text())["systems"]["genre"]["ndcg@10"]["value"]
    assert forms["torch"]["test"]["ndcg@10"]["form"] == pytest.approx(reported, abs=0.02)
    for part in ("valid", "test"):
        assert forms["onnx"][part]["ndcg@10"]["loss"] == pytest.approx(0.0, abs=1e-3)
    # The sources of validation knew the training part alone, as when the weight of the reading was chosen.
    tried = json.loads((run.path("rank") / "rerank_finetuned.json").read_text())
    assert forms["torch"]["valid"]["ndcg@10"]["form"] == pytest.approx(tried["ndcg@10"][tried["weight"]], abs=0.02)
    queries = [Query(user_id="u3"), Query(history=("i1", "i2"))]
    plain, formed, other = (
        [[item.item_id for item in slate.items] for slate in Pipeline.load(run.folder, form=form).recommend(queries)]
        for form in (None, "onnx", "static_vectors")
    )
    assert plain == formed
    assert [set(items[:5]) for items in other] == [set(items[:5]) for items in plain]  # only their order may change
    with pytest.raises(ConfigError, match="int8_vectors is about item vectors, and only two_tower has any"):
        compress(run.config, run, ["int8_vectors"], say=silent)


def test_a_form_of_a_cross_model_starts_from_what_its_whole_model_starts_from():
    run, _ = compressed_pairs()
    data, path = Dataset.load(run.path("data")), run.path("model") / "finetuned"
    said = []
    for trained in (
        TrainedTexts.load(path, data),
        load_compressed(path, run.path("compress") / "static_vectors", data),
    ):
        reader: Any = PairReader(trained, data)
        reader.trained.heads["like"] = replace(reader.heads["like"], offset=("item", "user", "text"))
        histories = Histories.of(Log.of(data), np.arange(3, dtype=np.int32))
        said.append(reader.offsets["like"].of_pairs(histories, np.arange(3), np.arange(3, dtype=np.int32)))
    np.testing.assert_array_equal(*said)
    assert len(set(said[0].tolist())) > 1


def test_a_cross_model_whose_reading_counts_for_nothing_is_not_compressed():
    run = copy_of(finished_pairs())
    ranked = run.path("rank")
    path, sealed = ranked / "rerank_finetuned.json", json.loads((ranked / "manifest.json").read_text())
    path.write_text(json.dumps(json.loads(path.read_text()) | {"weight": "0.0"}))
    seal(ranked, sealed["format"], data=sealed["data"], model=sealed["model"])
    with pytest.raises(GenreError, match=r"its weight on validation is 0"):
        compress(run.config, run, ["onnx"], say=silent)


def test_forms_of_the_configuration_that_the_language_model_does_not_allow_are_left_out():
    run = finished()
    assert set(forms_of(run.config, ())) >= {"onnx", "ctranslate2", "small"}
    from genre.backbones import Shape
    from genre.compression.stage import _fitting

    said: list[str] = []
    fitting = _fitting(forms_of(run.config, ()), Shape(True, 2, "llama"), "items", False, said.append)
    assert set(fitting) == {"onnx", "openvino", "dynamic_int8", "static_vectors"}
    assert any(line.startswith("ctranslate2: left out, as ctranslate2 runs bert") for line in said)


def measured(loss: float, units: int = 1000, high: float | None = None) -> dict[str, Any]:
    return {"loss": loss, "ci95": [loss - 0.01, loss + 0.01 if high is None else high], "units": units}


def form(p99: float, rate: float, valid: dict[str, Any]) -> dict[str, Any]:
    return {"p99_ms": p99, "median_ms": p99 / 2, "mb": 10.0, "texts_per_s": rate, "valid": valid}


def test_a_budget_is_held_against_the_worst_end_where_there_is_enough_data():
    forms = {
        "whole": form(20, 10, {"ndcg@10": measured(0.0, high=0.0)}),
        "good": form(4, 100, {"ndcg@10": measured(0.001, high=0.009)}),
        "noisy": form(3, 200, {"ndcg@10": measured(0.001, high=0.03)}),
        "bad": form(1, 900, {"ndcg@10": measured(0.2)}),
    }
    budget = Budget.parse("p99_ms=5, ndcg_loss=1%")
    assert budget.limits == {"p99_ms": 5, "ndcg_loss": 0.01}
    assert cheapest(budget, forms) == "good"
    assert "worst end of its interval" in budget.broken(forms["noisy"])[0]
    assert budget.broken(forms["whole"]) == ["p99_ms is 20, above 5"]
    few = {name: {**one, "valid": {"ndcg@10": {**one["valid"]["ndcg@10"], "units": 50}}} for name, one in forms.items()}
    assert cheapest(budget, few) == "noisy"
    assert cheapest(Budget.parse("texts_per_s=1000"), forms) is None
    with pytest.raises(ConfigError, match="nothing for 'rmse_loss'; did you mean 'loss'"):
        cheapest(Budget.parse("rmse_loss=1%"), forms)


def test_a_loss_is_a_share_of_what_the_model_reaches_whichever_way_is_better():
    draws = np.linspace(0.39, 0.41, 101)
    higher = loss_of((Measured(0.36, draws - 0.04), 9), (Measured(0.4, draws), 9), larger=True)
    assert higher["loss"] == pytest.approx(0.1)
    assert higher["ci95"] == pytest.approx([0.1, 0.1])
    lower = loss_of((Measured(0.44, draws + 0.04), 9), (Measured(0.4, draws), 9), larger=False)
    assert lower["loss"] == pytest.approx(0.1)
    assert lower["verdict"] == "worse"


@pytest.mark.parametrize(
    ("forms", "message"),
    [
        ("[onnx, distill]", "distill works on weights, and onnx before it leaves a finished program; put it first"),
        ("[{type: layer_drop, keep: 9}]", "layer_drop keeps 9 layers, and there are 6; keep fewer"),
        ("[{type: layer_drop, keep: 2}, {type: layer_drop, keep: 3}]", "layer_drop keeps 3 layers, and there are 2"),
        ("[head_prune, ctranslate2]", "ctranslate2 runs bert and this is bert with heads cut away"),
    ],
)
def test_check_refuses_steps_that_cannot_be_done(forms: str, message: str, tmp_path: Path):
    file = tmp_path / "c.yaml"
    file.write_text(f"data: {{reader: movielens}}\ncompress: {{forms: {{mine: {forms}}}, budget: speed=1}}\n")
    with pytest.raises(ConfigError) as caught:
        load(file, ())
    assert any("compress.forms.mine: " + message in problem for problem in caught.value.problems)
    assert any("compress.budget: nothing named 'speed'" in problem for problem in caught.value.problems)
