"""Metrics against scikit-learn and against plain loops."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn import metrics as reference

from models.student.flipkd_student import fused
from pipeline.evaluation.bootstrap import Sample, weighted_metrics
from pipeline.evaluation.metrics import (
    calibrate,
    choose_threshold,
    expected_calibration_error,
    fit_calibration,
    fit_fusion,
    fit_logistic,
    metrics_with_intervals,
    point_metrics,
    spearman,
)
from tests.pipeline.evaluation.made_up import ece_by_loop, made_up


def test_the_value_equals_the_resample_that_draws_every_pair_once() -> None:
    sample = made_up(seed=5)
    once = weighted_metrics(sample, np.ones((1, len(sample.labels)), dtype=np.int32))
    for name, value in point_metrics(sample).items():
        assert once[name][0] == pytest.approx(value, abs=1e-12), name


def test_confusion_counts_by_hand() -> None:
    labels = np.array([1, 1, 1, 0, 0, 0, 0])
    scores = np.array([0.9, 0.8, 0.1, 0.7, 0.2, 0.2, 0.1], dtype=np.float32)
    found = point_metrics(Sample(labels, scores, scores, 0.5, 10))
    assert found["precision"] == pytest.approx(2 / 3)
    assert found["recall"] == pytest.approx(2 / 3)
    assert found["f1"] == pytest.approx(2 / 3)
    assert found["accuracy"] == pytest.approx(5 / 7)
    assert found["mcc"] == pytest.approx((2 * 3 - 1 * 1) / math.sqrt(3 * 3 * 4 * 4))
    # 12 comparisons: 0.9 and 0.8 win all 4 each; 0.1 is level with one and below three.
    assert found["auroc"] == pytest.approx((4 + 4 + 0.5) / 12)


@pytest.mark.parametrize("bins", [2, 10, 7])
def test_calibration_error_equals_a_loop(bins: int) -> None:
    draw = np.random.default_rng(bins)
    probabilities = np.r_[draw.random(200), 0.0, 1.0]
    labels = (draw.random(202) < probabilities).astype(np.int8)
    assert expected_calibration_error(labels, probabilities, bins) == pytest.approx(
        ece_by_loop(labels, probabilities, bins), abs=1e-12
    )


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 8)), min_size=2, max_size=40))
@settings(deadline=None, max_examples=60)
def test_no_threshold_has_a_higher_f1_and_ties_go_to_the_highest(rows: list[tuple[bool, int]]) -> None:
    labels = np.array([label for label, _ in rows], dtype=np.int8)
    scores = np.array([score / 8 for _, score in rows], dtype=np.float32)
    if len(set(labels.tolist())) < 2:
        return
    chosen = choose_threshold(labels, scores)

    def f1(threshold: float) -> float:
        return float(reference.f1_score(labels, scores >= threshold))

    tried = {float(t): f1(float(t)) for t in np.unique(scores)}
    assert f1(chosen) == pytest.approx(max(tried.values()))
    higher = [t for t, value in tried.items() if t > chosen and value >= max(tried.values()) - 1e-12]
    assert len(higher) <= 1  # the score just above: it stands for the same cut
    assert not np.isin(chosen, scores) or chosen == scores.min()


def test_calibration_equals_platts_likelihood_minimised_by_another_optimiser() -> None:
    from scipy.optimize import minimize

    sample = made_up(200, seed=2, ties=False)
    y, s = sample.labels, sample.scores.astype(np.float64)
    target = np.where(y == 1, (y.sum() + 1) / (y.sum() + 2), 1 / ((1 - y).sum() + 2))

    def loss(parameters: np.ndarray) -> float:
        z = parameters[0] + parameters[1] * s
        return float(np.sum(np.logaddexp(0, z) - target * z))

    best = minimize(loss, np.zeros(2), method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12}).x
    found = fit_calibration(y, s)
    assert [found["intercept"], found["slope"]] == pytest.approx(best.tolist(), rel=2e-3)
    assert calibrate(found, s) == pytest.approx(1 / (1 + np.exp(-(best[0] + best[1] * s))), abs=1e-3)


def test_a_perfect_score_keeps_a_finite_calibration() -> None:
    labels = np.array([0] * 20 + [1] * 20)
    found = fit_calibration(labels, labels.astype(np.float32))
    assert calibrate(found, np.array([0.0, 1.0])) == pytest.approx([1 / 22, 21 / 22], abs=1e-3)


def test_a_constant_feature_gets_no_weight() -> None:
    labels = np.array([0, 1] * 20)
    _, coefficients = fit_logistic(labels, np.stack([labels * 0.5, np.full(40, 0.3)], axis=1))
    assert abs(coefficients[1]) < abs(coefficients[0]) / 10


def test_fusion_ranks_better_than_either_view() -> None:
    draw = np.random.default_rng(3)
    labels = (draw.random(600) < 0.5).astype(np.int8)
    decoder = 1 / (1 + np.exp(-(labels - 0.5 + draw.normal(size=600)))).astype(np.float32)
    encoder = np.tanh(0.4 * labels + 0.5 * draw.normal(size=600)).astype(np.float32)
    together = fused(decoder, encoder, fit_fusion(labels, decoder, encoder))
    best = max(reference.roc_auc_score(labels, decoder), reference.roc_auc_score(labels, encoder))
    assert reference.roc_auc_score(labels, together) > best
    assert together.mean() == pytest.approx(labels.mean(), abs=0.01)


def test_fusion_of_certain_answers_is_finite() -> None:
    labels = np.array([0, 1] * 10)
    decoder = labels.astype(np.float32)
    together = fused(decoder, np.zeros(20, np.float32), fit_fusion(labels, decoder, np.zeros(20, np.float32)))
    assert np.isfinite(together).all()


def both(sample: Sample, bootstrap: int, seed: int):
    return metrics_with_intervals(
        sample.labels,
        {"decoder": sample.scores, "fused": sample.scores},
        {"decoder": sample.probabilities, "fused": sample.probabilities},
        {"decoder": sample.threshold, "fused": sample.threshold},
        bootstrap=bootstrap,
        bins=sample.bins,
        seed=seed,
    )


def test_intervals_are_seeded_and_shared_by_all_scores() -> None:
    sample = made_up()
    first, dropped = both(sample, 200, 1)
    assert dropped == 0
    assert first == both(sample, 200, 1)[0]
    assert first != both(sample, 200, 2)[0]
    assert first["decoder"] == first["fused"]


@given(st.integers(0, 10_000), st.integers(2, 40))
@settings(deadline=None, max_examples=40)
def test_intervals_are_ordered_and_within_the_metric_s_range(seed: int, n: int) -> None:
    sample = made_up(n, seed)
    measured, dropped = both(sample, 100, seed)
    assert 0 <= dropped < 100 or sample.both_classes
    for metric, found in measured["decoder"].items():
        value, low, high = found["value"], found["low"], found["high"]
        if value is None or low is None or high is None:
            assert low is None
            assert high is None
            continue
        assert low <= high
        assert low >= -1 if metric == "mcc" else low >= 0
        assert max(value, high) <= 1 + 1e-12


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_alone_leaves_what_is_undefined_empty(label: int) -> None:
    n = 30
    scores = np.linspace(0, 1, n).astype(np.float32)
    measured, dropped = both(Sample(np.full(n, label), scores, scores, 0.5, 10), 100, 0)
    assert dropped == 0
    defined = {name for name, found in measured["fused"].items() if found["value"] is not None}
    assert defined == {"accuracy", "brier", "ece"}
    assert all(measured["fused"][name]["low"] is not None for name in defined)
    assert measured["fused"]["f1"] == {"value": None, "low": None, "high": None}
    json.dumps(measured, allow_nan=False)


def test_no_pair_leaves_everything_empty() -> None:
    nothing = np.zeros(0, np.float32)
    measured, dropped = both(Sample(nothing.astype(np.int8), nothing, nothing, 0.5, 10), 100, 0)
    assert all(found == {"value": None, "low": None, "high": None} for found in measured["fused"].values())
    assert dropped == 0


def test_spearman_equals_scipy_and_is_none_where_undefined() -> None:
    sample = made_up()
    other = made_up(seed=9).scores
    assert spearman(sample.scores, other) == pytest.approx(spearmanr(sample.scores, other).statistic)  # pyright: ignore[reportAttributeAccessIssue]
    assert spearman(sample.scores, np.ones_like(other)) is None
    assert spearman(sample.scores[:1], other[:1]) is None
