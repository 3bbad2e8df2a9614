"""k-means judged by ids: what is apart is found, what is mixed is not, and the numbers are scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import completeness_score, homogeneity_score

from pipeline.evaluation import clustering as measured
from pipeline.evaluation.clustering import METRICS, clustering


def vectors(ids: list[str], spread: float, seed: int = 0) -> np.ndarray:
    draw = np.random.default_rng(seed)
    centres = {name: draw.normal(size=16) for name in sorted(set(ids))}
    found = np.array([centres[name] + spread * draw.normal(size=16) for name in ids])
    return found / np.linalg.norm(found, axis=1, keepdims=True)


IDS = [f"entry {n % 5}" for n in range(100)]


def test_what_is_apart_is_found_and_what_is_mixed_is_not() -> None:
    apart, mixed = clustering(vectors(IDS, 0.05), IDS, 3), clustering(vectors(IDS, 20.0), IDS, 3)
    assert apart.keys() == mixed.keys() == METRICS.keys()
    assert all(found["value"] > 0.8 for found in apart.values())
    assert abs(mixed["adjusted_rand"]["value"]) < 0.1
    assert abs(mixed["adjusted_mutual_information"]["value"]) < 0.1
    assert mixed["v_measure"]["value"] < apart["v_measure"]["value"]
    assert all(found["deviation"] >= 0 for found in apart.values())


def test_the_v_measure_is_the_harmonic_mean_of_its_two_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.arange(100) % 7

    class Fixed:
        def __init__(self, k: int, **options: object):
            assert k == 5

        def fit_predict(self, _: np.ndarray) -> np.ndarray:
            return labels

    monkeypatch.setattr(measured, "KMeans", Fixed)
    found = clustering(vectors(IDS, 1.0), IDS, 0)["v_measure"]
    h, c = homogeneity_score(IDS, labels), completeness_score(IDS, labels)
    assert found["value"] == pytest.approx(2 * h * c / (h + c))
    assert found["deviation"] == pytest.approx(0)


def test_the_same_seed_gives_the_same_numbers() -> None:
    found = vectors(IDS, 0.8)
    assert clustering(found, IDS, 1) == clustering(found, IDS, 1)
    assert clustering(found, IDS, 1) != clustering(found, IDS, 100)
