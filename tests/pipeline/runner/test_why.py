"""Why a stage is not there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from flows.flip import flip
from pipeline.config.location import store_of
from pipeline.runner.plan import plan
from pipeline.runner.status import status
from pipeline.runner.why import differences, why_missing
from tests.tiny import tiny_config


@pytest.fixture
def folder(tiny_run: Path, tmp_path: Path) -> Path:
    found = shutil.copytree(tiny_run, tmp_path / "copy", symlinks=True)
    flip(tiny_config(found), until="filter")
    return found


def told(folder: Path, **sections: object) -> dict[str, str]:
    config = tiny_config(folder, **sections)
    return {one.stage: one.summary for one in status(config) if one.state == "not there"}


def test_the_setting_that_changed_is_named(folder: Path) -> None:
    assert told(folder) == {}
    found = told(folder, filter={"tau_pos": 0.7, "tau_neg": {"quantile": 0.95}})
    assert found["filter"] == "filter.tau_pos quantile 0.05 -> 0.7"
    found = told(folder, teach={"epochs": 2})
    assert found["teach"] == "teach.epochs 1 -> 2"
    assert found["score"] == "another teach"


def test_the_file_that_changed_is_named(folder: Path) -> None:
    with (folder / "pairs.csv").open("a") as file:
        file.write("new,one text,another text,1\n")
    found = told(folder)
    assert found["prepare"] == "pairs.csv changed"
    assert found["teach"] == "another prepare"


def test_a_name_that_never_ran_and_an_artifact_that_was_removed(folder: Path) -> None:
    config = tiny_config(folder)
    step, store = plan(config)[3], store_of(config)
    assert why_missing(step, store, "another") == "not run yet"
    manifest = store.manifest("filter", step.key)
    assert differences(step, manifest) == []
    older = manifest.model_copy(update={"stage_version": 0, "seed": 5})
    assert len(differences(step, older)) == 2
    shutil.rmtree(store.path("filter", step.key))
    assert why_missing(step, store, "default") == "not run yet"
