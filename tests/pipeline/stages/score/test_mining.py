"""Pairs that the teacher makes of texts, against a search of scikit-learn's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.neighbors import NearestNeighbors

from data.texts import pair_id
from pipeline.stages.score import candidates
from pipeline.stages.score.config import Mining
from pipeline.stages.score.mining import add_mined
from tests.teacher_half import word_pairs, write_pairs


def mined(folder: Path, more: list[str], sides: dict[str, str] | None = None, **settings: Any) -> tuple[Any, ...]:
    """The rows given, the rows written, all texts and their vectors."""
    pairs = write_pairs(folder / "prepare", word_pairs(60)) / "pairs.parquet"
    given = pl.read_parquet(pairs)
    texts = list(dict.fromkeys([*given["text_a"], *given["text_b"], *more]))
    vectors = np.random.default_rng(0).normal(size=(len(texts), 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    out = folder / "pairs.parquet"
    count = add_mined(pairs, out, texts, vectors, more, sides or {}, Mining.model_validate(settings))
    rows = pl.read_parquet(out)
    assert rows[: given.height].equals(given)
    assert rows.height == given.height + count
    return given, rows[given.height :], texts, vectors


@pytest.mark.parametrize("numbers", [2**24, 300])
def test_nearest_texts_of_train_that_are_no_pair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, numbers: int
) -> None:
    monkeypatch.setattr(candidates, "BLOCK_NUMBERS", numbers)
    more = [f"a raw question {n}" for n in range(20)]
    given, rows, texts, vectors = mined(tmp_path, more, nearest=2, middling=0)
    train = given.filter(split="train")
    may = list(dict.fromkeys([*train["text_a"], *train["text_b"], *more]))
    places = [texts.index(text) for text in may]
    search = NearestNeighbors(n_neighbors=10, metric="cosine").fit(vectors[places])
    _, near = search.kneighbors(vectors[places])
    known = set(given["pair_id"])
    expected: dict[str, None] = {}
    for text, row in zip(may, near, strict=True):
        ids = [pair_id(text, may[n]) for n in row if may[n] != text]
        expected |= dict.fromkeys([one for one in ids if one not in known and one not in expected][:2])
    assert rows["pair_id"].to_list() == list(expected)
    assert rows["label"].null_count() == rows.height
    assert rows["split"].unique().to_list() == ["train"]
    assert rows["source"].unique().to_list() == ["mined"]
    assert set(rows["text_a"]) | set(rows["text_b"]) <= set(may)
    assert set(more) <= set(rows["text_a"]) | set(rows["text_b"])
    for row in rows.iter_rows(named=True):
        assert row["pair_id"] == pair_id(row["text_a"], row["text_b"])


def test_middling_texts_lie_behind_the_nearest_and_are_the_same_again(tmp_path: Path) -> None:
    _, rows, texts, vectors = mined(tmp_path / "one", [], nearest=1, middling=2, among=20)
    _, again, _, _ = mined(tmp_path / "two", [], nearest=1, middling=2, among=20)
    assert rows.equals(again)
    place = {text: n for n, text in enumerate(texts)}
    a, b = ([place[text] for text in rows[side]] for side in ("text_a", "text_b"))
    cosines = (vectors[a] * vectors[b]).sum(1).reshape(-1, 3)
    assert (cosines[:, 0] >= cosines[:, 1:].max(1)).all()
    assert (cosines[:, 0] - cosines[:, 1:].min(1)).max() > 0.1


def test_with_a_catalogue_queries_are_put_beside_entries(tmp_path: Path) -> None:
    more = ["a raw question"]
    given, rows, _, _ = mined(tmp_path, more, {"made": "text_b"}, nearest=1, middling=0)
    train = given.filter(split="train")
    assert set(rows["text_b"]) <= set(train["text_b"])
    assert set(rows["text_a"]) <= {*train["text_a"], *more}
    assert "a raw question" in set(rows["text_a"])
    assert rows.height == len({*train["text_a"], *more})


def test_more_than_there_are_is_an_error() -> None:
    with pytest.raises(ValueError, match="nearest \\+ middling must not pass among"):
        Mining(nearest=30, middling=30)
    assert Mining.model_validate(3) == Mining(nearest=3)
