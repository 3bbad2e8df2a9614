"""The account of a run on its page, whether it completed, failed or never said a word."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from data.errors import FlipkdError
from flows.summary import StageNote, summary_markdown
from tests.tiny import tiny_config


def account() -> str:
    """The artifact `flipkd-run` of the latest run."""
    from prefect.artifacts import Artifact

    found: Any = Artifact.get(key="flipkd-run")
    return str(found.data)


def test_a_run_that_completes(tiny_run: Path, tmp_path: Path) -> None:
    from flows.nightly import nightly

    folder = shutil.copytree(tiny_run, tmp_path / "copy")
    config = tiny_config(folder, filter={"tau_pos": {"quantile": 0.3}})
    file = folder / "nightly.yaml"
    file.write_text(config.model_dump_json(exclude_unset=True), encoding="utf-8")  # JSON is YAML
    nightly(str(file), until="filter")
    told = account()
    assert told.startswith("## nightly: Completed")
    assert told.count("| Cached |") == 3
    assert "| filter | Completed |" in told


def test_a_stage_that_fails(tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pipeline.stages.filter.run
    from flows.stages import filter as filter_flow

    folder = shutil.copytree(tiny_run, tmp_path / "copy")
    file = folder / "nightly.yaml"
    file.write_text(tiny_config(folder).model_dump_json(exclude_unset=True), encoding="utf-8")

    def broken(*_: Any) -> dict[str, Any]:
        raise FlipkdError("no pair is <script>alert(1)</script> kept")

    monkeypatch.setattr(pipeline.stages.filter.run, "run", broken)
    with pytest.raises(FlipkdError):
        filter_flow(str(file))
    told = account()
    assert told.startswith("## filter: Failed")
    assert "| filter | Failed |" in told
    assert "\n    Flow run encountered an exception: FlipkdError: no pair is <script>" in told  # as code
    assert "goes on from there" in told
    # Prefect leaves no file of the failure beside the artifacts.
    assert all(path.is_dir() for path in (folder / "store" / "artifacts").iterdir())


def test_a_run_that_died_has_no_stages() -> None:
    told = summary_markdown("nightly", "Crashed", "exited with status -9\nand no more", [])
    assert "| stage |" not in told
    assert "    exited with status -9\n    and no more" in told


def test_stages_are_rows() -> None:
    told = summary_markdown("nightly", "Completed", None, [StageNote("prepare", "a1", "Cached", 0.04)])
    assert "| prepare | Cached | 0.0 | `a1` |" in told
