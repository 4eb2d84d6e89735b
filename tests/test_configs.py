"""Every shipped configuration can be read, and no name in it stands for nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import TypeAdapter

from genre.config import Config
from genre.configfile import load, read
from genre.crosschecks import notes

CONFIGS = sorted((Path(__file__).parents[1] / "configs").rglob("*.yaml"))


def test_there_are_configurations():
    assert {"quickstart.yaml", "beauty.yaml"} <= {path.name for path in CONFIGS}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_is_valid_and_without_settings_that_do_nothing(path: Path):
    config, given = read(path)
    assert not list(notes(config, given))
    assert config.name == path.stem, "the run folder is called as the file"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_survives_the_way_through_a_run_folder(path: Path):
    config = load(path)
    written = TypeAdapter(Config).dump_json(config)
    assert TypeAdapter(Config).validate_json(written) == config


@pytest.mark.parametrize(
    "ablation",
    [
        "model.text=false model.ids=true",
        "model.ids=true",
        "train.epochs=0",
        "model.adapter=frozen",
        "model.adapter=full",
    ],
)
def test_the_quickstart_can_be_ablated(ablation: str):
    path = next(path for path in CONFIGS if path.name == "quickstart.yaml")
    assert load(path, [*ablation.split(), "name=ablation"])
