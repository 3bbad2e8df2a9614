"""Cross-entropy of the answer word, hard and softened by the teacher."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.objectives.answer import answer_loss


def parts(seed: int, n: int = 5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.normal(size=(2 * n, 2)), random.integers(0, 2, n), random.random(n)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_equals_numpy(seed: int, share: float):
    logits, y, p = parts(seed)
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    q = (1 - share) * y + share * p
    expected = -np.mean([(1 - q[i % 5]) * log_p[i, 0] + q[i % 5] * log_p[i, 1] for i in range(10)])
    found = answer_loss(torch.from_numpy(logits), torch.from_numpy(y), torch.from_numpy(p), share=share)
    assert found.item() == pytest.approx(expected, rel=1e-12)


@given(seed=st.integers(0, 1000), share=st.floats(0, 1))
@settings(max_examples=25, deadline=None)
def test_a_teacher_as_sure_as_the_label_changes_nothing(seed: int, share: float):
    logits, y, _ = map(torch.from_numpy, parts(seed))
    assert answer_loss(logits, y, y.double(), share=share).item() == pytest.approx(answer_loss(logits, y).item())


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_gradients(share: float):
    logits, y, p = map(torch.from_numpy, parts(1))
    assert torch.autograd.gradcheck(lambda x: answer_loss(x, y, p, share=share), logits.requires_grad_())


def test_the_loss_is_least_at_the_mixed_probability():
    """With a share of 0.5, label 1 and a teacher at 0.6, the best answer is 0.8."""
    logits = torch.zeros(2, 2, dtype=torch.float64, requires_grad=True)
    with torch.no_grad():
        logits[:, 1] = torch.logit(torch.tensor(0.8, dtype=torch.float64))
    answer_loss(logits, torch.tensor([1]), torch.tensor([0.6], dtype=torch.float64), share=0.5).backward()
    assert logits.grad is not None
    assert logits.grad.abs().max() < 1e-9


def test_the_pairs_order_and_the_prompts_order_do_not_matter():
    logits, y, p = map(torch.from_numpy, parts(2))
    order = torch.tensor([3, 0, 4, 1, 2])
    moved = logits[torch.cat([order + 5, order])]
    expected = answer_loss(logits, y, p, share=0.3).item()
    assert answer_loss(moved, y[order], p[order], share=0.3).item() == pytest.approx(expected)


def test_extreme_logits_stay_finite():
    logits = torch.tensor([[1e4, -1e4], [-1e4, 1e4]], requires_grad=True)
    loss = answer_loss(logits, torch.tensor([1]), torch.tensor([0.5]), share=0.5)
    loss.backward()
    assert torch.isfinite(loss)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_a_share_needs_probabilities():
    with pytest.raises(ValueError, match="needs the teacher's probabilities"):
        answer_loss(torch.zeros(2, 2), torch.tensor([1]), share=0.5)
