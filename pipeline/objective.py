"""The student's objective as the config weighs it: which terms take part, and what they are for a batch."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from models.objectives.alignment import alignment_loss, matrix_alignment_loss
from models.objectives.answer import answer_loss
from models.objectives.margin import margin_loss
from models.objectives.screen import screen
from pipeline.config import DistillConfig
from pipeline.training_data import PairData


def weights(config: DistillConfig) -> dict[str, float]:
    """The terms that take part, with their weights."""
    if config.objective == "sft":
        return {"ce": 1.0}
    return {name: weight for name, weight in config.weights.model_dump().items() if weight > 0}


def pair_terms(
    z: Tensor,
    logits: Tensor,
    data: PairData,
    rows: np.ndarray,
    config: DistillConfig,
    bounds: tuple[float, float],
) -> dict[str, Tensor]:
    """The terms for a batch of n pairs, before their weights.

    Args:
        z, logits: the student's output for both orders, (2 n, width) and (2 n, 2).
        rows: which pairs of the data they are, (n,).
        bounds: tau_pos and tau_neg.
    """
    wanted = weights(config)
    targets = torch.from_numpy(data.targets[rows]).to(z.device)
    terms: dict[str, Tensor] = {}
    if "ce" in wanted:
        terms["ce"] = answer_loss(logits.float(), targets)
    if wanted.keys() == {"ce"}:
        return terms
    z_a, z_b = z.float().chunk(2)
    similarity, teacher = z_a @ z_b.T, data.teacher(rows).to(z.device)
    screened = screen(teacher, bounds[1], data.same(rows).to(z.device))
    if "mcl" in wanted:
        margins = config.margins
        terms["mcl"] = margin_loss(
            similarity,
            teacher,
            targets,
            screened,
            tau_pos=bounds[0],
            tau_neg=bounds[1],
            m_pos=margins.positive,
            m_neg=margins.negative,
            temperature=margins.temperature,
            epsilon=margins.intra_epsilon,
            kappa=margins.intra_kappa,
        )
    if "dist" in wanted:
        terms["dist"] = alignment_loss(similarity, teacher, screened, temperature=config.dist_temperature)
    return terms


def text_terms(z: Tensor, data: PairData, rows: np.ndarray, config: DistillConfig) -> dict[str, Tensor]:
    """L_dist for a batch of texts alone: z (n, width), rows the texts' places in the data, (n,)."""
    vectors = torch.from_numpy(data.vectors[rows]).to(z.device)
    z = z.float()
    return {"dist": matrix_alignment_loss(z @ z.T, vectors @ vectors.T, temperature=config.dist_temperature)}
