"""A saved student, loaded: the trained numbers, and none where there is no student."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from data.errors import FlipkdError
from models.student.flipkd_student import fused
from models.student.folder import assemble, set_decision
from models.student.load import load_student, score_pairs
from models.student.student import Student
from tests.models.student.test_folder import FUSION, distilled_folder, trained_scores
from tests.models.student.test_student import PAIRS, new_student
from tests.tiny import tiny_student


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Student, Path]:
    """A student and the folder of its export, `student/` inside."""
    folder = tmp_path_factory.mktemp("load")
    student = new_student(tiny_student(folder / "base"))
    export = folder / "export"
    distilled = distilled_folder(student, folder / "distilled")
    base = folder / "base"
    assemble(export / "student", distilled, base, base_name="tiny", revision=None, final=export / "student")
    return student, export


def test_it_gives_the_trained_scores_from_the_export_and_from_the_student(saved: tuple[Student, Path]):
    student, export = saved
    decoder, encoder = trained_scores(student)
    done: list[float] = []
    for folder in (export, export / "student"):
        loaded = load_student(folder)
        assert not loaded.training
        scores = score_pairs(loaded, PAIRS, 2, done.append)
        assert scores.keys() == {"decoder", "encoder"}
        np.testing.assert_allclose(scores["decoder"], decoder, atol=1e-5)
        np.testing.assert_allclose(scores["encoder"], encoder, atol=1e-5)
    assert done == [2, 1, 2, 1]


def test_with_a_decision_there_is_a_third_score(saved: tuple[Student, Path], tmp_path: Path):
    folder = shutil.copytree(saved[1] / "student", tmp_path / "student")
    set_decision(folder, {"thresholds": {}, "fusion": FUSION})
    scores = score_pairs(load_student(folder), PAIRS, 8)
    np.testing.assert_array_equal(scores["fused"], fused(scores["decoder"], scores["encoder"], FUSION))


def test_products_are_in_full_precision_whatever_was_set(saved: tuple[Student, Path]):
    student = load_student(saved[1])
    seen: list[str] = []
    student.lm.base_model.register_forward_pre_hook(lambda *_: seen.append(torch.get_float32_matmul_precision()))
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        score_pairs(student, PAIRS, 8)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    assert seen == ["highest"]


def test_the_code_in_the_folder_is_not_run(saved: tuple[Student, Path], tmp_path: Path):
    folder = shutil.copytree(saved[1] / "student", tmp_path / "student")
    (folder / "flipkd_student.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    load_student(folder)
    assert not (tmp_path / "ran").exists()


def test_where_no_student_is(tmp_path: Path):
    with pytest.raises(FlipkdError, match=r"no student\.json in it; name the folder `student/`"):
        load_student(tmp_path)


def test_a_student_that_is_damaged(saved: tuple[Student, Path], tmp_path: Path):
    folder = shutil.copytree(saved[1] / "student", tmp_path / "student")
    settings = json.loads((folder / "student.json").read_text("utf-8"))
    (folder / "student.json").write_text(json.dumps(settings | {"pooling": "attention"}), "utf-8")
    with pytest.raises(FlipkdError, match=r"student cannot be loaded: .*pooling\.safetensors"):
        load_student(folder)
    (folder / "base" / "model.safetensors").rename(folder / "base" / "pytorch_model.bin")
    with pytest.raises(FlipkdError, match="has only pickled weights"):
        load_student(folder)
