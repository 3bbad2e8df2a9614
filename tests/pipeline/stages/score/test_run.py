from __future__ import annotations

import dataclasses
import json
import shutil
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
from pipeline.stages.score.config import ScoreConfig
from pipeline.stages.score.run import distinct_texts, run
from pipeline.stages.teach import run as teach_stage
from pipeline.stages.teach.config import TeachConfig
from pipeline.store.store import Store
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
    from pipeline.stages.score import shards

    folder, _ = scored
    plain, calls = shards.embed_fixed, []

    def dying(*args: Any, **how: Any) -> np.ndarray:
        calls.append(len(args[1]))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return plain(*args, **how)

    monkeypatch.setattr(shards, "embed_fixed", dying)
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


def _change_a_little(weights: dict[str, torch.Tensor]) -> None:
    next(weight for name, weight in weights.items() if "word_embeddings" in name).mul_(1.001)


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


# ------------------------------------------------------------------------------------- embeddings of earlier runs


def _night(folder: Path, store: Path, pairs: Path, teach: Path, **settings: Any) -> dict[str, Any]:
    (folder / "out").mkdir(parents=True)
    inputs = {"prepare": pairs, "teach": teach}
    where = dataclasses.replace(context(folder), store=Store(store))
    return run(ScoreConfig.model_validate(settings), inputs, folder / "out", where)


@pytest.fixture
def reached(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that reach a model, each time they do."""
    seen: list[str] = []
    plain = SentenceTransformer.encode

    def encode(self: SentenceTransformer, texts: list[str], **how: Any) -> Any:
        seen.extend(texts)
        return plain(self, texts, **how)

    monkeypatch.setattr(SentenceTransformer, "encode", encode)
    return seen


def _equal(one: Path, two: Path, names: tuple[str, ...] = ("scores.parquet", "embeddings.parquet")) -> bool:
    return all(pl.read_parquet(one / "out" / name).equals(pl.read_parquet(two / "out" / name)) for name in names)


def test_a_second_night_embeds_its_new_texts_alone(
    scored: tuple[Path, dict[str, Any]], tmp_path: Path, reached: list[str]
) -> None:
    folder, teach = scored[0], scored[0] / "teach"
    first = _night(tmp_path / "first", tmp_path, folder / "prepare", teach)
    assert (first["texts_embedded"], first["texts_reused"]) == (first["texts"], 0)
    new = {"text_a": "why is my loan closed", "text_b": "my card", "label": 0, "split": "train"}
    more = write_pairs(tmp_path / "more", [new, *word_pairs(120)[:100], *EXTRA])
    reached.clear()
    second = _night(tmp_path / "second", tmp_path, more, teach)
    assert set(reached) == {"why is my loan closed"}
    assert (second["texts_embedded"], second["texts_reused"]) == (1, second["texts"] - 1)
    _score(tmp_path / "alone", more, teach)
    assert _equal(tmp_path / "second", tmp_path / "alone")  # to the bit
    reached.clear()
    _night(tmp_path / "third", tmp_path, more, teach)
    assert reached == []
    assert _equal(tmp_path / "third", tmp_path / "alone")


def test_a_copy_of_the_teacher_shares_its_embeddings_another_teacher_does_not(
    scored: tuple[Path, dict[str, Any]], tmp_path: Path, reached: list[str]
) -> None:
    folder = scored[0]
    _night(tmp_path / "first", tmp_path, folder / "prepare", folder / "teach")
    copy = untuned(folder / "teach" / "teacher", folder / "prepare", tmp_path / "copy")  # frozen: teach.tune false
    other = _damaged(scored, tmp_path / "other", _change_a_little)
    short = tmp_path / "short"
    short.mkdir()
    settings = {"model": str(folder / "model"), "tune": False, "max_length": 16}
    (short / "teach").mkdir()
    teach_stage.run(
        TeachConfig.model_validate(settings), {"prepare": folder / "prepare"}, short / "teach", context(short)
    )
    reached.clear()
    assert _night(tmp_path / "again", tmp_path, folder / "prepare", copy)["texts_embedded"] == 0
    assert reached == []
    for number, changed in enumerate((other, short / "teach")):
        found = _night(tmp_path / str(number), tmp_path, folder / "prepare", changed)
        assert found["texts_embedded"] == found["texts"]
        _score(tmp_path / f"alone {number}", folder / "prepare", changed)
        assert _equal(tmp_path / str(number), tmp_path / f"alone {number}")
    other_size = _night(tmp_path / "size", tmp_path, folder / "prepare", copy, batch_size=8)
    assert other_size["texts_reused"] == 0


def test_damaged_embeddings_are_computed_again(
    scored: tuple[Path, dict[str, Any]], tmp_path: Path, reached: list[str]
) -> None:
    folder, teach = scored[0], scored[0] / "teach"
    _night(tmp_path / "first", tmp_path, folder / "prepare", teach)
    (part,) = (tmp_path / "embeddings").rglob("*.parquet")
    raw = bytearray(part.read_bytes())
    raw[len(raw) // 2] ^= 1
    part.write_bytes(raw)
    found = _night(tmp_path / "second", tmp_path, folder / "prepare", teach)
    assert found["texts_reused"] == 0
    assert _equal(tmp_path / "first", tmp_path / "second")
    assert _night(tmp_path / "third", tmp_path, folder / "prepare", teach)["texts_embedded"] == 0


def test_vectors_of_a_broken_teacher_are_not_kept(scored: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    broken = _damaged(scored, tmp_path / "broken", _fill_with_nan)
    with pytest.raises(FlipkdError, match="NaN or infinity"):
        _night(tmp_path / "night", tmp_path, scored[0] / "prepare", broken)
    assert not list((tmp_path / "embeddings").rglob("*.parquet"))


def test_a_teacher_with_code_of_its_own_keeps_nothing(scored: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    teach = tmp_path / "teach"
    shutil.copytree(scored[0] / "teach", teach)
    told = json.loads((teach / "metrics.json").read_text())
    told["teacher"]["trust_remote_code"] = True
    (teach / "metrics.json").write_text(json.dumps(told))
    _night(tmp_path / "night", tmp_path, scored[0] / "prepare", teach)
    assert not (tmp_path / "embeddings").exists()
