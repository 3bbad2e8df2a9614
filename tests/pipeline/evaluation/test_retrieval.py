"""Retrieval's metrics against scikit-learn and counting by hand."""

from __future__ import annotations

import numpy as np
import pytest
import pytrec_eval
from sklearn.metrics import label_ranking_average_precision_score, ndcg_score

from pipeline.evaluation.retrieval import (
    QueryMetrics,
    Task,
    entry_scores,
    first_ranks,
    graded_ndcg,
    intervals,
    nearest_documents,
    ranked,
    reranked,
)

ENTRIES, QUERIES = 30, 40
DRAW = np.random.default_rng(0)
RIGHT = DRAW.integers(0, ENTRIES, QUERIES)
SCORES = DRAW.normal(size=(QUERIES, ENTRIES))
SCORES[np.arange(QUERIES), RIGHT] += 1.5
TASK = Task(
    [f"{n:02}" for n in range(ENTRIES)],
    [""] * ENTRIES,
    np.arange(ENTRIES),
    [f"q{n}" for n in range(QUERIES)],
    [[int(n)] for n in RIGHT],
    QUERIES,
)


def test_metrics_against_scikit_learn_and_by_hand() -> None:
    values = QueryMetrics(TASK)(ranked(SCORES))
    own = SCORES[np.arange(QUERIES), RIGHT]
    place = (own[:, None] < SCORES).sum(1)  # entries above the right one
    truth = np.eye(ENTRIES)[RIGHT]
    near = place < 10
    np.testing.assert_allclose(values[:, 0], place == 0)
    np.testing.assert_allclose(values[:, 1], place < 5)
    # One right answer: the reciprocal rank is the ranking's average precision.
    precision = [
        label_ranking_average_precision_score(t[None], s[None]) for t, s in zip(truth, SCORES, strict=True)
    ]
    np.testing.assert_allclose(values[:, 2], np.where(near, precision, 0))
    ndcg = [ndcg_score(t[None], s[None], k=10) for t, s in zip(truth, SCORES, strict=True)]
    np.testing.assert_allclose(values[:, 3], ndcg)
    assert 0 < near.sum() < QUERIES
    assert first_ranks(ranked(SCORES), TASK.relevant) == (place + 1).tolist()


def test_two_right_answers() -> None:
    task = Task(["a", "b", "c"], ["", "", ""], np.arange(3), ["q"], [[0, 2]], 1)
    order = np.array([[2, 1, 0]])
    dcg, best = 1 + 1 / np.log2(4), 1 + 1 / np.log2(3)
    np.testing.assert_allclose(QueryMetrics(task)(order), [[0.5, 1, 1, dcg / best]])
    assert first_ranks(order, task.relevant) == [1]


def test_reranking_touches_the_first_alone_and_keeps_equals_in_order() -> None:
    order = np.array([[4, 2, 0, 1, 3]])
    assert reranked(order, np.array([[0.1, 0.5, 0.5]])).tolist() == [[2, 0, 4, 1, 3]]
    assert reranked(order, np.zeros((1, 3))).tolist() == order.tolist()


def test_equals_are_ranked_by_their_ids() -> None:
    assert ranked(np.array([[0.5, 0.7, 0.5, 0.7]])).tolist() == [[1, 3, 0, 2]]


def test_an_entry_is_as_near_as_its_nearest_question() -> None:
    scores, starts = np.array([[0.1, 0.9, 0.3, 0.2, 0.4]]), np.array([0, 2, 3])
    assert entry_scores(scores, starts).tolist() == [[0.9, 0.3, 0.4]]
    assert nearest_documents(scores, starts, np.array([[0, 2]])).tolist() == [[1, 4]]


def test_intervals_against_resampling_by_hand() -> None:
    measure = QueryMetrics(TASK)
    values = {"teacher": measure(ranked(SCORES)), "other": measure(ranked(DRAW.normal(size=SCORES.shape)))}
    found, against = intervals(values, "teacher", 1000, 3)
    assert found == intervals(values, "teacher", 1000, 3)[0]
    assert against.keys() == {"other"}
    rows = [DRAW.integers(0, QUERIES, QUERIES) for _ in range(3000)]
    for column, metric in enumerate(found["teacher"]):
        one, other = (values[name][:, column] for name in ("teacher", "other"))
        assert found["teacher"][metric]["value"] == pytest.approx(one.mean())
        for told, drawn in ((found["teacher"], one), (against["other"], other - one)):
            low, high = np.percentile([drawn[chosen].mean() for chosen in rows], (2.5, 97.5))
            assert told[metric]["low"] == pytest.approx(low, abs=0.15 * (high - low))
            assert told[metric]["high"] == pytest.approx(high, abs=0.15 * (high - low))


def test_ndcg_by_grade_is_trec_evals() -> None:
    grades = [{int(entry): int(DRAW.integers(-1, 4)) for entry in DRAW.permutation(ENTRIES)[:8]} for _ in RIGHT]
    grades[0] = {1: 0, 2: -1}
    order = ranked(SCORES)
    truth = {f"q{n}": {str(entry): grade for entry, grade in judged.items()} for n, judged in enumerate(grades)}
    run = {
        f"q{n}": {str(entry): float(ENTRIES - place) for place, entry in enumerate(row)}
        for n, row in enumerate(order)
    }
    theirs = pytrec_eval.RelevanceEvaluator(truth, {"ndcg_cut_10"}).evaluate(run)
    expected = [theirs[f"q{n}"]["ndcg_cut_10"] for n in range(QUERIES)]
    assert graded_ndcg(order, grades, 10) == pytest.approx(expected)
    assert expected[0] == 0
