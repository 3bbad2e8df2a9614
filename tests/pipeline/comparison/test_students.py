"""The students of a comparison, planned: what they share has one key, what parts them has not."""

from __future__ import annotations

from pathlib import Path

import pytest

from data.errors import FlipkdError
from pipeline.comparison.config import all_jobs, load_comparison
from pipeline.comparison.students import planned_students
from tests.comparisons import comparison_file


def test_they_share_all_that_is_the_same_and_nothing_else(tmp_path: Path) -> None:
    changes = {"variants": {"flip": {}, "sft": {"distill.objective": "sft"}, "untuned": {"teach.tune": False}}}
    students = planned_students(all_jobs(load_comparison(comparison_file(tmp_path, **changes)), None))
    assert [(s.dataset, s.variant, s.seed) for s in students] == [
        ("tiny", variant, seed) for seed in (1, 2) for variant in ("flip", "sft", "untuned")
    ]
    by_name = {(s.variant, s.seed): {step.stage: step.key for step in s.steps} for s in students}
    first = by_name["flip", 1]
    assert list(first) == ["prepare", "teach", "score", "filter", "distill", "measure"]
    for other, shared in (("sft", 4), ("untuned", 1)):
        same = [stage for stage, key in by_name[other, 1].items() if key == first[stage]]
        assert same == list(first)[:shared]
    assert [stage for stage, key in by_name["flip", 2].items() if key != first[stage]] == ["distill", "measure"]
    assert students[0].folder == students[0].store.path("measure", first["measure"])


def test_what_is_not_there_is_told_before_anything_is_computed(tmp_path: Path) -> None:
    path = comparison_file(tmp_path)
    (tmp_path / "pairs.csv").unlink()
    with pytest.raises(FlipkdError, match=r"pairs\.csv"):
        planned_students(all_jobs(load_comparison(path), None))
    assert not (tmp_path / "store" / "artifacts").exists()
