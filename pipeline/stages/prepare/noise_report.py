"""How many of the labels that were flipped on purpose (`prepare.label_noise`) the filter found."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

import polars as pl


class NoiseFound(TypedDict):
    """What the filter did among the labelled training pairs. Shares are from 0 to 1, None of nothing.

    Keys:
        labelled, flipped, removed, found: pairs; `found` are those both flipped and removed.
        recall: found / flipped.
        precision: found / removed.
        flipped_share: flipped / labelled, which is the precision of a filter that removes at random.
        removed_share: removed / labelled, which is its recall.
    """

    labelled: int
    flipped: int
    removed: int
    found: int
    recall: float | None
    precision: float | None
    flipped_share: float | None
    removed_share: float | None


def noise_found(noise: Path | str, filtered: Path | str) -> NoiseFound:
    """How many flipped labels a filter removed, and how many of the pairs that it removed were flipped.

    Args:
        noise: `label_noise.parquet`, from `prepare`.
        filtered: `filtered.parquet` of `filter`, from those pairs.
    """
    flipped = pl.scan_parquet(noise).select("pair_id", flipped=pl.lit(True))
    rows = pl.scan_parquet(filtered).filter((pl.col("split") == "train") & pl.col("label").is_not_null())
    was_flipped, removed = pl.col("flipped").fill_null(False), ~pl.col("kept")
    labelled, wrong, dropped, found = (
        rows.join(flipped, on="pair_id", how="left")
        .select(
            labelled=pl.len(),
            flipped=was_flipped.sum(),
            removed=removed.sum(),
            found=(was_flipped & removed).sum(),
        )
        .collect()
        .row(0)
    )
    return {
        "labelled": labelled,
        "flipped": wrong,
        "removed": dropped,
        "found": found,
        "recall": _share(found, wrong),
        "precision": _share(found, dropped),
        "flipped_share": _share(wrong, labelled),
        "removed_share": _share(dropped, labelled),
    }


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
