"""What holds for every objective on similarities, whichever it is."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import Tensor

import models.objectives
from tests.models.objectives.cases import OBJECTIVES, Case, case, with_student

each_objective = pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES.keys())
Objective = Callable[[Case, float], Tensor]
# Objectives that say nothing where there is no match, or nothing to tell it from.
CONTRASTIVE = ("margin", "infonce", "arccse", "kdmcse", "cosent")


def value_and_gradient(objective: Objective, batch: Case) -> tuple[Tensor, Tensor]:
    student = batch.student.clone().requires_grad_()
    loss = objective(with_student(batch, student), 0.05)
    loss.backward()
    assert student.grad is not None
    return loss.detach(), student.grad


@each_objective
@pytest.mark.parametrize("seed", range(3))
def test_gradients(objective: Objective, seed: int):
    """At a temperature where no exponential is too small to be seen by a finite difference."""
    batch = case(seed, 5)
    student = batch.student.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda s: objective(with_student(batch, s), 0.5), student)


@each_objective
@given(order=st.permutations(range(7)), seed=st.integers(0, 5))
@settings(max_examples=12, deadline=None)
def test_permuting_the_batch_changes_nothing(objective: Objective, order: list[int], seed: int):
    batch = case(seed)
    assert objective(batch.moved(order), 0.05).item() == pytest.approx(objective(batch, 0.05).item(), rel=1e-9)


@each_objective
@given(
    values=hnp.arrays(np.float64, (4, 4), elements=st.sampled_from([-1.0, 1.0, 0.0, 1 - 1e-9, -1 + 1e-9])),
    precision=st.sampled_from([torch.float32, torch.float64]),
)
@settings(max_examples=20, deadline=None)
def test_extreme_cosines_give_finite_losses_and_gradients(
    objective: Objective, values: np.ndarray, precision: torch.dtype
):
    batch = case(0, 4)
    # Vectors of length one give cosines that rounding may put just past 1.
    student = torch.from_numpy(values).to(precision) * (1 + torch.finfo(precision).eps)
    loss, gradient = value_and_gradient(objective, with_student(batch, student))
    assert torch.isfinite(loss)
    assert torch.isfinite(gradient).all()


@each_objective
@given(seed=st.integers(0, 1000), n=st.integers(1, 6))
@settings(max_examples=12, deadline=None)
def test_losses_are_at_least_zero(objective: Objective, seed: int, n: int):
    loss, gradient = value_and_gradient(objective, case(seed, n))
    assert loss >= -1e-12
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("name", CONTRASTIVE)
@pytest.mark.parametrize("target", [0, 1])
def test_one_pair_has_nothing_to_be_told_from(name: str, target: int):
    loss, gradient = value_and_gradient(OBJECTIVES[name], case(5, 1, [target]))
    assert loss.item() == 0
    assert gradient.tolist() == [[0.0]]


@pytest.mark.parametrize("name", ["infonce", "arccse", "kdmcse"])
def test_a_batch_without_a_match_has_no_contrastive_loss(name: str):
    loss, gradient = value_and_gradient(OBJECTIVES[name], case(5, 3, [0, 0, 0]))
    assert loss.item() == 0
    assert not gradient.any()


@pytest.mark.parametrize("targets", [[0, 0, 0], [1, 1, 1]])
def test_cosent_orders_nothing_within_one_class(targets: list[int]):
    loss, gradient = value_and_gradient(OBJECTIVES["cosent"], case(5, 3, targets))
    assert loss.item() == 0
    assert not gradient.any()


@each_objective
@pytest.mark.parametrize("targets", [[0], [1], [0, 0, 0], [1, 1, 1]])
def test_a_batch_with_one_class_or_nothing_left_to_compare_is_defined(objective: Objective, targets: list[int]):
    batch = case(5, len(targets), targets)
    nothing = torch.zeros_like(batch.screened)
    for each in (batch, replace(batch, screened=nothing, negatives=nothing)):
        loss, gradient = value_and_gradient(objective, each)
        assert torch.isfinite(loss)
        assert torch.isfinite(gradient).all()


@each_objective
def test_only_the_student_is_taught(objective: Objective):
    """The teacher's similarities come without a gradient, and the loss asks for none."""
    batch = case(2)
    loss = objective(with_student(batch, batch.student.clone().requires_grad_()), 0.05)
    assert loss.shape == ()
    assert batch.teacher.grad is None


@pytest.mark.parametrize("module", [found.name for found in pkgutil.iter_modules(models.objectives.__path__)])
def test_the_examples_in_the_docstrings_run(module: str):
    found = doctest.testmod(importlib.import_module(f"models.objectives.{module}"))
    assert found.attempted > 0
    assert found.failed == 0
