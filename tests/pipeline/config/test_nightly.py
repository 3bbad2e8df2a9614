"""The config's sections about nights: what they refuse."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from pipeline.config.nightly import DriftConfig, Limit, PromoteConfig


def test_a_number_is_where_it_warns_and_a_word_is_the_mode() -> None:
    assert DriftConfig.model_validate({"label_rate": 0.3}).label_rate == Limit(warn=0.3)
    assert PromoteConfig.model_validate("auto").mode == "auto"


def test_a_stop_below_the_warning_is_refused() -> None:
    with pytest.raises(ValidationError, match="stop must not lie below warn"):
        Limit(warn=0.4, stop=0.3)
    assert Limit(warn=None, stop=0.3).stop == 0.3
