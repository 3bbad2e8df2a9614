"""Distances between two nights' data, and what of them is chance."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstwobign, norm

from pipeline.config.nightly import Limit
from pipeline.drift.measures import KS_FACTOR, LEAST, SHARE_FACTOR, distributions, shares


def test_few_rows_are_not_judged() -> None:
    limit = Limit(warn=0.1, stop=0.4)
    few = distributions("text_lengths", "lengths", limit, np.zeros(LEAST - 1), np.ones(1000))
    assert (few.verdict, few.distance) == ("not measured", None)
    assert "19 tonight and 1000" in few.note
    nothing = shares("label_rate", "positives", limit, (0, 0), (5, 10))
    assert (nothing.verdict, nothing.tonight, nothing.in_use) == ("not measured", None, 0.5)
    small = shares("label_rate", "positives", limit, (12, 20), (8, 20))
    assert (small.verdict, small.distance) == ("ok", pytest.approx(0.2))
    assert small.note.startswith("beyond warn, but chance alone takes so few rows up to 0.5")
    assert shares("label_rate", "positives", limit, (1200, 2000), (800, 2000)).verdict == "warn"
    assert shares("label_rate", "positives", limit, (1600, 2000), (400, 2000)).verdict == "stop"
    assert shares("rejected", "rejected", Limit(), (2000, 2000), (0, 2000)).verdict == "ok"


def test_noise_is_what_chance_does() -> None:
    assert pytest.approx(kstwobign.isf(0.001), abs=1e-3) == KS_FACTOR
    assert pytest.approx(norm.isf(0.0005), abs=1e-2) == SHARE_FACTOR
    draw, limit = np.random.default_rng(0), Limit(warn=0.0)
    found = [distributions("x", "x", limit, draw.normal(size=60), draw.normal(size=90)) for _ in range(500)]
    assert sum(measure.verdict == "warn" for measure in found) <= 3
