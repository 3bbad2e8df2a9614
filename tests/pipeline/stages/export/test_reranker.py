"""`flipkd export --as reranker`: all of the folder or nothing, and the student's numbers in a clean process."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from data.errors import FlipkdError
from pipeline.stages.export import reranker
from pipeline.stages.export.reranker import export_reranker
from tests.models.student.test_reranker import folder  # noqa: F401  # a fixture


@pytest.mark.filterwarnings("ignore")
def test_the_folder_is_checked_in_a_clean_process(folder: Path, tmp_path: Path) -> None:  # noqa: F811
    found = export_reranker(folder, tmp_path / "deep" / "out")
    assert found.keys() == {"student", "transformers"}
    assert 0 <= max(found.values()) < 1e-5
    assert {path.name for path in (tmp_path / "deep").iterdir()} == {"out"}
    said = (tmp_path / "deep" / "out" / "README.md").read_text()
    assert re.search(r"\b\d+ pairs in a clean process differed from the student's", said)


def test_nothing_is_left_of_one_that_gives_other_numbers(
    folder: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def spoilt(student: object, place: Path, out: Path, dtype: object) -> None:
        write(student, place, out, dtype)  # pyright: ignore
        score = out / "1_LogitScore" / "config.json"
        score.write_text(score.read_text().replace("true_token_id", "x").replace("false_token_id", "true_token_id")
                         .replace('"x"', '"false_token_id"'))  # fmt: skip

    write = reranker.write_reranker
    monkeypatch.setattr(reranker, "write_reranker", spoilt)
    with pytest.raises(FlipkdError, match=r"differ in a clean process by up to .* so the folder was not kept"):
        export_reranker(folder, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_what_is_there_stays(folder: Path, tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    for place in (tmp_path / "out", tmp_path / "out" / "mine.txt"):
        with pytest.raises(FlipkdError, match="is there already"):
            export_reranker(folder, place)
    assert (tmp_path / "out" / "mine.txt").read_text() == "mine"


def test_no_student(tmp_path: Path) -> None:
    with pytest.raises(FlipkdError, match=r"no student\.json in it"):
        export_reranker(tmp_path, tmp_path / "out")


def test_sides_are_asked_in_one_order(folder: Path, tmp_path: Path) -> None:  # noqa: F811
    """With another wording for the other order the folder holds the first one alone, and says so."""
    student = shutil.copytree(folder, tmp_path / "student")
    settings = student / "student.json"
    turned = '"turned": "A: {b}\\nthe other: {a}\\nSame question?", "template": "A: {a}\\nB: {b}\\nSame question?"'
    settings.write_text(re.sub(r'"template": "(?:[^"\\]|\\.)*"', lambda _: turned, settings.read_text()))
    found = export_reranker(student, tmp_path / "out")
    assert max(found.values()) < 1e-5
    card = (tmp_path / "out" / "README.md").read_text()
    assert "the first text is the query, the second the entry" in card
    assert "another wording for the other order, which is not here" in card
    assert "model.predict(pairs) +" not in card


def test_a_student_in_bf16_stays_in_it_and_may_be_had_in_fp32(folder: Path, tmp_path: Path) -> None:  # noqa: F811
    student = shutil.copytree(folder, tmp_path / "student")
    settings = json.loads((student / "student.json").read_text())
    (student / "student.json").write_text(json.dumps(settings | {"dtype": "bfloat16"}))
    cases: list[tuple[reranker.Dtype | None, str]] = [(None, "bfloat16"), ("fp32", "float32")]
    for dtype, stored in cases:
        found = export_reranker(student, tmp_path / stored, dtype)
        assert max(found.values()) < 0.05
        assert json.loads((tmp_path / stored / "config.json").read_text())["dtype"] == stored
