"""The whole pipeline as a deployment: a file, changes over it, and how far it goes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from data.errors import FlipkdError
from flows.nightly import Everything, nightly
from pipeline.runner.plan import plan
from tests.tiny import tiny_config


def test_the_file_is_read_when_the_run_starts_and_changes_go_over_it(tiny_run: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_run, tmp_path / "copy")
    file = folder / "nightly.yaml"
    file.write_text(tiny_config(folder).model_dump_json(exclude_unset=True), encoding="utf-8")
    changes = Everything.model_validate({"filter": {"tau_pos": {"quantile": 0.3}}})
    found = nightly(str(file), changes, until="filter")
    changed = plan(
        tiny_config(folder, filter={"tau_pos": {"quantile": 0.3}, "tau_neg": {"quantile": 0.95}}), "filter"
    )
    assert {stage: reference["key"] for stage, reference in found.items()} == {s.stage: s.key for s in changed}
    # The file is another one by the next night.
    other = tiny_config(folder, filter={"tau_pos": {"quantile": 0.2}, "tau_neg": {"quantile": 0.95}})
    file.write_text(other.model_dump_json(exclude_unset=True), encoding="utf-8")
    assert nightly(str(file), until="filter")["filter"]["key"] == plan(other, "filter")[-1].key


def test_a_file_that_is_not_there_fails_with_its_name(prefect_server: None, tmp_path: Path) -> None:
    with pytest.raises(FlipkdError, match=r"gone\.yaml"):
        nightly(str(tmp_path / "gone.yaml"))
