"""Near texts, against all cosines at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipeline.inspection import near
from pipeline.inspection.near import near_texts


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, np.ndarray]:
    draw = np.random.default_rng(0)
    vectors = draw.normal(size=(60, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[41] = vectors[7]
    pl.DataFrame(
        {"text_id": range(60), "text": [f"text {n}" for n in range(60)], "embedding": vectors},
        schema_overrides={"embedding": pl.Array(pl.Float32, 8)},
    ).write_parquet(tmp_path / "embeddings.parquet")
    split = ["train"] * 15 + ["dev"] * 8 + ["test"] * 7
    pl.DataFrame({"text_a_id": range(0, 60, 2), "text_b_id": range(1, 60, 2), "split": split}).write_parquet(
        tmp_path / "scores.parquet"
    )
    return tmp_path / "scores.parquet", tmp_path / "embeddings.parquet", vectors


@pytest.mark.parametrize("across", [False, True])
def test_against_all_cosines(
    files: tuple[Path, Path, np.ndarray], across: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(near, "BLOCK_NUMBERS", 400)  # several blocks
    scores, embeddings, vectors = files
    found = near_texts(scores, embeddings, 0.6, 1000, across)
    split = np.repeat([0, 1, 2], [30, 16, 14])
    cosines = vectors @ vectors.T
    expected = {
        (f"text {a}", f"text {b}")
        for a in range(60)
        for b in range(a + 1, 60)
        if cosines[a, b] >= 0.6 and (not across or split[a] != split[b])
    }
    assert set(found.select("text_1", "text_2").rows()) == expected
    assert found["cosine"].to_list() == sorted(found["cosine"], reverse=True)
    assert found.row(0)[1:] == ("text 7", "text 41", "train", "dev")
    assert near_texts(scores, embeddings, 0.6, 5, across).equals(found.head(5))
