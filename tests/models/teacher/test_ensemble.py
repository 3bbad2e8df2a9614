"""Several teachers as one vector, against a plain standardised average."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import rankdata

from data.errors import FlipkdError
from models.teacher.ensemble import join, shares_of, weights_of


def _unit(draw: np.random.Generator, rows: int, width: int) -> np.ndarray:
    vectors = draw.normal(size=(rows, width))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@settings(max_examples=40, deadline=None)
@given(
    widths=st.lists(st.integers(2, 9), min_size=1, max_size=4),
    seed=st.integers(0, 99),
    given_=st.lists(st.floats(0.01, 100), min_size=4, max_size=4),
)
def test_the_joined_cosine_is_the_standardised_average_up_to_an_affine_map(
    widths: list[int], seed: int, given_: list[float]
) -> None:
    draw = np.random.default_rng(seed)
    a, b = ([_unit(draw, 30, width) for width in widths] for _ in range(2))
    each = np.array([(x.astype(np.float64) * y).sum(axis=1) for x, y in zip(a, b, strict=True)])
    weights = np.array(given_[: len(widths)]) / sum(given_[: len(widths)])
    deviations = each.std(axis=1)
    average = (weights[:, None] * (each - each.mean(axis=1, keepdims=True)) / deviations[:, None]).sum(axis=0)

    joined = [np.empty((30, sum(widths)), dtype=np.float32) for _ in range(2)]
    shares = shares_of(weights_of(given_[: len(widths)], None), deviations).tolist()
    for parts, out in zip((a, b), joined, strict=True):
        join(parts, shares, out)
        np.testing.assert_allclose(np.linalg.norm(out, axis=1), 1, atol=1e-6)
    cosine = (joined[0].astype(np.float64) * joined[1]).sum(axis=1)
    slope, intercept = np.polyfit(cosine, average, 1)
    assert slope == pytest.approx((weights / deviations).sum(), rel=1e-4)
    np.testing.assert_allclose(average, slope * cosine + intercept, atol=1e-4)
    assert np.corrcoef(rankdata(cosine), rankdata(average))[0, 1] > 0.999  # Spearman's correlation


def test_one_teacher_is_itself() -> None:
    vectors = _unit(np.random.default_rng(0), 5, 4)
    out = np.empty_like(vectors)
    join([vectors], shares_of(weights_of([3.0], None), np.array([0.2])).tolist(), out)
    assert np.array_equal(out, vectors)


def test_weights() -> None:
    np.testing.assert_allclose(weights_of([1, 3], None), [0.25, 0.75])
    np.testing.assert_allclose(weights_of([1, 1], [0.9, 0.7]), [2 / 3, 1 / 3])
    np.testing.assert_allclose(weights_of([1, 4], [0.9, 0.7]), [1 / 3, 2 / 3])
    np.testing.assert_allclose(weights_of([1, 1], [0.9, 0.3]), [1, 0])  # worse than chance
    with pytest.raises(FlipkdError, match=r"teach\.combine: auroc .* none is"):
        weights_of([1, 1], [0.5, 0.4])


@given(arrays(np.float64, 3, elements=st.floats(0.01, 1)), arrays(np.float64, 3, elements=st.floats(1e-3, 1)))
def test_shares_sum_to_one_and_a_narrow_scale_counts_more(weights: np.ndarray, deviations: np.ndarray) -> None:
    shares = shares_of(weights, deviations)
    assert shares.sum() == pytest.approx(1)
    np.testing.assert_allclose(shares * deviations / weights, (shares * deviations / weights)[0])
