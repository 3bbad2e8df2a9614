"""The filter in one line."""

from __future__ import annotations

from pipeline.stages.filter.stage import STAGE


def test_the_sentence_says_what_stays_and_whether_the_bounds_count() -> None:
    summary = {
        "enabled": True, "train_kept": {"positive": 3, "negative": 4}, "bounds": {"tau_pos": {"bound": 0.12345}},
    }  # fmt: skip
    assert STAGE.sentence(summary) == "train keeps 3 positive, 4 negative; tau_pos 0.123"
    assert STAGE.sentence(summary | {"enabled": False}).endswith("bounds not applied")
