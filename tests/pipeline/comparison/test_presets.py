"""The variants that ship with flipkd."""

from __future__ import annotations

from pathlib import Path

from pipeline.comparison.config import CompareConfig, all_jobs, load_comparison
from tests.comparisons import comparison_file


def everything(config: CompareConfig) -> None:
    all_jobs(config, None)


def test_presets_are_configs(tmp_path: Path) -> None:
    from pipeline.comparison.presets import PRESETS

    for preset in PRESETS:
        config = load_comparison(comparison_file(tmp_path, preset=preset, variants={}))
        assert set(config.chosen) == set(PRESETS[preset])
        everything(config)
