"""A flow for each stage: it runs its stage again, takes what stands before it, and starts nothing after it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import flows.stages
from pipeline.stages.registry import STAGES
from tests.tiny import tiny_config


@pytest.fixture
def file(tiny_run: Path, tmp_path: Path) -> Path:
    folder = shutil.copytree(tiny_run, tmp_path / "copy")
    path = folder / "nightly.yaml"
    path.write_text(tiny_config(folder).model_dump_json(exclude_unset=True), encoding="utf-8")
    return path


def _made(folder: Path) -> dict[str, int]:
    """When each artifact was written, by stage and key."""
    manifests = (folder / "store" / "artifacts").glob("*/*/manifest.json")
    return {f"{path.parts[-3]} {path.parts[-2]}": path.stat().st_mtime_ns for path in manifests}


def test_a_stage_is_run_again_alone(file: Path) -> None:
    before = _made(file.parent)
    flow: Any = flows.stages.filter
    references = flow(str(file))
    after = _made(file.parent)
    assert list(references) == ["prepare", "teach", "score", "filter"]
    assert before.keys() == after.keys()
    assert {name.split()[0] for name in before if before[name] != after[name]} == {"filter"}


def test_changes_are_the_stages_own_and_make_another_artifact(file: Path) -> None:
    before = _made(file.parent)
    flow: Any = flows.stages.filter
    flow(str(file), changes={"tau_pos": {"quantile": 0.3}}, rerun=False)
    new = _made(file.parent).keys() - before.keys()
    assert [name.split()[0] for name in new] == ["filter"]
    (folder,) = (file.parent / "store" / "artifacts" / "filter" / name.split()[1] for name in new)
    assert json.loads((folder / "manifest.json").read_text("utf-8"))["config"]["tau_pos"]["quantile"] == 0.3


def test_every_stage_has_its_flow_with_a_form_that_explains_itself() -> None:
    for stage, declared in STAGES.items():
        flow: Any = getattr(flows.stages, stage)
        assert flow.name == stage
        assert flow.description.startswith(declared.title.capitalize())
        assert set(flow.parameters.properties) == {"config", "changes", "rerun"}
        assert all(field.get("description") for field in flow.parameters.properties.values())
