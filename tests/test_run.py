"""Run folders: what is done once, and folders that are refused."""

import json
import os

import pytest

from genre.errors import GenreError, RunError
from genre.files import replacing, replacing_folder, seal, unseal
from genre.run import Run, peak_memory
from toyworld import config


@pytest.fixture
def run(tmp_path):
    return Run.create(config("minilm"), tmp_path)


def test_a_stage_is_done_again_only_when_its_inputs_change(run):
    done = []

    def work(folder):
        folder.mkdir(exist_ok=True)
        done.append(folder.name)

    assert run.do("model", {"a": 1}, work)
    assert not run.do("model", {"a": 1}, work)
    assert run.do("model", {"a": 2}, work)
    assert done == ["model", "model"]
    stage = run.manifest["stages"]["model"]
    assert stage["seconds"] >= 0
    assert stage["peak_rss_mb"] > 10


def test_a_stage_that_failed_is_not_taken_for_done(run):
    with pytest.raises(ZeroDivisionError):
        run.do("model", 1, lambda folder: 1 / 0)
    assert "model" not in run.manifest["stages"]


def test_the_manifest_says_by_what_and_from_what(run):
    manifest = run.manifest
    assert {"config", "seed", "versions", "machine", "format"} <= manifest.keys()
    assert manifest["versions"]["torch"]
    assert Run.open(run.folder).config == run.config


def test_a_run_folder_of_another_version_is_refused(run):
    path = run.folder / "manifest.json"
    path.write_text(json.dumps({**run.manifest, "format": 99}), encoding="utf-8")
    with pytest.raises(RunError, match="written in format 99, this version reads 1; run its configuration again"):
        Run.open(run.folder)


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(RunError, match=r"not a run folder .*make one with 'genre run CONFIG'"):
        Run.open(tmp_path)


def test_an_error_while_writing_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "kept.txt"
    path.write_text("old")

    def fill(aside):
        aside.write_text("half")
        raise OSError(28, os.strerror(28))

    message = r"kept\.txt: could not be written \(No space left on device\); nothing was changed"
    with pytest.raises(GenreError, match=message), replacing(path) as aside:
        fill(aside)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["kept.txt"]


def test_an_error_while_a_folder_takes_its_place_puts_the_old_one_back(tmp_path, monkeypatch):
    folder = tmp_path / "kept"
    folder.mkdir()
    (folder / "file").write_text("old")
    rename = type(folder).replace
    calls = []

    def second_fails(self, target):
        calls.append(self)
        if len(calls) == 2:
            raise OSError(5, os.strerror(5))
        return rename(self, target)

    monkeypatch.setattr(type(folder), "replace", second_fails)
    with pytest.raises(GenreError, match="nothing was changed"), replacing_folder(folder) as aside:
        (aside / "file").write_text("new")
    assert (folder / "file").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["kept"]


def test_a_sealed_folder_tells_every_change(tmp_path):
    (tmp_path / "a").write_text("1")
    seal(tmp_path, 3, note="x")
    assert unseal(tmp_path, 3, "genre x")["note"] == "x"
    with pytest.raises(RunError, match="written in format 3, this version reads 4; run 'genre x' again"):
        unseal(tmp_path, 4, "genre x")
    (tmp_path / "a").write_text("2")
    with pytest.raises(RunError, match="its bytes differ"):
        unseal(tmp_path, 3, "genre x")
    (tmp_path / "a").unlink()
    with pytest.raises(RunError, match="missing; run 'genre x' again"):
        unseal(tmp_path, 3, "genre x")


def test_peak_memory_sees_what_was_held_in_between():
    with peak_memory(interval=0.005) as peak:
        before = peak()
        held = bytearray(200 * 2**20)
        held[::4096] = b"x" * len(held[::4096])
        import time

        time.sleep(0.1)
        del held
    assert peak() > before + 100
