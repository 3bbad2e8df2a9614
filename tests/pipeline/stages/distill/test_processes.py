"""The processes that train a student together."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from data.errors import FlipkdError
from pipeline.stages.distill.processes import train_on_processes
from tests.pipeline.stages.distill.test_run import ONE_GPU, job
from tests.tiny import tiny_student


@ONE_GPU
def test_packages_of_the_folder_where_it_starts_are_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The word that arrives is the work's own; none would come if a process had imported one of these."""
    asked = job(tmp_path / "job", tiny_student(tmp_path / "student"), processes=2)
    pl.read_parquet(asked.filtered).with_columns(kept=pl.lit(value=False)).write_parquet(asked.filtered)
    for package in ("models", "data", "pipeline"):
        (tmp_path / "here" / package).mkdir(parents=True)
        (tmp_path / "here" / package / "__init__.py").write_text("raise RuntimeError('a package of this folder')")
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(FlipkdError, match="the filter kept 0 training pairs"):
        train_on_processes(asked)
