"""Two samples compared: how far apart, how far chance alone takes them, and what the limits say.

The Kolmogorov-Smirnov distance is the largest difference of two distribution functions (`scipy.stats.ks_2samp`):
0.1 says that below some value the share of the sample has moved by 10 points.

Small samples differ by chance. `noise` is the distance that two samples of these sizes from one and the same
distribution stay below in 999 of 1,000 cases: for Kolmogorov-Smirnov, by its asymptotic distribution,
sqrt(-ln(0.001 / 2) / 2) = 1.949 times sqrt((n + m) / (n m)); for a share 3.29 standard errors of the difference. A
distance within the noise is never a warning or a stop. With fewer than 20 on a side nothing is measured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.config.nightly import Limit

Verdict = Literal["ok", "warn", "stop", "not measured"]
Values = tuple[float | None, float | None]
LEAST = 20
SIGNIFICANCE = 0.001
KS_FACTOR = math.sqrt(-math.log(SIGNIFICANCE / 2) / 2)
SHARE_FACTOR = 3.29


@dataclass(frozen=True)
class Measure:
    """One thing compared.

    Attributes:
        name: its key in the config's section `drift`.
        what: in words.
        tonight, in_use: the shares, or the medians of what is distributed; None where there is nothing.
        distance: 0 to 1; None if it was not measured.
        noise: what chance alone explains at these sample sizes.
        note: why it was not measured, or why a distance above a limit is none to act on.
    """

    name: str
    what: str
    tonight: float | None
    in_use: float | None
    distance: float | None
    noise: float | None
    warn: float | None
    stop: float | None
    verdict: Verdict
    note: str = ""


def distributions(name: str, what: str, limit: Limit, tonight: np.ndarray, in_use: np.ndarray) -> Measure:
    """Two samples, (n,) and (m,), by their Kolmogorov-Smirnov distance; their medians stand for them."""
    from scipy.stats import ks_2samp

    first, second = (float(np.median(part)) if len(part) else None for part in (tonight, in_use))
    sizes = len(tonight), len(in_use)
    if min(sizes) < LEAST:
        return _unmeasured(name, what, limit, (first, second), sizes)
    # Of its result the statistic alone is used; "exact" would only cost time for the p-value.
    statistic, _ = ks_2samp(tonight, in_use, method="asymp")
    distance = float(statistic)  # type: ignore[arg-type]  # scipy's result is declared as a bare tuple
    return _judged(name, what, limit, (first, second), distance, KS_FACTOR * _scale(sizes))


def shares(name: str, what: str, limit: Limit, tonight: tuple[int, int], in_use: tuple[int, int]) -> Measure:
    """Two shares, each (how many, of how many), by their difference."""
    first, second = (part / whole if whole else None for part, whole in (tonight, in_use))
    sizes = tonight[1], in_use[1]
    if first is None or second is None or min(sizes) < LEAST:
        return _unmeasured(name, what, limit, (first, second), sizes)
    pooled = (tonight[0] + in_use[0]) / sum(sizes)
    noise = SHARE_FACTOR * math.sqrt(pooled * (1 - pooled)) * _scale(sizes)
    return _judged(name, what, limit, (first, second), abs(first - second), noise)


def _scale(sizes: tuple[int, int]) -> float:
    return math.sqrt(sum(sizes) / math.prod(sizes))


def _judged(name: str, what: str, limit: Limit, values: Values, distance: float, noise: float) -> Measure:
    verdict: Verdict = "ok"
    if limit.warn is not None and distance > limit.warn:
        verdict = "warn"
    if limit.stop is not None and distance > limit.stop:
        verdict = "stop"
    if verdict != "ok" and distance <= noise:
        note = f"beyond {verdict}, but chance alone takes so few rows up to {noise:.3f}"
        return Measure(name, what, *values, distance, noise, limit.warn, limit.stop, "ok", note)
    return Measure(name, what, *values, distance, noise, limit.warn, limit.stop, verdict)


def _unmeasured(name: str, what: str, limit: Limit, values: Values, sizes: tuple[int, int]) -> Measure:
    note = f"{sizes[0]} tonight and {sizes[1]} in the run in use; fewer than {LEAST} tell nothing"
    return Measure(name, what, *values, None, None, limit.warn, limit.stop, "not measured", note)
