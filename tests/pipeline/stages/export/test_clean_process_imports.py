"""The clean process that loads the exported student."""

from __future__ import annotations

from pathlib import Path

import pytest

from data.errors import FlipkdError
from pipeline.stages.export.clean_process import check_in_clean_process

# Its answer names those of flipkd's packages that it would import out of the folder that it is given as a pair.
SCRIPT = """
import importlib.util, json, sys
from pathlib import Path
_, student, request, answer = sys.argv
folder = json.loads(Path(request).read_text())["pairs"][0][0]
specs = [importlib.util.find_spec(name) for name in ("models", "data", "pipeline")]
Path(answer).write_text(json.dumps({"imported": [s.origin for s in specs if s and folder in str(s.origin)]}))
"""


@pytest.mark.parametrize("way", ["script", "PYTHONPATH"])
def test_packages_around_it_are_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """Neither those beside its script nor those on PYTHONPATH; it starts in a folder of its own."""
    for name in ("models", "data", "pipeline"):
        (tmp_path / "here" / name).mkdir(parents=True)
        (tmp_path / "here" / name / "__init__.py").touch()
    (tmp_path / "student.json").write_text("{}", "utf-8")
    script = (tmp_path / "here" if way == "script" else tmp_path) / "script.py"
    script.write_text(SCRIPT, "utf-8")
    monkeypatch.setattr("pipeline.stages.export.clean_process.SCRIPT", script)
    if way == "PYTHONPATH":
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "here"))
    with pytest.raises(FlipkdError, match="gives no `encode`"):  # which comes after the check of its imports
        check_in_clean_process(tmp_path, [(str(tmp_path / "here"), "")], {})
