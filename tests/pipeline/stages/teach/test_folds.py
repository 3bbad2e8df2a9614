"""Scores out of fold: no teacher judges what it was tuned on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sentence_transformers import SentenceTransformer
from sklearn.metrics import roc_auc_score

import pipeline.stages.teach.member_tuning as tuning
from data.errors import FlipkdError
from pipeline.evaluation.suspects import by_heart
from pipeline.stages.filter.config import FilterConfig
from pipeline.stages.filter.run import run as filter_pairs
from pipeline.stages.score.config import ScoreConfig
from pipeline.stages.score.run import run as score
from pipeline.stages.teach.config import TeachConfig
from pipeline.stages.teach.folds import fold_of, with_units
from pipeline.stages.teach.run import run
from pipeline.stages.teach.stage import STAGE
from tests.pipeline.stages.teach.test_run import TUNING, topic_pairs
from tests.teacher_half import context, word_pairs, write_pairs, write_utterances
from tests.tiny import WORDS, tiny_teacher

LEARNS = {**TUNING, "epochs": 4, "learning_rate": 3e-3, "evaluations": 1}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_teacher(tmp_path_factory.mktemp("folds") / "model")


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, list[dict[str, Any]]]]:
    """What each teacher was tuned on, in the order of their tuning."""
    calls: list[dict[str, list[dict[str, Any]]]] = []
    real = tuning.tune

    def watched(teacher: Any, sets: Any, *args: Any, **settings: Any) -> Any:
        calls.append({name: rows.to_list() for name, rows in sets.rows.items()})
        return real(teacher, sets, *args, **settings)

    monkeypatch.setattr(tuning, "tune", watched)
    return calls


def _teach(model: Path, prepared: Path, place: Path, **settings: Any) -> dict[str, Any]:
    (place / "teach").mkdir(parents=True)
    config = TeachConfig.model_validate({"model": str(model), **LEARNS, **settings})
    summary = run(config, {"prepare": prepared}, place / "teach", context(place))
    json.dumps(summary, allow_nan=False)
    return summary


def _judged(place: Path) -> pl.DataFrame:
    return pl.read_parquet(place / "teach" / "out_of_fold.parquet")


def test_each_labelled_pair_of_train_is_judged_by_a_teacher_that_has_not_seen_it(
    model: Path, tmp_path: Path, seen: list[dict[str, list[dict[str, Any]]]]
) -> None:
    prepared = topic_pairs(tmp_path / "prepare")
    summary = _teach(model, prepared, tmp_path, folds=3)
    train = pl.read_parquet(prepared / "pairs.parquet").filter(split="train")
    judged = train.join(_judged(tmp_path), on="pair_id", how="left", maintain_order="left")
    assert judged["teacher_score"].null_count() == 0
    assert _judged(tmp_path).height == train.height == 90
    assert judged["fold"].value_counts().sort("fold")["count"].to_list() == [30, 30, 30]
    assert len(seen) == 4  # the teacher, and those of the folds
    for fold, sets in enumerate(seen[1:]):
        texts = {(row["text_a"], row["text_b"]) for row in sets["pairs"]}
        rest, own = (judged.filter(chosen) for chosen in (pl.col("fold") != fold, pl.col("fold") == fold))
        assert texts == set(rest.select("text_a", "text_b").iter_rows())
        assert not texts & set(own.select("text_a", "text_b").iter_rows())
    auroc = roc_auc_score(judged["label"].to_numpy(), judged["teacher_score"].to_numpy())
    assert summary["out_of_fold"] == {"folds": 3, "pairs": 90, "auroc": pytest.approx(auroc)}
    assert STAGE.sentence(summary).endswith(f"; train out of fold {auroc:.3f}")
    assert auroc > 0.9  # the topic is learnt from other pairs
    assert json.loads((tmp_path / "teach" / "metrics.json").read_text())["out_of_fold"]["folds"] == 3
    assert sorted(path.name for path in (tmp_path / "teach").iterdir()) == [
        "metrics.json", "out_of_fold.parquet", "teacher",
    ]  # fmt: skip


def test_labels_learnt_by_heart_do_not_show_in_them(model: Path, tmp_path: Path) -> None:
    """A third of train's labels are turned round: what is seen of them is learnt, what is not seen is not."""
    prepared = topic_pairs(tmp_path / "prepare")
    rows = pl.read_parquet(prepared / "pairs.parquet")
    wrong = (pl.col("split") == "train") & (pl.int_range(pl.len()) % 3 == 0)
    spoilt = rows.with_columns(pl.when(wrong).then(1 - pl.col("label")).otherwise("label").alias("label"))
    write_pairs(tmp_path / "spoilt", spoilt.select("text_a", "text_b", "label", "split").to_dicts())
    summary = _teach(model, tmp_path / "spoilt", tmp_path, folds=3, epochs=40)
    teacher = SentenceTransformer(str(tmp_path / "teach" / "teacher"), device="cpu")
    train = spoilt.with_columns(was=rows["label"]).filter(split="train")
    a, b = (teacher.encode(train[side].to_list()) for side in ("text_a", "text_b"))
    by_heart = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    unseen = _judged(tmp_path)["teacher_score"].to_numpy()
    given, true = train["label"].to_numpy(), train["was"].to_numpy()
    assert roc_auc_score(given, by_heart) > summary["out_of_fold"]["auroc"] + 0.1
    assert roc_auc_score(true, unseen) > roc_auc_score(given, unseen)


