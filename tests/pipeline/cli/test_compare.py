"""The command `compare` before it trains anything; `tests/flows/test_compare.py` runs comparisons."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from pipeline.cli.main import app
from tests.comparisons import comparison_file


def _compare(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, ["compare", *map(str, arguments)])


def test_a_dry_run_lists_the_students_and_writes_nothing(tmp_path: Path) -> None:
    variants = {"flip": {}, "sft": {"distill.objective": "sft"}}
    result = _compare(comparison_file(tmp_path, variants=variants), "--dry-run", "-o", tmp_path / "out")
    assert result.stdout.splitlines() == [
        f"tiny {variant} seed {seed}" for seed in (1, 2) for variant in ("flip", "sft")
    ]
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "store").exists()


def test_a_change_of_what_is_not_there_is_an_error_before_any_work(tmp_path: Path) -> None:
    result = _compare(comparison_file(tmp_path, variants={"odd": {"distill.epoch": 3}}), "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "distill.epoch" in result.stderr
    assert not (tmp_path / "out").exists()
