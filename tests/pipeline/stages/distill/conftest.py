"""What the tests of a training share: the student it begins from, and one that ran to its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.stages.distill.job import train_job
from tests.pipeline.stages.distill.jobs import job
from tests.tiny import tiny_student


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_student(tmp_path_factory.mktemp("models") / "student")


@pytest.fixture(scope="session")
def undisturbed(base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("undisturbed")
    return folder, train_job(job(folder, base))
