"""A student from a config."""

from __future__ import annotations

from pathlib import Path

import pytest

from data.errors import FlipkdError
from models.student.student import load_base
from pipeline.stages.distill.build import build
from pipeline.stages.distill.config import DistillConfig


def test_a_module_that_the_model_has_not_is_named(base: Path) -> None:
    config = DistillConfig.model_validate({"model": str(base), "sites": {"modules": ["qq_proj"]}})
    with pytest.raises(FlipkdError, match=r"^distill: no linear layer is called qq_proj"):
        build(*load_base(base), config)
