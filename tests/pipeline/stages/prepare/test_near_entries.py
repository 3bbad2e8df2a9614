"""Hard negatives of a retrieval set: near the query, below the best match, and judged by nobody."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from pipeline.stages.prepare.config import PrepareConfig
from pipeline.stages.prepare.run import prepare
from tests.pipeline.stages.prepare.test_run import encoder
from tests.tiny import tiny_retrieval


def built(folder: Path, seed: int = 1, name: str = "out", **options: Any) -> tuple[pl.DataFrame, Path]:
    source = folder / "faq"
    if not source.is_dir():
        tiny_retrieval(source, entries=60, queries=30)
    out = folder / name
    out.mkdir()
    settings = {"kind": "retrieval", "path": str(source)} | options.pop("input", {})
    config = PrepareConfig.model_validate({"inputs": [settings], "pairs": options.pop("pairs", {})} | options)
    prepare(config, out, seed, encoder, folder / "scratch")
    return pl.read_parquet(out / "pairs.parquet"), source


def cosines(first: Iterable[str], second: Iterable[str]) -> np.ndarray:
    return (encoder(list(first)) * encoder(list(second))).sum(1)


def test_they_are_near_below_the_best_match_and_not_judged(tmp_path: Path) -> None:
    pairs, _ = built(tmp_path, pairs={"random_share": 0}, input={"nearest": 5, "margin": 0.1})
    near = pairs.filter(pl.col("grade").is_null())
    # Two matches and one judged non-match a query: one is lacking.
    assert near["group"].value_counts()["count"].unique().to_list() == [1]
    assert near["label"].unique().to_list() == [0]
    judged = set(pairs.filter(pl.col("grade").is_not_null()).select("text_a", "text_b").iter_rows())
    assert not judged & set(near.select("text_a", "text_b").iter_rows())
    matches = pairs.filter(label=1)
    best = (
        matches.with_columns(cosine=pl.Series(cosines(matches["text_a"], matches["text_b"])))
        .group_by("text_a")
        .agg(pl.col("cosine").max())
    )
    found = near.with_columns(own=pl.Series(cosines(near["text_a"], near["text_b"]))).join(best, on="text_a")
    assert (found["own"] <= 0.9 * found["cosine"] + 1e-6).all()
    entries = pl.read_parquet(tmp_path / "out/catalogue.parquet")["text"]
    for row in found.iter_rows(named=True):
        others = cosines([row["text_a"]] * len(entries), entries.to_list())
        below = [
            value
            for value, text in zip(others, entries, strict=True)
            if value <= 0.9 * row["cosine"] + 1e-6 and (row["text_a"], text) not in judged
        ]
        assert row["own"] >= sorted(below)[-5] - 1e-6  # among the five nearest of those that may be


def test_as_many_as_are_asked_for_and_the_same_again(tmp_path: Path) -> None:
    pairs, _ = built(tmp_path, pairs={"negatives_per_positive": 3})
    counts = pairs.filter(label=0)["group"].value_counts()["count"]
    assert counts.unique().to_list() == [6]
    assert pairs["pair_id"].is_unique().all()
    again, _ = built(tmp_path, name="again", pairs={"negatives_per_positive": 3})
    assert again.equals(pairs)
    other, _ = built(tmp_path, seed=2, name="other", pairs={"negatives_per_positive": 3})
    assert not other.equals(pairs)


def test_none_are_added_where_enough_were_judged(tmp_path: Path) -> None:
    pairs, _ = built(tmp_path, pairs={"negatives_per_positive": 0.5})
    assert pairs["grade"].null_count() == 0


def test_too_few_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    built(tmp_path, pairs={"negatives_per_positive": 3, "random_share": 0}, input={"nearest": 2})
    assert "60 of 150 hard negatives were found" in caplog.text


def test_train_sees_no_entry_that_is_held_out(tmp_path: Path) -> None:
    source = tmp_path / "faq"
    tiny_retrieval(source, entries=60, queries=60, splits=("train",))
    pairs, _ = built(tmp_path, pairs={"negatives_per_positive": 3}, splitting={"entries": "held_out"})
    rejects = pl.read_parquet(tmp_path / "out/rejects.parquet").filter(reason="held_out_entry")
    held_out = {json.loads(raw)["corpus-id"] for raw in rejects["raw"]}
    catalogue = pl.read_parquet(tmp_path / "out/catalogue.parquet")
    texts = set(catalogue.filter(pl.col("entry_id").is_in(held_out))["text"])
    assert len(texts) > 5
    assert not texts & set(pairs.filter(split="train")["text_b"])
    assert texts & set(pairs.filter(pl.col("grade").is_null(), split="test")["text_b"])
