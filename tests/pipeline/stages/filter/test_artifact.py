from __future__ import annotations

from pathlib import Path

import polars as pl

from data.schema import read_metadata
from pipeline.stages.filter.artifact import bounds_in_force, pair_bounds
from pipeline.store.manifest import read_manifest


def test_the_bounds_are_those_that_the_rows_were_kept_by(tiny_run: Path) -> None:
    (folder,) = (path.parent for path in (tiny_run / "store/artifacts/filter").glob("*/manifest.json"))
    low, high = pair_bounds(folder)
    assert bounds_in_force(read_manifest(folder)) == {"tau_pos": low, "tau_neg": high}
    recorded = read_metadata(folder / "filtered.parquet")["bounds"]
    assert isinstance(recorded, dict)
    assert {name: bound["bound"] for name, bound in recorded.items()} == {"tau_pos": low, "tau_neg": high}
    rows = pl.read_parquet(folder / "filtered.parquet").filter(pl.col("label").is_not_null())
    kept = [
        (t >= low) if label else (t <= high) for t, label in zip(rows["teacher_score"], rows["label"], strict=True)
    ]
    assert rows["kept"].to_list() == kept
    assert not all(kept)
