"""The squared error of the pairs' own similarities."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.objectives.mse import mse_loss
from tests.models.objectives.cases import case


@pytest.mark.parametrize("seed", range(4))
def test_equals_numpy(seed: int):
    batch = case(seed)
    s, t, *_ = batch.numpy()
    expected = np.mean([(s[i, i] - t[i, i]) ** 2 for i in range(len(s))])
    assert mse_loss(batch.student, batch.teacher).item() == pytest.approx(expected, rel=1e-12)


def test_the_rest_of_the_batch_does_not_count():
    batch = case(0)
    other = replace(batch, student=batch.student.triu().tril(), teacher=batch.teacher.triu())
    assert mse_loss(other.student, other.teacher).item() == mse_loss(batch.student, batch.teacher).item()
