"""`flipkd ask` and `flipkd predict --catalogue` as they are typed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from tests.checkout import ROOT


@pytest.fixture(scope="session")
def student(tiny_run: Path) -> Path:
    return next((tiny_run / "store/artifacts/export").glob("*/student"))


@pytest.fixture
def entries(tmp_path: Path) -> Path:
    path = tmp_path / "titles.csv"
    path.write_text("title\nfreeze card\nlost \x1b[31mcard\nfever of child\n", encoding="utf-8")
    return path


def flipkd(*arguments: object, typed: str = "") -> subprocess.CompletedProcess[str]:
    code = "from pipeline.cli.main import main; main()"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, input=typed, text=True, capture_output=True, check=False, cwd=ROOT)


def test_questions_that_are_typed_are_answered_until_an_empty_line(student: Path, entries: Path) -> None:
    done = flipkd(
        "ask", student, entries, "-k", 2, typed="how do i freeze my card\nmy child has fever\n\nno more\n"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("fused") == 2
    assert all(title in done.stdout for title in ("freeze card", "lost \\x1b[31mcard"))
    assert "\x1b[31m" not in done.stdout


def test_a_question_on_the_command_line(student: Path, entries: Path) -> None:
    done = flipkd("ask", student, entries, "--question", "lost", "--question", "fever", "-k", 1)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("│ 1 │") == 2
    assert "│ 2 │" not in done.stdout


def test_predict_with_a_catalogue(student: Path, entries: Path, tmp_path: Path) -> None:
    (tmp_path / "questions.csv").write_text("question\nmy card is lost\n", encoding="utf-8")
    options = ["--catalogue", entries, "--text", "question", "-k", 3, "-o", tmp_path / "out.parquet"]
    done = flipkd("predict", student, tmp_path / "questions.csv", *options)
    assert done.returncode == 0, done.stderr
    assert f"Wrote {tmp_path / 'out.parquet'}: queries 1, rows 3" in done.stdout
    assert pl.read_parquet(tmp_path / "out.parquet")["rank"].to_list() == [1, 2, 3]


def test_what_is_wrong_is_one_line(student: Path, tmp_path: Path) -> None:
    done = flipkd("ask", student, tmp_path / "none.csv", "--question", "x")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    assert "none.csv" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_column_that_is_not_there_is_told_with_its_option(entries: Path, tmp_path: Path) -> None:
    """Before the student is loaded: here there is none."""
    questions = tmp_path / "questions.csv"
    questions.write_text("question,id\nmy card is lost,1\n", encoding="utf-8")
    told = {
        "--text": ["predict", "student", questions, "--catalogue", entries, "-o", tmp_path / "out.csv"],
        "--entry": [
            "predict",
            "student",
            questions,
            "--text",
            "question",
            "--catalogue",
            questions,
            "-o",
            "out.csv",
        ],
        "--text-a": ["predict", "student", questions, "-o", tmp_path / "out.csv"],
        "--text ": ["ask", "student", questions, "--question", "x"],
    }
    for option, arguments in told.items():
        done = flipkd(*arguments)
        assert done.returncode == 1
        assert f"the columns are 'question', 'id'. Name the right one: {option.strip()} COLUMN" in done.stderr
        assert done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["titles.csv", "questions.csv"]
