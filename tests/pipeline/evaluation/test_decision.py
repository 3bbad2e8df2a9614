from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import f1_score, roc_auc_score

from data.errors import FlipkdError
from models.student.flipkd_student import fused
from pipeline.evaluation.decision import SCORES, check_dev, evaluate, fit_decision, probability


def scored(seed: int = 0) -> pl.DataFrame:
    """60 pairs of dev and test each, a few without a label."""
    draw = np.random.default_rng(seed)
    labels = np.tile([1, 0], 60)
    columns = {
        "text_a": [f"query {n // 2}" for n in range(120)],
        "group": pl.Series([None] * 120, dtype=pl.String),
        "split": ["dev"] * 60 + ["test"] * 60,
        "label": pl.Series([None if n % 20 == 7 else int(label) for n, label in enumerate(labels)], dtype=pl.Int8),
        "teacher": (0.3 * labels + 0.3 * draw.normal(size=120)).clip(-1, 1).astype(np.float32),
        "decoder": (0.3 + 0.4 * labels + 0.2 * draw.normal(size=120)).clip(0, 1).astype(np.float32),
        "encoder": (0.4 * labels + 0.4 * draw.normal(size=120)).clip(-1, 1).astype(np.float32),
    }
    return pl.DataFrame(columns)


def test_the_decision_is_dev_s_alone() -> None:
    rows = scored()
    decision, with_fused = fit_decision(rows)
    flipped = rows.with_columns(
        label=pl.when(pl.col("split") == "test").then(1 - pl.col("label")).otherwise(pl.col("label")).cast(pl.Int8)
    )
    assert fit_decision(flipped)[0] == decision
    dev = with_fused.filter(split="dev").drop_nulls("label")
    for name in SCORES:
        values = dev[name].to_numpy()
        best = max(f1_score(dev["label"], values >= t) for t in values)
        assert f1_score(dev["label"], values >= decision.thresholds[name]) == pytest.approx(best)
    expected = fused(rows["decoder"].to_numpy(), rows["encoder"].to_numpy(), decision.fusion)
    np.testing.assert_allclose(with_fused["fused"].to_numpy(), expected)


def test_the_student_gets_nothing_of_the_teacher() -> None:
    decision, _ = fit_decision(scored())
    assert decision.for_student() == {
        "thresholds": {name: decision.thresholds[name] for name in ("decoder", "encoder", "fused")},
        "fusion": decision.fusion,
    }


def test_probabilities_of_cosines_are_calibrated_and_others_are_left() -> None:
    decision, _ = fit_decision(scored())
    values = np.array([-0.5, 0.0, 0.7])
    fit = decision.calibration["teacher"]
    expected = 1 / (1 + np.exp(-(fit["intercept"] + fit["slope"] * values)))
    np.testing.assert_allclose(probability(decision, "teacher", values), expected)
    np.testing.assert_array_equal(probability(decision, "decoder", values), values)


def test_metrics_are_of_labelled_pairs_and_alignment_of_all(tmp_path: Path) -> None:
    decision, rows = fit_decision(scored())
    kept = [n % 3 == 0 for n in range(rows.height)]
    rows.select("split", "label").with_columns(kept=pl.Series(kept)).write_parquet(tmp_path / "filtered.parquet")
    metrics = evaluate(rows, decision, tmp_path / "filtered.parquet", bootstrap=100, bins=10, seed=1)
    for split in ("dev", "test"):
        here = rows.filter(split=split)
        known = here.drop_nulls("label")
        for name in SCORES:
            measured = metrics["splits"][split][name]
            assert measured["auroc"]["value"] == pytest.approx(roc_auc_score(known["label"], known[name]))
            assert measured["threshold"] == {"value": decision.thresholds[name], "low": None, "high": None}
        aligned = spearmanr(here["teacher"].to_numpy(), here["encoder"].to_numpy())[0]
        assert metrics["alignment"][split] == pytest.approx(aligned)
        counts = {
            "pairs": 60,
            "labelled": 57,
            "positive": known["label"].sum(),
            "kept": 20,
            "resamples_dropped": 0,
        }
        assert metrics["counts"][split] == counts
    assert metrics["counts"]["train"] == {"pairs": 0, "labelled": 0, "positive": 0, "kept": 0}


def test_dev_of_one_class_is_refused() -> None:
    check_dev(scored())
    with pytest.raises(FlipkdError, match="dev holds 0 matching and 27 other labelled pairs"):
        check_dev(scored().filter((pl.col("split") != "dev") | (pl.col("label") == 0)))
