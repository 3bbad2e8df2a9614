from __future__ import annotations

import logging

import datasets
import pytest
from transformers.utils import logging as transformers_logging

from models.runtime.quiet import quiet


def _state() -> tuple[int, bool, bool, int]:
    return (
        transformers_logging.get_verbosity(),
        transformers_logging.is_progress_bar_enabled(),
        datasets.are_progress_bars_disabled(),
        logging.getLogger("sentence_transformers").level,
    )


def _fail_quietly() -> None:
    with quiet():
        assert not transformers_logging.is_progress_bar_enabled()
        assert datasets.are_progress_bars_disabled()
        raise ValueError("inside")


def test_quiet_puts_everything_back_even_after_an_error() -> None:
    before = _state()
    with pytest.raises(ValueError, match="inside"):
        _fail_quietly()
    assert _state() == before
