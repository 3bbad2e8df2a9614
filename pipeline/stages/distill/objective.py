"""The student's objective as the config weighs it: which terms take part, and what they are for a batch.

`flip` is w_ce L_ce + w_mcl L_mcl + w_dist L_dist; `contrastive` names what stands for L_mcl. A baseline is
w_ce L_ce + w_mcl times its own contrastive term, `sft` is L_ce alone: no L_dist, no texts alone, no soft targets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.objectives.alignment import alignment_loss, matrix_alignment_loss
from models.objectives.answer import answer_loss
from models.objectives.arccse import arccse_loss
from models.objectives.cosent import cosent_loss
from models.objectives.infonce import infonce_loss
from models.objectives.kdmcse import kdmcse_loss
from models.objectives.margin import margin_loss
from models.objectives.mse import mse_loss
from models.objectives.screen import screen, unscreened
from pipeline.stages.distill.config import DistillConfig
from pipeline.stages.distill.pair_data import PairData

BALANCE_STEPS = 50
# A term that has been smaller than this for so long is as good as learnt: it is not blown up any further.
SMALLEST_SCALE = 1e-3


def weights(config: DistillConfig) -> dict[str, float]:
    """The terms that take part, with their weights; `mcl` is the contrastive term, whichever it is."""
    if config.objective == "zero_shot":
        return {}
    if config.objective == "sft":
        return {"ce": 1.0}
    terms = {name: weight for name, weight in config.weights.model_dump().items() if weight > 0}
    if config.objective != "flip":
        terms.pop("dist", None)
    return terms


def shares(
    config: DistillConfig, terms: Mapping[str, Tensor], rows: Sequence[Mapping[str, Any]]
) -> dict[str, float]:
    """What each term of a step is multiplied by: its weight, over its own scale where `balance` says so.

    The scale is the mean of the term over this step and the last 49 of its kind. It is read from the training
    log, which every checkpoint holds, so a resumed run weighs its terms as an undisturbed one. A term that stands
    alone in its step has nothing to be balanced against.

    Args:
        terms: of this step. rows: of the training log so far, with the terms' columns; null for an absent one.
    """
    wanted = weights(config)
    share = {name: wanted[name] for name in terms}
    if config.balance == "none" or len(terms) == 1:
        return share
    before = [row for row in rows[-(BALANCE_STEPS - 1) :] if all(row.get(name) is not None for name in terms)]
    return {
        name: share[name] / max(fmean([value.item(), *(row[name] for row in before)]), SMALLEST_SCALE)
        for name, value in terms.items()
    }


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
        answers = logits if config.prompt.orders == "both" else logits[: len(rows)]
        terms["ce"] = _answer_term(answers.float(), targets, data, rows, config)
    if wanted.keys() == {"ce"}:
        return terms
    z_a, z_b = z.float().chunk(2)
    similarity, teacher = z_a @ z_b.T, data.teacher(rows).to(z.device)
    same = data.same(rows).to(z.device)
    if "mcl" in wanted:
        grades = None if data.grades is None else torch.from_numpy(data.grades[rows]).to(z.device)
        terms["mcl"] = contrastive_term(similarity, teacher, targets, same, config, bounds, grades)
    if "dist" in wanted:
        screened = screen(teacher, bounds[1], same)
        terms["dist"] = alignment_loss(similarity, teacher, screened, temperature=config.dist_temperature)
    return terms


def answer_share(config: DistillConfig) -> float:
    """The teacher's share in the answer's target; a baseline learns its answer from the labels alone."""
    return config.soft_targets if config.objective == "flip" else 0.0


def _answer_term(
    logits: Tensor, targets: Tensor, data: PairData, rows: np.ndarray, config: DistillConfig
) -> Tensor:
    share = answer_share(config)
    if not share or data.probabilities is None:
        return answer_loss(logits, targets, share=share)
    return answer_loss(logits, targets, torch.from_numpy(data.probabilities[rows]).to(logits.device), share=share)


def contrastive_term(
    similarity: Tensor,
    teacher: Tensor,
    targets: Tensor,
    same: Tensor,
    config: DistillConfig,
    bounds: tuple[float, float],
    grades: Tensor | None = None,
) -> Tensor:
    """The term that the config names: `contrastive` of `flip`, else the baseline itself.

    `margin` and `kdmcse` leave out the texts of the batch that the teacher finds alike, `infonce` and `arccse`
    only the known partners; `cosent` and `mse` look at the pairs alone.

    Args:
        similarity, teacher: s_ij and t_ij, (n, n). targets: (n,). same: from `known_together`, (n, n).
        bounds: tau_pos and tau_neg. grades: (n,), which `margin` alone reads.
    """
    margins = config.margins
    tau = margins.temperature
    match config.contrastive if config.objective == "flip" else config.objective:
        case "margin":
            return margin_loss(
                similarity,
                teacher,
                targets,
                screen(teacher, bounds[1], same),
                tau_pos=bounds[0],
                tau_neg=bounds[1],
                m_pos=margins.positive,
                m_neg=margins.negative,
                temperature=tau,
                epsilon=margins.intra_epsilon,
                kappa=margins.intra_kappa,
                grades=grades,
            )
        case "infonce":
            return infonce_loss(similarity, targets, unscreened(same), temperature=tau)
        case "arccse":
            return arccse_loss(similarity, targets, unscreened(same), margin=margins.positive, temperature=tau)
        case "kdmcse":
            screened = screen(teacher, bounds[1], same)
            return kdmcse_loss(similarity, teacher, targets, screened, margin=margins.negative, temperature=tau)
        case "cosent":
            return cosent_loss(similarity, targets, scale=1 / tau)
        case "mse":
            return mse_loss(similarity, teacher)
        case name:
            raise ValueError(f"no contrastive term is called {name}")


def text_terms(z: Tensor, data: PairData, rows: np.ndarray, config: DistillConfig) -> dict[str, Tensor]:
    """L_dist for a batch of texts alone: z (n, width), rows the texts' places in the data, (n,)."""
    vectors = torch.from_numpy(data.vectors[rows]).to(z.device)
    z = z.float()
    return {"dist": matrix_alignment_loss(z @ z.T, vectors @ vectors.T, temperature=config.dist_temperature)}
