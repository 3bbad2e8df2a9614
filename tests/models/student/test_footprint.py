"""A student's size against torch's own count, its times as times."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.numpy import load_file

from models.student.footprint import footprint
from models.student.load import load_student
from tests.models.student.test_service import QUESTIONS, saved


def test_size_and_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = saved(tmp_path)
    student = load_student(folder)
    asked: list[object] = []
    match = student.match
    monkeypatch.setattr(student, "match", lambda pairs: asked.append(pairs) or match(pairs))
    found = footprint(student, QUESTIONS)
    weights = load_file(folder / "base/model.safetensors")
    tied = "lm_head.weight" not in weights
    assert found["parameters"] == sum(values.size for values in weights.values())
    assert tied == student.lm.config.tie_word_embeddings
    adapter = load_file(folder / "adapter_model.safetensors")
    assert found["adapter_parameters"] == sum(values.size for values in adapter.values())
    assert found["width"] == student.embed(["a"]).shape[1]
    assert (found["device"], found["dtype"]) == ("cpu", "float32")
    assert 0 < found["text_ms"] < 60_000
    assert 0 < found["pair_ms"] < 60_000
    lengths = sorted(len(a) + len(b) for a, b in QUESTIONS)
    ((a, b),) = asked[0]  # pyright: ignore
    assert len(asked) == 6
    assert len(a) + len(b) == lengths[len(lengths) // 2]
