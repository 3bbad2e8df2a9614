"""`predict`, killed in the middle, goes on from the chunks that it had scored."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from pipeline.stages.export.predict import predict
from pipeline.stages.export.scored_parts import student_digest
from tests.checkout import ROOT
from tests.pipeline.stages.export.test_predict import exported  # noqa: F401  # a fixture

KILLED = """
import os, signal, sys
from pathlib import Path
import pipeline.stages.export.predict as module
import pipeline.stages.export.scored_parts as parts

module.CHUNK_ROWS = 5
real, calls = parts.score_pairs, []

def killed(*args):
    calls.append(1)
    if len(calls) == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*args)

parts.score_pairs = killed
module.predict(*map(Path, sys.argv[1:]))
"""


def test_after_a_kill_what_was_scored_is_not_scored_again(
    exported: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    flipkd_log: pytest.LogCaptureFixture,
) -> None:
    pairs, out = tmp_path / "pairs.parquet", tmp_path / "out.parquet"
    pl.read_parquet(exported / "predictions.parquet").select("text_a", "text_b").write_parquet(pairs)
    command = [sys.executable, "-c", KILLED, str(exported / "student"), str(pairs), str(out)]
    assert subprocess.run(command, cwd=ROOT, check=False, capture_output=True).returncode == -signal.SIGKILL
    assert not out.exists()
    kept = sorted((tmp_path / ".out.parquet.parts").glob("*.npy"))
    assert len(kept) == 3
    kept[1].write_bytes(b"damaged")
    monkeypatch.setattr("pipeline.stages.export.predict.CHUNK_ROWS", 5)
    predict(exported / "student", pairs, out)
    assert "predict: 10 pairs had been scored by a run that was cut off" in flipkd_log.text
    assert {path.name for path in tmp_path.iterdir()} == {"pairs.parquet", "out.parquet"}
    predict(exported / "student", pairs, tmp_path / "whole.parquet")
    assert out.read_bytes() == (tmp_path / "whole.parquet").read_bytes()


def test_another_student_s_scores_are_not_taken(exported: Path, tmp_path: Path) -> None:  # noqa: F811
    digest = student_digest(exported / "student")
    assert digest == student_digest(shutil.copytree(exported / "student", tmp_path / "same"))
    for name in ("decision.json", "student.json", "adapter_model.safetensors"):
        other = shutil.copytree(exported / "student", tmp_path / name)
        (other / name).write_bytes((other / name).read_bytes() + b" ")
        assert student_digest(other) != digest
