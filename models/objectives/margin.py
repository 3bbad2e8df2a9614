"""L_mcl: margin-aware contrastive learning with two margin zones that the teacher adapts.

After flipped knowledge distillation (Li et al., ACL 2025, arXiv 2507.05617), in this project's reading: angular
margins as in ArcCSE (Zhang et al., ACL 2022), the comparison of all positives with all negatives as in CoSENT.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from models.objectives.angle import shifted_cosine
from models.objectives.contrast import contrast, log_one_plus_sum_exp


def positive_zone(teacher: Tensor, tau_pos: float, margin: float) -> Tensor:
    """m_pos u, u = clip((t - tau_pos) / (1 - tau_pos), 0, 1): the surer the teacher, the larger; radians."""
    return margin * ((teacher - tau_pos) / max(1 - tau_pos, 1e-6)).clamp(0, 1)


def negative_zone(teacher: Tensor, tau_neg: float, margin: float) -> Tensor:
    """m_neg v, v = clip((tau_neg - t) / (tau_neg + 1), 0, 1): the surer that they differ, the larger; radians."""
    return margin * ((tau_neg - teacher) / max(tau_neg + 1, 1e-6)).clamp(0, 1)


def margin_loss(
    student: Tensor,
    teacher: Tensor,
    targets: Tensor,
    screened: Tensor,
    *,
    tau_pos: float,
    tau_neg: float,
    m_pos: float = 0.2,
    m_neg: float = 0.2,
    temperature: float = 0.05,
    epsilon: float = 0.05,
    kappa: float = 0.5,
    grades: Tensor | None = None,
) -> Tensor:
    """L_mcl = inter-class InfoNCE + inter-class order + intra-class order.

        logit+_i  = cos(theta_ii + m_pos u_i) / tau        logit-_ij = cos(theta_ij - m_neg v_ij) / tau
        InfoNCE   = mean over positives i, over rows and columns, of log(1 + sum_j exp(logit-_ij - logit+_i))
        order     = log(1 + sum over positives p, negatives n of exp(logit-_nn - logit+_p))
        intra     = mean over pairs i, j of one class with t_i - t_j > eps of max(0, s_j - s_i + kappa (t_i - t_j))

    A sum over nothing is 0, so a batch with one class, or with one pair, is defined. With grades, two pairs of a
    class whose grades g differ are ordered by these, whatever the teacher finds, and i with g_i > g_j keeps a gap
    of kappa max(t_i - t_j, eps).

    Args:
        student: s_ij = cos(z(a_i), z(b_j)), (n, n), in [-1, 1].
        teacher: t_ij, (n, n), in [-1, 1]; no gradient.
        targets: (n,), 1 for a match.
        screened: the in-batch negatives, (n, n), bool, from `screen`.
        tau_pos, tau_neg: the bounds of the dual threshold.
        m_pos, m_neg: the largest margins, radians, from 0 to pi / 2.
        temperature: tau of the logits.
        epsilon: pairs of a class that are no farther apart than this in teacher score are not ordered.
        kappa: share of the teacher's gap that the student must keep.
        grades: (n,), NaN for a pair without one.

    Returns:
        A number of 0 or more.

    >>> import torch
    >>> student, teacher = torch.tensor([[0.9, 0.1], [0.2, 0.3]]), torch.tensor([[0.8, 0.0], [0.5, 0.1]])
    >>> screened = ~torch.eye(2, dtype=torch.bool)
    >>> margin_loss(student, teacher, torch.tensor([1, 0]), screened, tau_pos=0.4, tau_neg=0.6, temperature=0.5)
    tensor(0.5720)
    """
    positive = targets == 1
    s, t = student.diagonal(), teacher.diagonal()
    logit_pos = shifted_cosine(s, positive_zone(t, tau_pos, m_pos)) / temperature
    logit_neg = shifted_cosine(student, -negative_zone(teacher, tau_neg, m_neg)) / temperature
    own_neg = logit_neg.diagonal()
    info_nce = contrast(logit_pos, logit_neg, targets, screened)
    pairwise = own_neg[~positive].unsqueeze(0) - logit_pos[positive].unsqueeze(1)
    order = log_one_plus_sum_exp(pairwise.flatten().unsqueeze(0)).sum()

    gap = t.unsqueeze(1) - t.unsqueeze(0)
    ordered = gap > epsilon
    if grades is not None:
        higher = grades.unsqueeze(1) > grades.unsqueeze(0)  # NaN is neither higher nor lower
        ordered = higher | (ordered & ~higher.T)
        gap = torch.where(higher, gap.clamp(min=epsilon), gap)
    ordered &= positive.unsqueeze(1) == positive.unsqueeze(0)
    hinge = functional.relu(s.unsqueeze(0) - s.unsqueeze(1) + kappa * gap)
    intra = (hinge * ordered).sum() / ordered.sum().clamp(min=1)
    return info_nce + order + intra
