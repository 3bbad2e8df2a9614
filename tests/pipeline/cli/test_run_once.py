"""A run from the command line checks and plans once, and reads the bytes of each file and model once."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

import data.locate
import models.loading.names
import pipeline.contract.identity
import pipeline.runner.check
from pipeline.cli.main import app
from tests.tiny import tiny_config


@pytest.fixture
def config(tiny_run: Path, tmp_path: Path) -> Path:
    """The config of a run whose stages are all there; its pairs' encoder would be the teacher."""
    folder = tmp_path / "run"
    shutil.copytree(tiny_run, folder, symlinks=True)
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(tiny_config(folder).model_dump(mode="json", exclude_none=True)), "utf-8")
    return path


@pytest.mark.usefixtures("prefect_server")
def test_a_cached_run_plans_once_and_reads_each_model_once(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: Counter[str] = Counter()
    plans: list[str] = []
    digest, plan = data.locate.digest, pipeline.runner.check.plan

    def reading(path: Path) -> str:
        read[path.name] += 1
        return digest(path)

    def planning(*args: object, **options: object) -> object:
        plans.append("plan")
        return plan(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(models.loading.names, "digest", reading)
    monkeypatch.setattr(pipeline.contract.identity, "digest", reading)
    for module in ("pipeline.runner.check", "pipeline.runner.plan"):
        monkeypatch.setattr(f"{module}.plan", planning)
    result = CliRunner().invoke(app, ["run", str(config)])
    assert result.exit_code == 0, result.output
    assert plans == ["plan"]
    assert read == {"pairs.csv": 1, "teacher": 1, "student": 1}
