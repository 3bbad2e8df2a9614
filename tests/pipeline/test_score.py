from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from sklearn.metrics import roc_auc_score

from data.errors import FlipkdError
from data.schema import SCORES, embeddings_schema, read_metadata
from pipeline.config import ScoreConfig
from pipeline.score import distinct_texts, run
from tests.teacher_half import context, untuned, word_pairs, write_pairs
from tests.tiny import tiny_teacher

EXTRA = [
    {"text_a": "my card", "text_b": "my card ", "label": 1, "split": "train"},  # another string: another text
    {"text_a": "my card ", "text_b": "My card", "label": None, "split": "test"},
    {"text_a": "卡丢了怎么办", "text_b": "my card", "label": None, "split": "train"},
]


def _score(folder: Path, pairs: Path, teach: Path, **settings: Any) -> dict[str, Any]:
    (folder / "out").mkdir(parents=True)
    summary = run(
        ScoreConfig.model_validate(settings), {"prepare": pairs, "teach": teach}, folder / "out", context(folder)
    )
    json.dumps(summary)
    return summary


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("score")
    pairs = write_pairs(folder / "prepare", [*word_pairs(120), *EXTRA])
    teach = untuned(tiny_teacher(folder / "model"), pairs, folder)
    return folder, _score(folder / "one", pairs, teach, shard_texts=50, batch_size=16)