def test_scores_and_bounds_are_those_out_of_fold(model: Path, tmp_path: Path) -> None:
    prepared = topic_pairs(tmp_path / "prepare")
    _teach(model, prepared, tmp_path, folds=2)
    inputs = {"prepare": prepared, "teach": tmp_path / "teach"}
    (tmp_path / "score").mkdir()
    summary = score(ScoreConfig(), inputs, tmp_path / "score", context(tmp_path))
    rows = pl.read_parquet(tmp_path / "score" / "scores.parquet")
    assert rows.columns[-1] == "in_sample_score"
    vectors = pl.read_parquet(tmp_path / "score" / "embeddings.parquet")["embedding"].to_numpy()
    cosines = (vectors[rows["text_a_id"].to_numpy()] * vectors[rows["text_b_id"].to_numpy()]).sum(1)
    train = (rows["split"] == "train").to_numpy()
    np.testing.assert_array_equal(rows["teacher_score"].to_numpy()[train], _judged(tmp_path)["teacher_score"])
    np.testing.assert_allclose(rows["in_sample_score"].to_numpy()[train], cosines[train], atol=1e-6)
    np.testing.assert_allclose(rows["teacher_score"].to_numpy()[~train], cosines[~train], atol=1e-6)
    assert rows.filter(pl.col("split") != "train")["in_sample_score"].null_count() == (~train).sum()
    assert summary["auroc"]["train"] == pytest.approx(
        roc_auc_score(rows["label"].to_numpy()[train], rows["teacher_score"].to_numpy()[train])
    )
    (tmp_path / "filter").mkdir()
    filter_pairs(FilterConfig(), {"score": tmp_path / "score"}, tmp_path / "filter", context(tmp_path))
    kept = pl.read_parquet(tmp_path / "filter" / "filtered.parquet")
    assert kept["in_sample_score"].equals(rows["in_sample_score"])
    assert by_heart(kept.lazy()) is None
    dropped = kept.filter(pl.col("reason") == "positive_below_bound")
    matches = rows.filter(split="train", label=1)["teacher_score"]
    assert dropped.height == (matches < float(np.quantile(matches.to_numpy(), 0.05))).sum()


def test_two_teachers_are_combined_as_they_are_elsewhere(model: Path, tmp_path: Path) -> None:
    prepared = topic_pairs(tmp_path / "prepare")
    other = tiny_teacher(tmp_path / "other", seed=1, width=16)
    for name, others in (("both", [{"model": str(other), "tune": False}]), ("one", [])):
        _teach(model, prepared, tmp_path / name, folds=2, others=others)
    shares = [
        found["share"]
        for found in json.loads((tmp_path / "both" / "teach" / "teacher" / "combination.json").read_text())[
            "teachers"
        ]
    ]
    train = pl.read_parquet(prepared / "pairs.parquet").filter(split="train")
    untuned = SentenceTransformer(str(other), device="cpu")
    a, b = (untuned.encode(train[side].to_list(), normalize_embeddings=True) for side in ("text_a", "text_b"))
    expected = shares[0] * _judged(tmp_path / "one")["teacher_score"].to_numpy() + shares[1] * (a * b).sum(1)
    np.testing.assert_allclose(_judged(tmp_path / "both")["teacher_score"].to_numpy(), expected, atol=1e-5)


