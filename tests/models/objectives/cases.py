"""Batches for the tests of the objectives, and every objective on similarities as a function of a batch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from models.objectives.alignment import alignment_loss
from models.objectives.arccse import arccse_loss
from models.objectives.cosent import cosent_loss
from models.objectives.infonce import infonce_loss
from models.objectives.kdmcse import kdmcse_loss
from models.objectives.margin import margin_loss
from models.objectives.mse import mse_loss
from models.objectives.screen import screen, unscreened

TAU_POS, TAU_NEG = 0.4, 0.6


@dataclass(frozen=True)
class Case:
    """A batch of n pairs: `negatives` are the known strangers, `screened` those that the teacher agrees on."""

    student: Tensor
    teacher: Tensor
    targets: Tensor
    negatives: Tensor
    screened: Tensor

    def numpy(self) -> tuple[np.ndarray, ...]:
        return tuple(getattr(self, field.name).detach().numpy() for field in fields(self))

    def moved(self, order: list[int]) -> Case:
        """The same pairs in another order."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return Case(**{k: v[order][:, order] if v.dim() == 2 else v[order] for k, v in values.items()})


def case(seed: int, n: int = 7, targets: list[int] | None = None) -> Case:
    """Random similarities of float64, well inside (-1, 1); some texts of the batch belong together."""
    random = np.random.default_rng(seed)
    student, teacher = (torch.from_numpy(random.uniform(-0.95, 0.95, (n, n))) for _ in range(2))
    labels = torch.from_numpy(random.integers(0, 2, n)) if targets is None else torch.tensor(targets)
    same = torch.from_numpy(random.random((n, n)) < 0.1)
    return Case(student, teacher, labels, unscreened(same), screen(teacher, TAU_NEG, same))


def with_student(batch: Case, student: Tensor) -> Case:
    return replace(batch, student=student)


# Each with its own kind of negatives, as the pipeline calls it.
OBJECTIVES: dict[str, Callable[[Case, float], Tensor]] = {
    "margin": lambda b, tau: margin_loss(
        b.student, b.teacher, b.targets, b.screened, tau_pos=TAU_POS, tau_neg=TAU_NEG, temperature=tau
    ),
    "alignment": lambda b, tau: alignment_loss(b.student, b.teacher, b.screened, temperature=tau),
    "infonce": lambda b, tau: infonce_loss(b.student, b.targets, b.negatives, temperature=tau),
    "arccse": lambda b, tau: arccse_loss(b.student, b.targets, b.negatives, margin=0.2, temperature=tau),
    "kdmcse": lambda b, tau: kdmcse_loss(b.student, b.teacher, b.targets, b.screened, margin=0.2, temperature=tau),
    "cosent": lambda b, tau: cosent_loss(b.student, b.targets, scale=1 / tau),
    "mse": lambda b, tau: mse_loss(b.student, b.teacher),
}


def numpy_contrast(positives: np.ndarray, logits: np.ndarray, targets: np.ndarray, negatives: np.ndarray) -> float:
    """Symmetric InfoNCE by loops: -log of the positive's share of the exponentials."""
    n = len(positives)
    found = []
    for i in range(n):
        if targets[i] == 1:
            for others in (
                [logits[i, j] for j in range(n) if negatives[i, j]],
                [logits[j, i] for j in range(n) if negatives[j, i]],
            ):
                own = math.exp(positives[i])
                found.append(-math.log(own / (own + sum(math.exp(other) for other in others))))
    return sum(found) / len(found) if found else 0.0
