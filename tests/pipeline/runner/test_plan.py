"""The steps of a run: their keys follow from what each stage reads, and from nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from data.errors import FlipkdError
from pipeline.runner.plan import Step, plan, side_step
from tests.tiny import tiny_config


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("plan")


def keys(folder: Path, **sections: Any) -> dict[str, str]:
    return {step.stage: step.key for step in plan(tiny_config(folder, **sections))}


@pytest.mark.parametrize(
    ("changes", "first"),
    [
        ({"prepare": {"max_characters": 99}}, "prepare"),
        ({"teach": {"epochs": 2}}, "teach"),
        ({"filter": {"tau_pos": 0.3}}, "filter"),
        ({"distill": {"epochs": 2}}, "distill"),
        ({"export": {"ece_bins": 5}}, "export"),
    ],
)
def test_a_setting_changes_its_stage_and_those_after_it(folder: Path, changes: dict[str, Any], first: str) -> None:
    before, after = keys(folder), keys(folder, **changes)
    names = list(before)
    changed = [name for name in names if before[name] != after[name]]
    assert changed == names[names.index(first) :]


def test_what_only_costs_time_changes_nothing(folder: Path) -> None:
    assert keys(folder, distill={"checkpoint_minutes": 1.0}, export={"batch_pairs": 3}) != {}
    assert keys(folder, distill={"checkpoint_minutes": 1.0}) == keys(folder)


def test_a_moved_input_is_the_same_and_a_changed_one_is_not(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "pairs.csv"
    copy.write_bytes((folder / "pairs.csv").read_bytes())
    inputs = [{"kind": "pairs", "path": str(copy), "group": "question"}]
    assert keys(folder, prepare={"inputs": inputs}) == keys(folder)
    copy.write_bytes(copy.read_bytes() + b"99,one more,another,1\n")
    assert keys(folder, prepare={"inputs": inputs})["prepare"] != keys(folder)["prepare"]


def test_it_ends_where_it_is_told_and_names_the_artifacts_that_it_reads(folder: Path) -> None:
    steps = plan(tiny_config(folder), "filter")
    assert [step.stage for step in steps] == ["prepare", "teach", "score", "filter"]
    own = {step.stage: step.key for step in steps}
    assert steps[2].artifacts == {name: own[name] for name in ("prepare", "teach")}
    assert set(steps[1].inputs) - {"prepare"} == {"model"}
    with pytest.raises(FlipkdError, match="fliter"):
        plan(tiny_config(folder), "fliter")


def test_a_side_step_reads_what_the_plan_made(folder: Path) -> None:
    config = tiny_config(folder)
    steps = plan(config)
    measure = side_step("measure", config, steps)
    assert isinstance(measure, Step)
    assert measure.artifacts == {s.stage: s.key for s in steps if s.stage in {"score", "filter", "distill"}}
