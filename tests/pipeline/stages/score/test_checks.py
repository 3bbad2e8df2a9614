from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from data.errors import FlipkdError
from data.schema import SCORES, write_table
from pipeline.stages.score.checks import check_embeddings, check_files, check_scores


def _unit(count: int, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, 8))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def _texts(count: int) -> list[str]:
    return [f"text {n}" for n in range(count)]


def test_mean_cosine_is_that_of_all_pairs() -> None:
    vectors = _unit(40)
    expected = np.mean([float(a @ b) for a, b in itertools.combinations(vectors.astype(np.float64), 2)])
    assert check_embeddings(vectors, _texts(40)) == pytest.approx(expected, abs=1e-6)
    assert check_embeddings(vectors[:1], _texts(1)) is None


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_vectors_that_are_not_numbers_name_the_text(value: float) -> None:
    vectors = _unit(20_000)  # past the first block
    vectors[17_000, 3] = value
    with pytest.raises(FlipkdError, match=r"NaN or infinity for the text 'text 17000' \(text_id 17000\)"):
        check_embeddings(vectors, _texts(20_000))


def test_a_zero_vector_is_caught() -> None:
    vectors = _unit(5)
    vectors[2] = 0
    with pytest.raises(FlipkdError, match=r"a vector of length 0 for the text 'text 2'"):
        check_embeddings(vectors, _texts(5))


def test_constant_vectors_are_caught() -> None:
    with pytest.raises(FlipkdError, match="one and the same vector for all 9 texts"):
        check_embeddings(np.repeat(_unit(1), 9, axis=0), _texts(9))


def test_a_collapsed_space_is_caught() -> None:
    vectors = np.repeat(_unit(1), 50, axis=0) + 0.005 * _unit(50, 1)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    with pytest.raises(FlipkdError, match="collapsed"):
        check_embeddings(vectors.astype(np.float32), _texts(50))


def test_scores_that_do_not_vary_are_caught() -> None:
    check_scores(np.array([0.1, 0.2], dtype=np.float32))
    check_scores(np.array([0.1], dtype=np.float32))
    with pytest.raises(FlipkdError, match="all 100 pairs"):
        check_scores(np.full(100, 0.7, dtype=np.float32) + np.linspace(0, 1e-5, 100, dtype=np.float32))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.head(3), "3 scores for the 4 pairs"),
        (lambda rows: rows.reverse(), "4 of the rows written differ"),
        (lambda rows: rows.with_columns(text_a_id=pl.lit(1)), "3 ids lead to another text"),
        (lambda rows: rows.with_columns(text_b_id=pl.lit(99)), "4 ids lead to another text"),
    ],
)
def test_files_that_do_not_agree_are_caught(tmp_path: Path, change: Any, message: str) -> None:
    scores = pl.DataFrame(
        {
            "pair_id": list("abcd"),
            "text_a": [f"a{n}" for n in range(4)],
            "text_b": [f"b{n}" for n in range(4)],
            "label": [0, 1, 0, 1],
            "split": ["train"] * 4,
            "group": [None] * 4,
            "source": ["s"] * 4,
            "source_row": [1, 2, 3, 4],
            "teacher_score": [0.1, 0.2, 0.3, 0.4],
            "text_a_id": [0, 1, 2, 3],
            "text_b_id": [4, 5, 6, 7],
        }
    )
    texts = [f"a{n}" for n in range(4)] + [f"b{n}" for n in range(4)]
    scores.write_parquet(tmp_path / "pairs.parquet")
    pl.DataFrame({"text_id": range(8), "text": texts}).write_parquet(tmp_path / "embeddings.parquet")
    paths = [tmp_path / f"{name}.parquet" for name in ("pairs", "scores", "embeddings")]
    write_table(scores.to_arrow(), paths[1], SCORES)
    check_files(*paths)
    write_table(change(scores).to_arrow(), paths[1], SCORES)
    with pytest.raises(FlipkdError, match=message):
        check_files(*paths)
    write_table(scores.to_arrow(), paths[1], SCORES)
    pl.DataFrame({"text_id": [0, *range(7)], "text": texts}).write_parquet(paths[2])
    with pytest.raises(FlipkdError, match="is not 0 to 7, each once"):
        check_files(*paths)
