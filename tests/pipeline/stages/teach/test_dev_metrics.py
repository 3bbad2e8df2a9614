from __future__ import annotations

import numpy as np
import pytest

from data.errors import FlipkdError
from pipeline.stages.teach.dev_metrics import metrics_of


def test_metrics_by_hand() -> None:
    found = metrics_of([1, 1, 0, 1, 0], np.array([0.9, 0.8, 0.6, 0.4, 0.2]))
    # Of six comparisons one is lost; calling four pairs matches gives precision 3/4 and recall 1.
    assert found == pytest.approx(
        {
            "auroc": 5 / 6,
            "average_precision": (1 + 1 + 3 / 4) / 3,
            "threshold": 0.3,
            "f1": 6 / 7,
            "accuracy": 4 / 5,
        }
    )


def test_scores_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(FlipkdError, match="not numbers"):
        metrics_of([1, 0], np.array([0.5, np.nan]))
