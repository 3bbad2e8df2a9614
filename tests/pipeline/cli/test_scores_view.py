"""Looking into scores, on tables made here."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from rich.console import Console

from pipeline.cli.scores_view import describe_scores, rows_table, select_rows


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    draw = np.random.default_rng(0)
    rows = 300
    label = draw.integers(0, 2, rows)
    score = draw.uniform(-1, 1, rows).astype(np.float32)
    kept = np.where(label == 1, score >= 0.1, score <= 0.2)
    path = tmp_path / "filtered.parquet"
    pl.DataFrame(
        {
            "pair_id": [f"p{n:03}" for n in range(rows)],
            "text_a": ["信用卡丢了怎么办？" * 8] * rows,
            "text_b": ["a very long English text " * 8] * rows,
            "label": label.astype(np.int8),
            "split": draw.choice(["test", "train", "dev"], rows),
            "teacher_score": score,
            "kept": kept,
            "reason": np.where(kept, "kept", "dropped"),
        }
    ).with_columns(label=pl.when(pl.int_range(pl.len()) < 30).then(None).otherwise("label")).write_parquet(path)
    return path


def test_description_against_numpy(scores: Path) -> None:
    table = pl.read_parquet(scores)
    found = describe_scores(scores)
    assert found["pairs"].sum() == table.height
    groups = found.select("split", "label").rows()
    assert groups == [(split, label) for split in ("train", "dev", "test") for label in (0, 1, None)]
    for row in found.iter_rows(named=True):
        group = table.filter((pl.col("split") == row["split"]) & pl.col("label").eq_missing(row["label"]))
        numbers = group["teacher_score"].to_numpy()
        for name, share in (("min", 0), ("5 %", 0.05), ("median", 0.5), ("95 %", 0.95), ("max", 1)):
            assert row[name] == pytest.approx(np.quantile(numbers, share), abs=1e-6)
        assert row["kept"] == int(group["kept"].to_numpy().sum())
        assert row["beyond"] == pytest.approx(1 - group["kept"].to_numpy().mean())


def test_rows_are_sorted_and_cut(scores: Path) -> None:
    table = pl.read_parquet(scores)
    found = select_rows(scores, None, "-teacher_score", 5)
    assert found["teacher_score"].to_list() == sorted(table["teacher_score"].to_list(), reverse=True)[:5]
    nulls_last = select_rows(scores, None, "label", None)["label"].to_list()
    assert nulls_last[-30:] == [None] * 30


def test_a_comment_in_the_condition_does_no_harm(scores: Path) -> None:
    assert select_rows(scores, "label = 1 -- only matches", None, 3).height == 3


@pytest.mark.parametrize("width", [80, 120])
def test_long_and_chinese_texts_wrap(scores: Path, width: int) -> None:
    out = io.StringIO()
    Console(file=out, width=width).print(rows_table(select_rows(scores, None, None, 2)))
    from rich.cells import cell_len

    lines = out.getvalue().splitlines()
    assert max(map(cell_len, lines)) <= width
    assert out.getvalue().count("？") == 2 * 8  # nothing is cut off
    assert "…" not in out.getvalue()
