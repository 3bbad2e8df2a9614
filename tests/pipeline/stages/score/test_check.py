"""A cross-encoder that will not do is named before any work, with the key of the config."""

from __future__ import annotations

from pathlib import Path

import pytest

from data.errors import FlipkdError
from pipeline.stages.score.check import check_pair_scorer
from pipeline.stages.score.config import CrossEncoderSettings
from tests.tiny import tiny_cross_encoder, tiny_teacher


def _check(model: Path) -> None:
    check_pair_scorer(CrossEncoderSettings(model=str(model)))


def test_a_cross_encoder_is_let_through(tmp_path: Path) -> None:
    _check(tiny_cross_encoder(tmp_path / "model"))


def test_a_language_models_file_is_none(tmp_path: Path) -> None:
    (tmp_path / "llm.gguf").write_bytes(b"GGUF")
    with pytest.raises(FlipkdError, match=r"score\.cross_encoder\.model: .*is a GGUF file, so a language model"):
        _check(tmp_path / "llm.gguf")


def test_a_bi_encoder_is_none(tmp_path: Path) -> None:
    with pytest.raises(FlipkdError, match=r"^score\.cross_encoder\.model: "):
        _check(tiny_teacher(tmp_path / "model"))


def test_a_damaged_one_is_none(tmp_path: Path) -> None:
    model = tiny_cross_encoder(tmp_path / "model")
    weights = (model / "model.safetensors").read_bytes()
    (model / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(FlipkdError, match=r"^score\.cross_encoder\.model: .*model\.safetensors"):
        _check(model)
