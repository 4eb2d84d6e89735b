"""The public names: few, cheap to import, and enough."""

import json
import subprocess
import sys

import pytest

import genre
from finished import finished
from genre import Candidate, Dataset, GenreError, Pipeline, Query, Slate, component, load


def test_a_recommendation_in_a_few_lines():
    pipeline = load(finished().folder)
    [slate] = pipeline.recommend([Query(user_id="u1", k=3)])
    assert isinstance(pipeline, Pipeline)
    assert isinstance(slate, Slate)
    assert all(isinstance(candidate, Candidate) for candidate in slate.items)
    assert len(slate.items) == 3


def test_a_folder_that_is_no_run_is_told():
    with pytest.raises(GenreError, match="not a run folder"):
        load("nowhere")


def test_every_public_name_is_there():
    for name in genre.__all__:
        assert getattr(genre, name) is not None
    assert set(genre.__all__) <= set(dir(genre))
    with pytest.raises(AttributeError, match="no attribute 'absent'"):
        genre.absent  # noqa: B018


def test_functions_are_not_hidden_by_modules_of_their_name():
    import genre.component
    import genre.run

    assert callable(genre.run)
    assert genre.component is component
    assert component.__module__ == "genre.component"


def test_importing_the_package_brings_nothing_heavy():
    code = "import sys, genre; print(sorted({'torch', 'numpy', 'pydantic', 'pyarrow'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_all_stages_run_from_a_file(tmp_path, monkeypatch):
    from toyworld import circle, tiny_backbone

    monkeypatch.setenv("GENRE_CACHE", str(tmp_path / "cache"))
    reading = circle(n_users=30)
    import pyarrow.csv

    pyarrow.csv.write_csv(reading.interactions.drop_columns(["file", "line"]), tmp_path / "log.csv")
    pyarrow.csv.write_csv(reading.items, tmp_path / "items.csv")
    bert = tiny_backbone(tmp_path / "bert")
    (tmp_path / "toy.yaml").write_text(
        f"""name: toy
data:
  reader: {{type: table, interactions: {tmp_path / "log.csv"}, items: {tmp_path / "items.csv"}}}
model:
  backbone: {{type: huggingface, path: {bert["path"]}}}
  adapter: {{type: lora, layers: 1, r: 2}}
  dim: 16
train: {{warmup_epochs: 1, epochs: 1}}
evaluate: {{bootstrap: 20, baselines: [popular], metrics: [ndcg@10]}}
"""
    )
    made = genre.run(tmp_path / "toy.yaml", ["train.batch_size=8"], root=tmp_path / "runs")
    assert made.config.train.batch_size == 8
    assert (made.path("report") / "report.html").exists()
    assert isinstance(Dataset.load(made.path("data")), Dataset)
    [slate] = load(made.folder).recommend([Query(history=("i1", "i2"))])
    assert slate.items


def test_a_model_of_texts_runs_without_ranking(tmp_path, monkeypatch):
    import yaml

    from toyworld import reviews, tiny_backbone

    monkeypatch.setenv("GENRE_CACHE", str(tmp_path / "cache"))
    log = reviews(80).interactions.drop_columns(["names", "file", "line", "user_id", "item_id"])
    (tmp_path / "reviews.jsonl").write_text(
        "\n".join(json.dumps(row, allow_nan=False, default=str) for row in log.to_pylist())
    )
    reader = {
        "type": "reviews",
        "path": str(tmp_path / "reviews.jsonl"),
        "columns": {},
        "item_columns": [],
        "text": ["text"],
    }
    config = {
        "name": "texts",
        "data": {"reader": reader, "split": {"type": "random", "per": "log"}},
        "model": {
            "formulation": "text",
            "backbone": tiny_backbone(tmp_path / "bert"),
            "template": "{text}",
            "heads": {"stars": {"type": "regression", "label": "value"}},
        },
        "train": {"warmup_epochs": 1, "epochs": 1, "early_stopping": {"metric": "stars.rmse"}},
        "evaluate": {"bootstrap": 20, "examples": 1},
    }
    (tmp_path / "texts.yaml").write_text(yaml.safe_dump(config))
    run = genre.run(tmp_path / "texts.yaml", root=tmp_path)
    assert (run.path("report") / "report.html").exists()
    assert not run.path("rank").exists()
