"""What the stage asks of a config."""

from __future__ import annotations

import pytest

from data.errors import FlipkdError
from pipeline.stages.retrieve.stage import STAGE
from tests.tiny import tiny_config


def test_a_config_of_pairs_is_refused(tmp_path) -> None:
    with pytest.raises(FlipkdError, match="kind: utterances"):
        STAGE.check_first(tiny_config(tmp_path))
