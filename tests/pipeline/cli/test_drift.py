"""The command `drift` where there is nothing to compare; `tests/pipeline/drift` has what it compares."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from typer.testing import CliRunner

from pipeline.cli.main import app
from tests.tiny import tiny_config


def _drift(folder: Path, *arguments: str) -> Any:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(tiny_config(folder).model_dump(mode="json", exclude_none=True)), "utf-8")
    return CliRunner().invoke(app, ["drift", str(path), *arguments])


def test_stages_that_have_not_run_are_named_with_the_command(tmp_path: Path) -> None:
    result = _drift(tmp_path)
    assert result.exit_code == 1
    assert "prepare and teach and score of this config have not run in" in " ".join(result.stderr.split())
    assert "--until score" in result.stderr


def test_where_it_is_off_nothing_is_compared(tmp_path: Path) -> None:
    result = _drift(tmp_path, "--set", "drift.enabled=false")
    assert (result.exit_code, result.stdout) == (0, "drift.enabled is false: nothing is compared\n")