def test_a_killed_fold_goes_on(
    model: Path, tmp_path: Path, seen: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = topic_pairs(tmp_path / "prepare")
    _teach(model, prepared, tmp_path / "whole", folds=3)
    watched = tuning.tune

    def killed(*args: Any, **settings: Any) -> Any:
        if len(seen) == 6:  # the first fold of the second run is done
            raise KeyboardInterrupt
        return watched(*args, **settings)

    monkeypatch.setattr(tuning, "tune", killed)
    with pytest.raises(KeyboardInterrupt):
        _teach(model, prepared, tmp_path / "cut", folds=3)
    shutil.rmtree(tmp_path / "cut" / "teach")
    monkeypatch.setattr(tuning, "tune", watched)
    _teach(model, prepared, tmp_path / "cut", folds=3)
    assert len(seen) == 9  # the teacher, resumed, and two folds
    assert _judged(tmp_path / "cut").equals(_judged(tmp_path / "whole"))


def test_an_untouched_teacher_has_no_folds(model: Path, tmp_path: Path) -> None:
    summary = _teach(model, topic_pairs(tmp_path / "prepare"), tmp_path, folds=3, tune=False)
    assert "out_of_fold" not in summary
    assert not (tmp_path / "teach" / "out_of_fold.parquet").exists()


def test_utterances_of_a_fold_are_not_learnt_from(
    model: Path, tmp_path: Path, seen: list[dict[str, list[dict[str, Any]]]]
) -> None:
    """Where ids are split, a fold holds whole ids; where texts are, it holds texts."""
    ids = WORDS.split()[:8]
    rest = [row["text_a"] for row in word_pairs(160, 3)]
    for name, shared in (("by_id", False), ("by_group", False), ("by_text", True)):
        rows = [
            {"text": f"{ids[n % 8]} {ids[n % 8]} {text}", "id": ids[n % 8], "split": "train"}
            for n, text in enumerate(rest)
        ]
        other = [
            {"text": f"{row['text']} too", "id": row["id"] if shared else f"{row['id']} new", "split": "dev"}
            for row in rows[:40]
        ]
        pairs = [
            {
                "text_a": own[n]["text"],
                "text_b": own[(n + step) % 40]["text"],
                "label": int(step == 8),
                "split": split,
                "group": own[n]["id"] if name == "by_group" else None,
            }
            for own, split in ((rows, "train"), (other, "dev"))
            for n in range(40)
            for step in (8, 9)
        ]
        prepared = write_pairs(tmp_path / name / "prepare", pairs)
        write_utterances(prepared, [*rows, *other])
        seen.clear()
        _teach(model, prepared, tmp_path / name, folds=4, texts_learning_rate=1e-3)
        judged = pl.DataFrame(pairs[:80]).with_columns(fold=_judged(tmp_path / name)["fold"])
        id_of = {row["text"]: row["id"] for row in rows}
        assert len(seen) == 5
        for fold, sets in enumerate(seen[1:]):
            learnt = {text for row in sets["texts"] for text in row.values()}
            held = set(judged.filter(fold=fold)["text_a"])
            assert held
            assert not learnt & held
            if not shared:
                assert not {id_of[text] for text in learnt} & {id_of[text] for text in held}


def test_what_stays_together(tmp_path: Path) -> None:
    rows = [
        {"text_a": "a", "text_b": "b", "label": 1, "split": "train", "group": "g"},
        {"text_a": "a", "text_b": "c", "label": 0, "split": "train"},
        {"text_a": "entry", "text_b": "asked", "label": 0, "split": "train", "source": "faq"},
        {"text_a": "d", "text_b": "e", "label": None, "split": "train"},
        {"text_a": "f", "text_b": "g", "label": 1, "split": "dev"},
    ]
    prepared = write_pairs(tmp_path, rows, {"catalogue": {"faq": {"side": "text_a"}}})
    found, of_texts = with_units(prepared)
    assert found["unit"].to_list() == ["group g", "text a", "text asked"]
    assert not of_texts


def test_folds_hold_whole_units_and_follow_the_seed() -> None:
    units = pl.Series([f"unit {n % 30}" for n in range(200)])
    folds = fold_of(units, 4, seed=13)
    assert (
        pl.DataFrame({"unit": units, "fold": folds})
        .group_by("unit")
        .agg(pl.col("fold").n_unique())["fold"]
        .to_list()
        == [1] * 30
    )
    assert np.abs(np.bincount(folds) - 50).max() <= 7
    assert (folds == fold_of(units, 4, seed=13)).all()
    assert (folds != fold_of(units, 4, seed=14)).any()
    with pytest.raises(FlipkdError, match="31 folds take as many groups or texts, and train has 30"):
        fold_of(units, 31, seed=13)


def test_a_fold_that_leaves_too_little_is_named(model: Path, tmp_path: Path) -> None:
    rows = pl.read_parquet(topic_pairs(tmp_path / "topics") / "pairs.parquet").filter(pl.col("split") != "test")
    by_label = pl.when(split="train").then(pl.format("label {}", "label")).alias("group")
    grouped = rows.select("text_a", "text_b", "label", "split", by_label).to_dicts()
    with pytest.raises(FlipkdError, match=r"takes labels 0 and 1 .* \(teach\.folds: what fold 0 of 2 leaves\)"):
        _teach(model, write_pairs(tmp_path / "prepare", grouped), tmp_path, folds=2)
