"""The processes that train a student together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from data.errors import FlipkdError
from pipeline.stages.distill.processes import train_on_processes
from tests.pipeline.stages.distill.jobs import ONE_GPU, adapter, job


@ONE_GPU
def test_two_processes_share_the_steps(undisturbed: tuple[Path, dict[str, Any]], base: Path, tmp_path: Path):
    summary = train_on_processes(job(tmp_path, base, processes=2))
    steps = undisturbed[1]["steps"]
    assert summary["steps"] == 4 + 27
    assert steps == 8 + 54
    assert summary["dev_encoder_auroc"] > 0.9
    assert adapter(tmp_path).keys() == adapter(undisturbed[0]).keys()


def test_more_processes_than_gpus_are_refused(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(FlipkdError, match=r"distill.processes is 2, and here is 1 GPU: .* set it to 1 or less"):
        train_on_processes(job(tmp_path, base, processes=2))


@ONE_GPU
def test_what_a_process_says_reaches_the_user(base: Path, tmp_path: Path):
    broken = job(tmp_path, base, processes=2)
    pl.read_parquet(broken.filtered).with_columns(kept=pl.lit(value=False)).write_parquet(broken.filtered)
    with pytest.raises(FlipkdError, match="the filter kept 0 training pairs"):
        train_on_processes(broken)


@ONE_GPU
def test_packages_of_the_folder_where_it_starts_are_not_taken(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The word that arrives is the work's own; none would come if a process had imported one of these."""
    asked = job(tmp_path / "job", base, processes=2)
    pl.read_parquet(asked.filtered).with_columns(kept=pl.lit(value=False)).write_parquet(asked.filtered)
    for package in ("models", "data", "pipeline"):
        (tmp_path / "here" / package).mkdir(parents=True)
        (tmp_path / "here" / package / "__init__.py").write_text("raise RuntimeError('a package of this folder')")
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(FlipkdError, match="the filter kept 0 training pairs"):
        train_on_processes(asked)
