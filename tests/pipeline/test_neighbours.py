"""flipkd in one place with packages that are called as its own are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.checkout import ROOT


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *options, "-c", "from pipeline.config.config import Config; print(Config.__name__)"]
    return subprocess.run(
        command, cwd=folder, env={"PYTHONPATH": f"{folder}:{ROOT}"} if not options else {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["models", "data", "flows"])
def test_a_folder_of_the_same_name_is_told_of_in_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("MINE = True\n")
    said = run(tmp_path).stderr.strip().splitlines()[-1]
    assert said.startswith(f"ImportError: `{name}` is {tmp_path / name}, not flipkd's own ({ROOT / name})")
    assert "uv tool install" in said
    assert run(tmp_path, "-P").stdout == "Config\n"


def test_alone_it_is_not_told(tmp_path: Path) -> None:
    assert run(tmp_path).stdout == "Config\n"
