"""The section `score`: what it refuses."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from pipeline.stages.score.config import ScoreConfig


@pytest.mark.parametrize("weight", [0, 1.1, -1])
def test_a_weight_that_is_none(weight: float) -> None:
    with pytest.raises(ValidationError, match="weight"):
        ScoreConfig.model_validate({"cross_encoder": {"model": "m", "weight": weight}})