def test_scores_are_the_teachers_cosines(scored: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = scored
    teacher = SentenceTransformer(str(folder / "model"))
    rows = pd.read_parquet(folder / "one" / "out" / "scores.parquet")
    a, b = (teacher.encode(list(rows[side])).astype(np.float64) for side in ("text_a", "text_b"))
    expected = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    np.testing.assert_allclose(rows["teacher_score"], expected, atol=1e-5)
    assert rows["teacher_score"].dtype == np.float32
    pairs = pd.read_parquet(folder / "prepare" / "pairs.parquet")
    pd.testing.assert_frame_equal(rows.drop(columns=["teacher_score", "text_a_id", "text_b_id"]), pairs)


def test_duckdb_finds_the_score_again_in_the_embeddings(scored: tuple[Path, dict[str, Any]]) -> None:
    out = scored[0] / "one" / "out"
    query = """
        SELECT s.teacher_score, list_dot_product(a.embedding, b.embedding) AS dot,
               a.text = s.text_a AND b.text = s.text_b AS same
        FROM read_parquet($scores) s
        JOIN read_parquet($embeddings) a ON a.text_id = s.text_a_id
        JOIN read_parquet($embeddings) b ON b.text_id = s.text_b_id
    """
    paths = {name: str(out / f"{name}.parquet") for name in ("scores", "embeddings")}
    rows = duckdb.connect().execute(query, paths).df()
    assert len(rows) == 123
    assert rows["same"].to_list() == [True] * 123
    np.testing.assert_allclose(rows["teacher_score"], rows["dot"], atol=1e-6)


def test_each_text_once_in_order_of_first_appearance(scored: tuple[Path, dict[str, Any]]) -> None:
    folder, summary = scored
    pairs = pd.read_parquet(folder / "prepare" / "pairs.parquet")
    expected = list(dict.fromkeys(pairs[["text_a", "text_b"]].to_numpy().ravel()))
    embeddings = pl.read_parquet(folder / "one" / "out" / "embeddings.parquet")
    assert embeddings["text"].to_list() == expected == distinct_texts(folder / "prepare" / "pairs.parquet")
    assert embeddings["text_id"].to_list() == list(range(len(expected)))
    assert summary["texts"] == len(expected)
    assert {"my card", "my card ", "My card"} <= set(expected)


def test_schema_and_metadata(scored: tuple[Path, dict[str, Any]]) -> None:
    out = scored[0] / "one" / "out"
    assert pq.read_schema(out / "scores.parquet").equals(SCORES)
    assert pq.read_schema(out / "embeddings.parquet").equals(embeddings_schema(32))
    assert pq.read_metadata(out / "scores.parquet").row_group(0).column(0).compression == "ZSTD"
    for name in ("scores", "embeddings"):
        teacher = read_metadata(out / f"{name}.parquet")["teacher"]
        assert isinstance(teacher, dict)
        assert teacher.pop("revision").startswith("sha256:")
        assert teacher.pop("parameters") > 0
        assert teacher == {
            "key": "teach",
            "tuned": False,
            "pooling": "mean",
            "max_length": 64,
            "dtype": "float32",
            "dimension": 32,
            "prompt": None,
        }


def test_summary(scored: tuple[Path, dict[str, Any]]) -> None:
    folder, summary = scored
    rows = pd.read_parquet(folder / "one" / "out" / "scores.parquet")
    assert summary["pairs"] == 123
    assert summary["distinct_share"] == summary["texts"] / 246
    for name, part in (
        ("positive", rows[rows["label"] == 1]),
        ("negative", rows[rows["label"] == 0]),
        ("unlabelled", rows[rows["label"].isna()]),
    ):
        assert summary["score_mean"][name] == pytest.approx(part["teacher_score"].mean(), abs=1e-6)
        assert summary["score_quantiles"][name]["0.25"] == pytest.approx(np.quantile(part["teacher_score"], 0.25))
    for split, part in rows.dropna(subset="label").groupby("split"):
        assert summary["auroc"][split] == pytest.approx(roc_auc_score(part["label"], part["teacher_score"]))


def test_a_split_without_both_classes_has_no_auroc(scored: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    rows = [row for row in word_pairs(40) if row["split"] != "test" or row["label"] == 1]
    summary = _score(tmp_path, write_pairs(tmp_path / "prepare", rows), scored[0] / "teach")
    assert summary["auroc"]["test"] is None
    assert summary["auroc"]["train"] > 0.5


def test_same_rows_again_and_after_a_kill(
    scored: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline import shards

    folder, _ = scored
    plain, calls = shards.embed, []

    def dying(*args: Any, **how: Any) -> np.ndarray:
        calls.append(len(args[1]))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return plain(*args, **how)

    monkeypatch.setattr(shards, "embed", dying)
    with pytest.raises(KeyboardInterrupt):
        _score(tmp_path, folder / "prepare", folder / "teach", shard_texts=50, batch_size=16)
    assert not list((tmp_path / "out").iterdir())
    (tmp_path / "out").rmdir()
    before = len(calls)
    _score(tmp_path, folder / "prepare", folder / "teach", shard_texts=50, batch_size=16)
    total = -(-len(distinct_texts(folder / "prepare" / "pairs.parquet")) // 50)
    assert len(calls) - before == total - 2
    for name in ("scores.parquet", "embeddings.parquet"):
        first, second = (pq.read_table(place / "out" / name) for place in (folder / "one", tmp_path))
        assert first.equals(second)


def _damaged(scored: tuple[Path, dict[str, Any]], folder: Path, spoil: Any) -> Path:
    teach = untuned(scored[0] / "model", scored[0] / "prepare", folder)
    path = teach / "teacher" / "model.safetensors"
    weights = load_file(path)
    spoil(weights)
    save_file(weights, path, metadata={"format": "pt"})
    return teach


def _fill_with_nan(weights: dict[str, torch.Tensor]) -> None:
    next(weight for name, weight in weights.items() if "word_embeddings" in name).fill_(float("nan"))


def _make_constant(weights: dict[str, torch.Tensor]) -> None:
    for name, weight in weights.items():
        if name.endswith("LayerNorm.weight"):
            weight.zero_()
        elif name.endswith("LayerNorm.bias"):
            weight.fill_(1)


@pytest.mark.parametrize(
    ("spoil", "message"), [(_fill_with_nan, "NaN or infinity"), (_make_constant, "one and the same vector")]
)
def test_a_broken_teacher_stops_the_run(
    scored: tuple[Path, dict[str, Any]], tmp_path: Path, spoil: Any, message: str
) -> None:
    with pytest.raises(FlipkdError, match=message):
        _score(tmp_path, scored[0] / "prepare", _damaged(scored, tmp_path, spoil))


def test_no_pairs(scored: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    with pytest.raises(FlipkdError, match="holds no pairs"):
        _score(tmp_path, write_pairs(tmp_path / "prepare", []), scored[0] / "teach")
