"""What the filter found of the flipped labels, against duckdb's count."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pytest

from pipeline.stages.prepare.noise_report import noise_found


def _files(folder: Path, rows: list[tuple[str, str, int | None, bool]], flipped: list[str]) -> tuple[Path, Path]:
    """`label_noise.parquet` and `filtered.parquet` of (pair_id, split, label, kept)."""
    noise, filtered = folder / "label_noise.parquet", folder / "filtered.parquet"
    pl.DataFrame(
        {"pair_id": flipped, "label": [0] * len(flipped)}, schema={"pair_id": pl.String, "label": pl.Int8}
    ).write_parquet(noise)
    schema = {"pair_id": pl.String, "split": pl.String, "label": pl.Int8, "kept": pl.Boolean}
    pl.DataFrame(rows, schema=schema, orient="row").write_parquet(filtered)
    return noise, filtered


def test_by_hand(tmp_path: Path) -> None:
    rows = [
        ("a", "train", 1, False),  # flipped and found
        ("b", "train", 0, True),  # flipped and missed
        ("c", "train", 0, False),  # right and removed
        ("d", "train", 0, True),
        ("e", "train", None, False),  # no label to flip
        ("f", "dev", 1, False),
    ]
    assert noise_found(*_files(tmp_path, rows, ["a", "b"])) == {
        "labelled": 4,
        "flipped": 2,
        "removed": 2,
        "found": 1,
        "recall": 0.5,
        "precision": 0.5,
        "flipped_share": 0.5,
        "removed_share": 0.5,
    }


def test_against_duckdb(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    rows: list[tuple[str, str, int | None, bool]] = [
        (f"p{n}", str(draw.choice(["train", "dev", "test"])), int(draw.integers(2)), bool(draw.random() < 0.8))
        for n in range(500)
    ]
    train = [pair_id for pair_id, split, _, _ in rows if split == "train"]
    noise, filtered = _files(tmp_path, rows, list(draw.choice(train, 40, replace=False)))
    query = """
        SELECT avg(CASE WHEN kept THEN 0 ELSE 1 END) FILTER (n.pair_id IS NOT NULL),
               avg(CASE WHEN n.pair_id IS NULL THEN 0 ELSE 1 END) FILTER (NOT kept)
        FROM read_parquet($2) f LEFT JOIN read_parquet($1) n USING (pair_id) WHERE split = 'train'
    """
    expected = duckdb.connect().execute(query, [str(noise), str(filtered)]).fetchone()
    found = noise_found(str(noise), str(filtered))
    assert (found["recall"], found["precision"]) == pytest.approx(expected)
    assert found["flipped"] == 40


def test_nothing_removed_or_flipped(tmp_path: Path) -> None:
    found = noise_found(*_files(tmp_path, [("a", "train", 1, True)], []))
    assert (found["recall"], found["precision"], found["flipped_share"]) == (None, None, 0.0)
    (tmp_path / "none").mkdir()
    assert noise_found(*_files(tmp_path / "none", [], []))["flipped_share"] is None
