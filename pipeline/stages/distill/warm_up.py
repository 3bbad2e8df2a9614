"""The encoder's warm-up: A alone learns the teacher's similarities, on activations that are kept.

Before the first step every B is 0, so the student's hidden states are the base's, and a text's vector is a linear
function of what the base computes: z(x) = normalise(concat over sites of A_site pool(input_site(x))). The pooled
inputs are kept (`models.student.frozen`): an epoch costs no forward pass, but a small matrix product a text.
"""

from __future__ import annotations

import logging

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.nn import functional

from models.objectives.alignment import matrix_alignment_loss
from models.student.batching import length_batches
from models.student.frozen import Activations
from models.student.student import Student
from pipeline.stages.distill.config import DistillConfig
from pipeline.stages.distill.pair_data import PairData
from pipeline.stages.distill.schedule import linear_schedule

log = logging.getLogger("flipkd.distill")


def warm_up(student: Student, data: PairData, kept: Activations, config: DistillConfig, seed: int) -> None:
    """Train A of every site on the whole similarity matrices of batches of distinct texts; part of L_dist.

    The last batch of an epoch is left out where it is a single text.
    """
    settings = config.warm_up
    encoders = student.encoders()
    device = encoders[0].device
    vectors = torch.from_numpy(data.vectors).to(device)
    optimizer = torch.optim.AdamW(encoders, lr=settings.learning_rate, weight_decay=0.0)
    alike = [1] * len(data.texts)  # their lengths do not matter here
    epochs = [length_batches(alike, settings.batch_texts, seed, epoch) for epoch in range(settings.epochs)]
    batches = [rows for epoch in epochs for rows in epoch]
    for step, rows in enumerate(batches):
        order = np.sort(rows)
        z = encode(student, kept, order)
        teacher = vectors[torch.from_numpy(order).to(device)]
        loss = matrix_alignment_loss(z @ z.T, teacher @ teacher.T, temperature=config.dist_temperature)
        optimizer.zero_grad()
        loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * linear_schedule(step, len(batches) // 20, len(batches))
        optimizer.step()
    optimizer.zero_grad()


def encode(student: Student, kept: Activations, texts: np.ndarray) -> Tensor:
    """z of some texts while every B is 0, (texts, width), unit vectors."""
    encoders = student.encoders()
    pooled = kept.inputs(texts).to(encoders[0].device)
    parts = [
        functional.linear(pooled[:, kept.columns[site]], a)
        for site, a in zip(student.sites, encoders, strict=True)
    ]
    return functional.normalize(torch.cat(parts, dim=1), dim=1)


@torch.no_grad()
def encoder_auroc(student: Student, pairs: PairData, kept: Activations) -> float:
    """AUROC of the encoder on labelled pairs while every B is 0."""
    z = encode(student, kept, np.arange(len(pairs.texts)))
    cosine = (z[torch.from_numpy(pairs.first)] * z[torch.from_numpy(pairs.second)]).sum(1)
    return float(roc_auc_score(pairs.targets, cosine.cpu().numpy()))
