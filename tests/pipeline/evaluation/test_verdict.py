"""The student against its teacher: the interval against resampling by hand, the sentence by its three cases."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from pipeline.evaluation.headline import SCORES
from pipeline.evaluation.verdict import against_teacher, verdict

THRESHOLDS = dict.fromkeys(SCORES, 0.5)


def scored(quality: dict[str, float], rows: int = 400) -> pl.DataFrame:
    draw = np.random.default_rng(0)
    label = draw.integers(0, 2, rows)
    columns = {name: draw.normal(0.5 + (label - 0.5) * quality[name], 0.3) for name in SCORES}
    return pl.DataFrame(
        {
            "label": pl.Series(label, dtype=pl.Int8),
            **{name: [f"{name} {n}" for n in range(rows)] for name in ("group", "text_a", "text_b")},
            "source": "a.csv",
            "split": "test",
            **columns,
        }
    )


def measured(pairs: pl.DataFrame) -> dict[str, Any]:
    return {
        name: {
            "f1": {"value": float(f1_score(pairs["label"], pairs[name].to_numpy() >= 0.5))},
            "auroc": {"value": float(roc_auc_score(pairs["label"], pairs[name]))},
        }
        for name in SCORES
    }


def test_the_interval_against_resampling_by_hand() -> None:
    pairs = scored({"teacher": 0.6, "decoder": 0.6, "encoder": 0.3, "fused": 1.0})
    found = against_teacher(pairs, THRESHOLDS, measured(pairs), bootstrap=1000, seed=1)
    label, draw = pairs["label"].to_numpy(), np.random.default_rng(5)
    for name in ("decoder", "fused"):
        own, teacher = (pairs[column].to_numpy() >= 0.5 for column in (name, "teacher"))
        differences = []
        for _ in range(1000):
            rows = draw.integers(0, len(label), len(label))
            differences.append(f1_score(label[rows], own[rows]) - f1_score(label[rows], teacher[rows]))
        low, high = np.percentile(differences, (2.5, 97.5))
        assert found[name]["f1"]["low"] == pytest.approx(low, abs=0.012)
        assert found[name]["f1"]["high"] == pytest.approx(high, abs=0.012)
        assert found[name]["f1"]["value"] == pytest.approx(f1_score(label, own) - f1_score(label, teacher))


@pytest.mark.parametrize(
    ("fused", "said"), [(1.2, "is better than"), (0.6, "cannot be told from"), (0.1, "is not as good as")]
)
def test_the_sentence(fused: float, said: str) -> None:
    pairs = scored({"teacher": 0.6, "decoder": 0.0, "encoder": 0.0, "fused": fused})
    numbers = measured(pairs)
    against = against_teacher(pairs, THRESHOLDS, numbers, bootstrap=500, seed=1)
    best = {"fused": {"f1": {"value": 1.0}}, "decoder": {"f1": {"value": 0.5}}, "encoder": {"f1": {"value": None}}}
    told = verdict({"splits": {"dev": best, "test": numbers}, "against_teacher": {"test": against}}, "test")
    assert told.startswith(f"The student {said} its teacher: F1 on test is {numbers['fused']['f1']['value']:.3f}")


def test_one_class_says_nothing() -> None:
    pairs = scored(dict.fromkeys(SCORES, 0.6)).filter(label=1)
    assert against_teacher(pairs, THRESHOLDS, {}, bootstrap=100, seed=1) == {}
    told = verdict({"splits": {"dev": {}, "test": {}}, "against_teacher": {"test": {}}}, "test")
    assert "too few" in told
