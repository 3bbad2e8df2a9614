"""Resamples and intervals against scikit-learn on the pairs that were drawn."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn import metrics as reference

from pipeline.evaluation.bootstrap import Sample, clusters, intervals, resamples, weighted_metrics
from pipeline.evaluation.metrics import METRICS
from tests.pipeline.evaluation.made_up import by_scikit_learn, ece_by_loop, made_up


@pytest.mark.parametrize("ties", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_every_resample_equals_scikit_learn_on_the_drawn_pairs(seed: int, ties: bool) -> None:
    sample = made_up(seed=seed, ties=ties)
    (weights,) = resamples(sample.labels, 6, seed)
    found = weighted_metrics(sample, weights)
    assert set(found) == set(METRICS)
    for n, drawn in enumerate(weights):
        rows = np.repeat(np.arange(len(drawn)), drawn)
        expected = by_scikit_learn(sample.labels[rows], sample.scores[rows], sample.threshold)
        expected["ece"] = ece_by_loop(sample.labels[rows], sample.probabilities[rows], sample.bins)
        for name, value in expected.items():
            assert found[name][n] == pytest.approx(value, abs=1e-9), name


def test_intervals_equal_a_plain_loop_over_the_same_resamples() -> None:
    sample = made_up(60, seed=8)
    generator = np.random.default_rng(4)
    drawn = [generator.integers(0, 60, 60) for _ in range(150)]
    values = [reference.roc_auc_score(sample.labels[rows], sample.scores[rows]) for rows in drawn]
    ranges, _ = intervals({"one": sample}, 150, 4)
    assert ranges["one"]["auroc"] == pytest.approx(np.percentile(values, [2.5, 97.5]).tolist())


def test_blocks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = made_up()
    whole = intervals({"one": sample}, 120, 1)
    monkeypatch.setattr("pipeline.evaluation.bootstrap.CELLS_PER_BLOCK", 7 * len(sample.labels))
    parts = intervals({"one": sample}, 120, 1)
    assert parts[1] == whole[1]
    for metric, (low, high) in whole[0]["one"].items():
        assert parts[0]["one"][metric] == pytest.approx((low, high), abs=1e-12)


def test_the_interval_covers_a_known_accuracy_about_95_times_in_100() -> None:
    covered = 0
    for seed in range(200):
        draw = np.random.default_rng(seed)
        labels = (draw.random(150) < 0.5).astype(np.int8)
        scores = np.where(draw.random(150) < 0.8, labels, 1 - labels).astype(np.float32)
        low, high = intervals({"one": Sample(labels, scores, scores, 0.5, 10)}, 200, seed)[0]["one"]["accuracy"]
        covered += low <= 0.8 <= high
    assert 178 <= covered <= 199


def test_resamples_of_one_class_are_dropped_and_counted() -> None:
    labels = np.array([1, 0, 0, 0])
    (weights,) = resamples(labels, 400, 0)
    # A resample misses the one match with probability (3/4)^4, and draws nothing else with (1/4)^4.
    assert 400 - len(weights) == pytest.approx(400 * (0.75**4 + 0.25**4), abs=35)
    assert (weights.sum(axis=1) == 4).all()
    assert (weights[:, 0] > 0).all()


def test_clusters_are_drawn_whole_and_equal_scikit_learn_on_what_was_drawn() -> None:
    sample = made_up(60, seed=8)
    together = np.random.default_rng(0).integers(0, 12, 60)
    together = np.unique(together, return_inverse=True)[1]
    units = together.max() + 1
    (weights,) = resamples(sample.labels, 50, 4, together)
    generator = np.random.default_rng(4)
    values = []
    for row in weights:
        drawn = generator.integers(0, units, units)
        rows = np.concatenate([np.flatnonzero(together == cluster) for cluster in drawn])
        assert row.tolist() == np.bincount(rows, minlength=60).tolist()
        values.append(reference.roc_auc_score(sample.labels[rows], sample.scores[rows]))
    assert weighted_metrics(sample, weights)["auroc"] == pytest.approx(values)
    ranges, _ = intervals({"one": sample}, 50, 4, together)
    assert ranges["one"]["auroc"] == pytest.approx(np.percentile(values, [2.5, 97.5]).tolist())


def test_copies_of_a_pair_are_no_further_evidence() -> None:
    """Every pair ten times: as clusters the interval is what it was, pair by pair a third as wide."""
    sample = made_up(80, seed=3)
    copies = Sample(
        np.repeat(sample.labels, 10), np.repeat(sample.scores, 10), np.repeat(sample.probabilities, 10),
        sample.threshold, sample.bins,
    )  # fmt: skip
    low, high = intervals({"one": sample}, 400, 1)[0]["one"]["auroc"]
    assert intervals({"one": copies}, 400, 1, np.repeat(np.arange(80), 10))[0]["one"]["auroc"] == pytest.approx(
        (low, high)
    )
    narrow = intervals({"one": copies}, 400, 1)[0]["one"]["auroc"]
    assert narrow[1] - narrow[0] < 0.5 * (high - low)


def test_a_group_holds_its_pairs_together_else_a_query_does() -> None:
    pairs = pl.DataFrame(
        {
            "group": ["g", None, None, "g", None, "q", None],
            "text_a": ["1", "q", "q", "2", "g", "q", "r"],
            "text_b": ["a", "a", "b", "b", "c", "c", "c"],
            "source": ["x", "x", "x", "x", "y", "y", "y"],
        }
    )
    assert clusters(pairs).tolist() == [0, 1, 1, 0, 2, 3, 4]
    # In y the entries stand on the left: the queries are the texts on the right.
    assert clusters(pairs, {"y": "text_a"}).tolist() == [0, 1, 1, 0, 2, 3, 2]
