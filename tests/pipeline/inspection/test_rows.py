"""Looking into scores, on tables made here."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from rich.console import Console

from data.errors import FlipkdError
from pipeline.inspection.describe import describe_scores
from pipeline.inspection.rows import rows_table, select_rows, shown_rows, write_rows
from tests.terminal import shown


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
    found = describe_scores(pl.scan_parquet(scores))
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
    found, there = select_rows(pl.scan_parquet(scores), None, "-teacher_score", 5)
    assert there == table.height
    assert found["teacher_score"].to_list() == sorted(table["teacher_score"].to_list(), reverse=True)[:5]
    nulls_last = select_rows(pl.scan_parquet(scores), None, "label", None)[0]["label"].to_list()
    assert nulls_last[-30:] == [None] * 30


def test_a_comment_in_the_condition_does_no_harm(scores: Path) -> None:
    assert select_rows(pl.scan_parquet(scores), "label = 1 -- only matches", None, 3)[0].height == 3


@pytest.mark.parametrize("width", [80, 120])
def test_long_and_chinese_texts_wrap(scores: Path, width: int) -> None:
    out = io.StringIO()
    Console(file=out, width=width).print(rows_table(select_rows(pl.scan_parquet(scores), None, None, 2)[0]))
    from rich.cells import cell_len

    lines = out.getvalue().splitlines()
    assert max(map(cell_len, lines)) <= width
    assert out.getvalue().count("？") == 2 * 8  # nothing is cut off
    assert "…" not in out.getvalue()


def test_a_word_and_a_sample(scores: Path) -> None:
    rows = pl.scan_parquet(scores).with_columns(
        text_b=pl.when(pl.int_range(pl.len()) % 10 == 0).then(pl.lit("Freeze my Card")).otherwise("text_b")
    )
    found, there = select_rows(rows, None, None, 5, search="freeze MY")
    assert (found.height, there) == (5, 30)
    some, there = select_rows(rows, "label = 1", None, None, sample=12)
    assert (some.height, there) == (12, 12)
    assert some["label"].to_list() == [1] * 12
    assert some.equals(select_rows(rows, "label = 1", None, None, sample=12)[0])
    assert select_rows(rows, None, None, None, search="(")[1] == 0  # a word, not a pattern


def test_a_condition_that_does_not_fit(scores: Path) -> None:
    rows = pl.scan_parquet(scores).with_columns(group=pl.lit("a"))
    told = {
        "group = 'a'": 'write "group" with double quotes',
        "nix = 1": "the columns are pair_id",
        "label = ": "It is SQL as Polars reads it",
    }
    for where, said in told.items():
        with pytest.raises(FlipkdError) as caught:
            select_rows(rows, where, None, None)
        assert said in str(caught.value)
    assert select_rows(rows, "\"group\" = 'a'", None, None)[1] == 300


def test_narrow_terminals_get_blocks(scores: Path) -> None:
    found, _ = select_rows(pl.scan_parquet(scores), None, None, 2)
    text = shown(shown_rows(found, 80), 80)
    lines = text.splitlines()
    assert [line[0] for line in lines if line.endswith("──")] == ["1", "2"]
    assert "".join(text.split()).count("信用卡丢了怎么办？" * 8) == 2
    assert max(map(len, lines)) <= 80
    assert "teacher_score" in text
    assert "┏" in shown(shown_rows(found, 140), 140)


@pytest.mark.parametrize("name", ["rows.csv", "rows.parquet", "rows.jsonl"])
def test_files_open_in_other_readers(scores: Path, tmp_path: Path, name: str) -> None:
    found, _ = select_rows(pl.scan_parquet(scores), "kept", None, 7)
    write_rows(found, tmp_path / name)
    read = {"rows.csv": pd.read_csv, "rows.parquet": pd.read_parquet}.get(
        name, lambda p: pd.read_json(p, lines=True)
    )
    assert read(tmp_path / name)["pair_id"].tolist() == found["pair_id"].to_list()
    with pytest.raises(FlipkdError, match=r"must end in .csv"):
        write_rows(found, tmp_path / "rows.xlsx")
