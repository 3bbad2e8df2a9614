"""Several teachers as one: their cosines standardised and averaged.

With t_k the cosine of teacher k, mu_k and sd_k its mean and standard deviation over some pairs, and weights w_k
that sum to 1, the standardised average is

    sum_k w_k (t_k - mu_k) / sd_k  =  (sum_k a_k) sum_k c_k t_k - constant,   a_k = w_k / sd_k,   c_k = a_k / sum a

So up to an affine map, which changes no order and no bound found from the scores, it is sum_k c_k t_k. And that is
the cosine of one vector: T_k(x) of all teachers side by side, each multiplied by sqrt(c_k). Its length is 1, since
each T_k(x) has length 1 and the c_k sum to 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from data.errors import FlipkdError


def weights_of(given: Sequence[float], aurocs: Sequence[float] | None) -> np.ndarray:
    """The weights w_k, float64 (K,), which sum to 1.

    Args:
        given: of each teacher, above 0.
        aurocs: of each teacher on dev, in [0, 1]; with them w_k is proportional to given_k max(auroc_k - 0.5, 0):
            a teacher that tells nothing gets nothing. None: proportional to given_k.

    Raises:
        FlipkdError: no teacher is better than chance.
    """
    weights = np.asarray(given, dtype=np.float64)
    if aurocs is not None:
        weights = weights * np.maximum(np.asarray(aurocs, dtype=np.float64) - 0.5, 0)
    if not weights.sum() > 0:
        raise FlipkdError(
            "teach.combine: auroc weighs the teachers by what they have above chance on dev, and none is; "
            "take other models, or `combine: mean`"
        )
    return weights / weights.sum()


def shares_of(weights: np.ndarray, deviations: np.ndarray) -> np.ndarray:
    """The shares c_k of the cosines in their average, float64 (K,), which sum to 1.

    Args:
        weights: w_k, (K,), at least 0.
        deviations: sd_k, (K,), above 0.
    """
    shares = weights / deviations
    return shares / shares.sum()


def join(vectors: Sequence[np.ndarray], shares: Sequence[float], out: np.ndarray) -> None:
    """Put the vectors of all teachers side by side, each times the root of its share.

    Args:
        vectors: of each teacher (n, d_k), float32, unit vectors, row i of all for text i.
        shares: c_k, which sum to 1.
        out: float32 (n, sum of d_k), filled with unit vectors.
    """
    start = 0
    for part, share in zip(vectors, shares, strict=True):
        end = start + part.shape[1]
        out[:, start:end] = part * np.float32(np.sqrt(share))
        start = end
