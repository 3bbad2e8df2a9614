"""The catalogue ranked by the teacher for every query, against a search of scikit-learn's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pytest
from sklearn.neighbors import NearestNeighbors

from data.schema import CATALOGUE
from pipeline.stages.score import candidates
from pipeline.stages.score.candidates import write_candidates

ENTRIES, QUERIES, K = 40, 30, 5
IN_PAIRS = ENTRIES - 10
ROWS = [(query, (query * 7 + 3 * (1 - label)) % IN_PAIRS, label) for query in range(QUERIES) for label in (1, 0)]
SPLITS = ("train", "dev", "test")


def written(folder: Path, whole: bool = False, turned: bool = False) -> tuple[dict[str, Any], np.ndarray]:
    """Queries have the ids 0 to 29, entries those behind them, of which ten stand in no pair."""
    folder.mkdir(exist_ok=True)
    vectors = np.random.default_rng(0).normal(size=(QUERIES + ENTRIES, 8)).astype(np.float32)
    vectors[QUERIES + 4] = vectors[QUERIES + 3]  # equals
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    texts = [f"query {n}" for n in range(QUERIES)] + [f"entry {n}" for n in range(ENTRIES)]
    query, entry = ("text_b", "text_a") if turned else ("text_a", "text_b")
    pl.DataFrame(
        {
            "pair_id": [f"p{n}" for n in range(len(ROWS))],
            query: [texts[q] for q, _, _ in ROWS],
            entry: [texts[QUERIES + e] for _, e, _ in ROWS],
            "label": pl.Series([label for _, _, label in ROWS], dtype=pl.Int8),
            "split": [SPLITS[q % 3] for q, _, _ in ROWS],
            "group": pl.Series([None] * len(ROWS), dtype=pl.String),
            "source": "faq.csv",
            f"{query}_id": pl.Series([q for q, _, _ in ROWS], dtype=pl.Int64),
            f"{entry}_id": pl.Series([QUERIES + e for _, e, _ in ROWS], dtype=pl.Int64),
        }
    ).write_parquet(folder / "scores.parquet")
    ids = pl.DataFrame({"text_id": range(len(texts)), "text": texts}, schema_overrides={"text_id": pl.Int64})
    ids.write_parquet(folder / "embeddings.parquet")
    catalogue = pl.DataFrame(schema=pl.Schema(CATALOGUE))
    if whole:
        named = {"entry_id": [f"d{n}" for n in range(ENTRIES)], "text": texts[QUERIES:], "source": "set"}
        catalogue = pl.DataFrame(named)
    summary = write_candidates(folder, {"faq.csv": entry}, catalogue, vectors, K)
    json.dumps(summary)
    return summary, vectors


@pytest.mark.parametrize("block_numbers", [2**24, 100])
@pytest.mark.parametrize("whole", [False, True])
def test_the_first_entries_are_scikit_learns_nearest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: bool, block_numbers: int
) -> None:
    monkeypatch.setattr(candidates, "BLOCK_NUMBERS", block_numbers)
    summary, vectors = written(tmp_path, whole)
    count = ENTRIES if whole else IN_PAIRS
    assert (summary["queries"], summary["entries"], summary["k"]) == (QUERIES, count, K)
    rows = pl.read_parquet(tmp_path / "candidates.parquet")
    first = rows.filter(pl.col("rank") <= K)
    assert first.height == QUERIES * K
    nearest = NearestNeighbors(n_neighbors=K, metric="cosine").fit(vectors[QUERIES : QUERIES + count])
    distances, places = nearest.kneighbors(vectors[:QUERIES])
    for query in range(QUERIES):
        own = first.filter(query_id=query)
        assert own["rank"].to_list() == list(range(1, K + 1))
        np.testing.assert_allclose(own["teacher_score"], 1 - distances[query], atol=1e-5)
        assert sorted(own["entry_id"]) == sorted(places[query] + QUERIES) or {3, 4} & set(places[query])
        assert own["query"].unique().to_list() == [f"query {query}"]
        assert own["split"].unique().to_list() == [SPLITS[query % 3]]
        assert own["entry"].to_list() == [f"entry {n - QUERIES}" for n in own["entry_id"]]


def test_matches_behind_them_are_there_with_their_rank(tmp_path: Path) -> None:
    summary, vectors = written(tmp_path)
    rows = duckdb.read_parquet(str(tmp_path / "candidates.parquet"))
    matches = rows.filter("label = 1").select("query_id", "entry_id", "rank").fetchall()
    assert len(matches) == summary["matches"] == QUERIES
    entries = np.arange(QUERIES, QUERIES + IN_PAIRS)
    for query, entry, rank in matches:
        cosines = vectors[entries] @ vectors[query]
        order = np.lexsort((entries, -cosines))
        assert entries[order][rank - 1] == entry
    assert summary["matches_beyond"] == sum(rank > K for _, _, rank in matches) > 0
    beyond = rows.filter(f"rank > {K}").select("label").fetchall()
    assert {label for (label,) in beyond} == {1}


def test_labels_are_those_of_the_pairs(tmp_path: Path) -> None:
    written(tmp_path)
    scores = pl.read_parquet(tmp_path / "scores.parquet")
    known = {(q, e): label for q, e, label in scores.select("text_a_id", "text_b_id", "label").iter_rows()}
    rows = pl.read_parquet(tmp_path / "candidates.parquet")
    assert rows["label"].null_count() > 0
    for query, entry, label in rows.select("query_id", "entry_id", "label").iter_rows():
        assert label == known.get((query, entry))


def test_whichever_side_the_catalogue_is_on(tmp_path: Path) -> None:
    written(tmp_path / "one")
    written(tmp_path / "two", turned=True)
    one, two = (pl.read_parquet(tmp_path / name / "candidates.parquet") for name in ("one", "two"))
    assert one.equals(two)
