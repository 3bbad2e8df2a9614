from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import FlipkdError
from pipeline.stages.filter.bounds import as_float32, find_bound, shares_beyond
from pipeline.stages.filter.config import Bound

# Few distinct values, so that ties are common; and any float32 cosine.
scores_and_labels = st.lists(
    st.tuples(st.one_of(st.sampled_from([-0.5, 0.1, 0.2, 0.7]), st.floats(-1, 1, width=32)), st.integers(0, 1)),
    min_size=2,
    max_size=40,
)


def _arrays(rows: list[tuple[float, int]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([s for s, _ in rows], dtype=np.float32), np.array([y for _, y in rows])


def _find(bound: dict[str, float], rows: list[tuple[float, int]], *, positive: bool) -> dict[str, Any]:
    scores, labels = _arrays(rows)
    return find_bound(
        "tau",
        Bound.model_validate(bound),
        positive=positive,
        train_scores=scores,
        train_labels=labels,
        dev_scores=scores,
        dev_labels=labels,
    )


def _brute_force(rows: list[tuple[float, int]], wanted: float, *, positive: bool) -> float | None:
    """Try every score as the bound, in plain Python."""
    scores, labels = _arrays(rows)
    pairs = list(zip(scores.tolist(), labels.tolist(), strict=True))
    good = []
    for bound, _ in pairs:
        beyond = [y for s, y in pairs if (s >= bound if positive else s <= bound)]
        if beyond.count(int(positive)) / len(beyond) >= wanted:
            good.append(bound)
    if not good:
        return None
    return min(good) if positive else max(good)


@given(
    rows=scores_and_labels, wanted=st.sampled_from([0.0, 0.5, 2 / 3, 0.75, 0.9, 0.95, 1.0]), positive=st.booleans()
)
def test_precision_agrees_with_brute_force(rows: list[tuple[float, int]], wanted: float, positive: bool) -> None:
    if {y for _, y in rows} != {0, 1}:
        with pytest.raises(FlipkdError, match="needs both"):
            _find({"precision": wanted}, rows, positive=positive)
        return
    expected = _brute_force(rows, wanted, positive=positive)
    if expected is None:
        with pytest.raises(FlipkdError, match="at no bound on dev; the best is"):
            _find({"precision": wanted}, rows, positive=positive)
        return
    found = _find({"precision": wanted}, rows, positive=positive)
    assert found["bound"] == expected
    scores, labels = _arrays(rows)
    beyond = scores >= np.float32(found["bound"]) if positive else scores <= np.float32(found["bound"])
    assert found["pairs"] == beyond.sum()
    assert found["reached"] == pytest.approx((labels[beyond] == int(positive)).mean())
    assert found["reached"] >= wanted


@given(rows=scores_and_labels, share=st.floats(0, 1), positive=st.booleans())
def test_quantile_is_that_of_the_own_class(rows: list[tuple[float, int]], share: float, positive: bool) -> None:
    scores, labels = _arrays(rows)
    own = np.sort(scores[labels == int(positive)].astype(np.float64))
    if len(own) == 0:
        with pytest.raises(FlipkdError, match="to take a quantile of"):
            _find({"quantile": share}, rows, positive=positive)
        return
    place = share * (len(own) - 1)
    low, high = own[int(np.floor(place))], own[int(np.ceil(place))]
    expected = low + (place - np.floor(place)) * (high - low)
    found = _find({"quantile": share}, rows, positive=positive)
    assert found["bound"] == pytest.approx(expected, abs=1e-6)
    assert float(np.float32(found["bound"])) == found["bound"]


@given(st.floats(-1, 1))
def test_a_bound_is_the_same_number_in_float32_and_float64(value: float) -> None:
    found = _find({"value": value}, [(0.1, 0), (0.2, 1)], positive=True)
    assert found == {"bound": as_float32(value), "by": "value", "given": value}
    assert float(np.float32(found["bound"])) == found["bound"]


def test_a_score_that_prints_like_the_bound_is_at_the_bound() -> None:
    # 0.7 as float32 is 0.699999988...: compared with the float64 0.7 it would be below.
    score = np.float32(0.7)
    assert float(score) < 0.7
    assert score >= np.float32(as_float32(0.7))
    assert float(score) >= as_float32(0.7)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_extreme_quantiles_keep_everything(share: float) -> None:
    rows = [(np.float32(s).item(), 1) for s in np.random.default_rng(0).uniform(-1, 1, 101)]
    found = _find({"quantile": share}, [*rows, (0.0, 0)], positive=True)
    assert found["bound"] == (min if share == 0 else max)(s for s, _ in rows)


def test_the_widest_bound_wins_even_past_a_dip() -> None:
    # Two of three at 0.9 and above are positive, then positives follow: 5 of 6 at 0.3 and above.
    rows = [(0.95, 1), (0.9, 0), (0.6, 1), (0.5, 1), (0.4, 1), (0.3, 1), (0.1, 0), (0.0, 0)]
    assert _find({"precision": 0.8}, rows, positive=True)["bound"] == as_float32(0.3)


def test_what_was_reached_is_said() -> None:
    rows = [(0.9, 0), (0.8, 1), (0.7, 1), (0.1, 0)]
    with pytest.raises(FlipkdError, match=r"filter.tau: .* precision of 0.95 .* best is 0.6667, for the 3 pairs"):
        _find({"precision": 0.95}, rows, positive=True)


def test_shares_beyond() -> None:
    scores, labels = _arrays([(0.5, 1), (0.5, 0), (0.9, 1), (0.1, 0)])
    bounds, shares, counts = shares_beyond(scores, labels, positive=True)
    np.testing.assert_allclose(bounds, [0.9, 0.5, 0.1])
    np.testing.assert_allclose(shares, [1, 2 / 3, 0.5])
    assert counts.tolist() == [1, 3, 4]
    bounds, shares, counts = shares_beyond(scores, labels, positive=False)
    np.testing.assert_allclose(bounds, [0.1, 0.5, 0.9])
    np.testing.assert_allclose(shares, [1, 2 / 3, 0.5])
    assert counts.tolist() == [1, 3, 4]
