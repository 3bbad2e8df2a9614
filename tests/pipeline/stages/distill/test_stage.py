"""How the stage declares itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from data.errors import FlipkdError
from models.loading.names import find_model
from pipeline.stages.distill.stage import STAGE
from pipeline.store.store import Store
from tests.tiny import tiny_config


def test_the_base_model_enters_by_its_content(base: Path, tmp_path: Path) -> None:
    config = tiny_config(tmp_path, distill={"model": str(base)})
    assert STAGE.raw_inputs(config, False) == {"model": find_model(str(base)).identity}
    assert STAGE.settings(config) is config.distill


def test_its_check_is_the_students(base: Path, tmp_path: Path) -> None:
    config = tiny_config(tmp_path, distill={"model": str(base), "lora": {"modules": ["nothing"]}})
    with pytest.raises(FlipkdError, match=r"distill\.lora\.modules"):
        STAGE.check(config, Store(tmp_path))


def test_a_summary_in_one_line() -> None:
    summary = {"objective": "flip", "steps": 60, "best_step": 40}
    summary |= {"dev_decoder_auroc": 0.91239, "dev_encoder_auroc": 0.8}
    assert STAGE.sentence(summary) == "flip, best of 60 steps: 40; dev AUROC decoder 0.912, encoder 0.800"
