"""What the section `distill` refuses."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.stages.distill.config import DistillConfig


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"weights": {"ce": 0, "mcl": 0, "dist": 0}}, "at least one weight must be above 0"),
        ({"prompt": {"template": "{a} {b} {b}"}}, r"once each, \{a\} first"),
        ({"prompt": {"template": "{b} {a}"}}, r"once each, \{a\} first"),
        ({"prompt": {"turned": "Text 1: {a} {b}"}}, r"turned must hold \{b\} and \{a\} once each"),
        ({"prompt": {"turned": "Entry: {b}\nText 2: {a}"}}, "turned must begin as template does"),
        ({"prompt": {"turned": "Text 1: {b} {a}", "orders": "one"}}, "leave one of them out"),
        ({"objective": "infonce", "weights": {"mcl": 0}}, "objective infonce is weighed by weights.mcl"),
    ],
)
def test_settings_that_contradict_each_other(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        DistillConfig.model_validate(changes)


@pytest.mark.parametrize("objective", ["flip", "sft", "zero_shot"])
def test_without_its_weight_a_contrastive_term_is_missed_by_baselines_alone(objective: str) -> None:
    DistillConfig.model_validate({"objective": objective, "weights": {"mcl": 0}})
