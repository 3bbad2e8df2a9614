"""Every bad or odd file of the corpus through `predict` too: scores for what can be read, or one clear error."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from data.errors import FlipkdError
from models.student.flipkd_student import FlipkdStudent
from models.student.load import load_student
from pipeline.config.location import store_of
from pipeline.runner.plan import plan
from pipeline.stages.export import predict as module
from pipeline.stages.export.predict import predict
from tests.bad_input.corpus import Case, cases
from tests.tiny import tiny_config

# 300 MB of text through the tokenizer takes two minutes and ends well, in 1 GB.
TOO_LONG = "types, parquet: a text of a megabyte in every row, in a small file"
CASES = [case for case in cases() if not case.kind.startswith(("models", "configs")) and case.id != TOO_LONG]


@pytest.fixture(scope="module")
def student(tiny_run: Path) -> Path:
    config = tiny_config(tiny_run)
    return store_of(config).path("export", plan(config)[-1].key) / "student"


@pytest.fixture(scope="module")
def loaded(student: Path) -> FlipkdStudent:
    return load_student(student)


def test_there_are_many() -> None:
    assert len(CASES) > 700


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_case(
    case: Case, tmp_path: Path, student: Path, loaded: FlipkdStudent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "load_student", lambda *_, **__: loaded)  # the same one each time, loaded once
    made = case.make(tmp_path)
    for number, entry in enumerate(_entries(made)):
        path, out = Path(str(entry.get("path", ""))), tmp_path / f"scored-{number}.parquet"
        columns = {name: str(entry.get(name) or name) for name in ("text_a", "text_b")}
        before = _digest(path)
        try:
            summary = predict(student, path, out, text_a=columns["text_a"], text_b=columns["text_b"])
        except FlipkdError:  # any other exception fails the test
            assert not out.exists()
        else:
            table = pq.read_table(out)
            assert table.num_rows == summary["pairs"]
            assert table["fused"].null_count == summary.get("unusable", 0)
        assert _digest(path) == before
        assert not [file for file in tmp_path.iterdir() if file.name.endswith(".writing")]


def _entries(made: Any) -> list[dict[str, Any]]:
    settings = made if isinstance(made, dict) else {}
    found = settings.get("prepare", settings).get("inputs", [])
    return [entry for entry in found if isinstance(entry, dict)]


def _digest(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
    except (OSError, ValueError):  # no path at all, or one that cannot be read
        return None
