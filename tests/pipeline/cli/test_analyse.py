"""`retrieve` and `attribution` refuse before any work; `tests/flows/test_analyse.py` runs them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from pipeline.cli.main import app
from tests.tiny import tiny_config


@pytest.mark.parametrize("queries", ["0", "-3"])
def test_no_questions_are_no_number_of_them(queries: str) -> None:
    result = CliRunner().invoke(app, ["retrieve", "demo", "--queries", queries])
    assert result.exit_code == 2
    assert "--queries" in result.stderr


def test_pairs_have_no_entries_to_rank(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(tiny_config(tmp_path).model_dump(mode="json", exclude_none=True)), "utf-8")
    out = tmp_path / "out"
    result = CliRunner().invoke(app, ["retrieve", str(path), "-o", str(out)])
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert "utterances" in result.stderr
    assert not out.exists()
    assert not (tmp_path / "store" / "artifacts").exists()
