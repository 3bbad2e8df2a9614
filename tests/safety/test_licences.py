"""The check of the dependencies' licences, as `make lint` runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.safety.audit import ROOT

if find_spec("piplicenses") is None:
    pytest.skip("pip-licenses is not installed; it is in the extra `test`", allow_module_level=True)


def licences(path: Path) -> subprocess.CompletedProcess[str]:
    """Run the check with one more folder of installed packages."""
    return subprocess.run(
        [sys.executable, "-m", "piplicenses"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(path)},
        capture_output=True,
        text=True,
        check=False,
    )


def pretend(folder: Path, metadata: str, name: str = "borrowed") -> Path:
    """Make it look as if a package were installed in a folder."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    text = f"Metadata-Version: 2.4\nName: {name}\nVersion: 1.0\n{metadata}\n"
    (info / "METADATA").write_text(text, encoding="utf-8")
    return folder


def test_every_dependency_has_a_licence_that_is_allowed(tmp_path: Path) -> None:
    """And it is read in each of the ways in which packages tell it."""
    pretend(tmp_path, "License-Expression: MIT", "expressed")
    pretend(tmp_path, "Classifier: License :: OSI Approved :: MIT License", "classified")
    pretend(tmp_path, "License: MIT", "written")
    done = licences(tmp_path)
    assert done.returncode == 0, done.stderr
    for name in ("torch", "transformers", "prefect", "peft", "expressed", "classified", "written"):
        assert f"| {name} " in done.stdout


@pytest.mark.parametrize(
    "metadata",
    [
        "License-Expression: AGPL-3.0-only",
        "Classifier: License :: OSI Approved :: GNU General Public License v3 (GPLv3)",
        "License: All rights reserved",
        "Summary: without a word about it",
    ],
)
def test_another_licence_fails(tmp_path: Path, metadata: str) -> None:
    done = licences(pretend(tmp_path, metadata))
    assert done.returncode != 0
    assert "borrowed" in done.stderr + done.stdout
