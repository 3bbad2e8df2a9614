"""The work of the stage `tally`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from pipeline.contract.stage import Context
from tests.flows.tally.config import TallyConfig


def run(config: TallyConfig, inputs: Mapping[str, Path], out: Path, context: Context) -> dict[str, Any]:
    """Write `words.parquet`: `word` and `count`, the most frequent first."""
    kept = pl.scan_parquet(inputs["filter"] / "filtered.parquet").filter("kept")
    words = kept.select(word=pl.concat_list("text_a", "text_b").explode().str.split(" ")).explode("word")
    counts = (
        words.filter(pl.col("word").str.len_chars() >= config.shortest)
        .group_by("word")
        .agg(count=pl.len())
        .sort("count", "word", descending=[True, False])
        .collect()
    )
    counts.write_parquet(out / "words.parquet")
    return {"words": counts.height}
