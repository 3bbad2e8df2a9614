"""What the student in training says of pairs: the decoder's probabilities and the encoder's cosines."""

from __future__ import annotations

import numpy as np
import torch

from models.student.frozen import Activations
from models.student.student import Student
from pipeline.stages.distill.activations import make_batch
from pipeline.stages.distill.pair_data import PairData


@torch.inference_mode()
def student_scores(
    student: Student, pairs: PairData, batch_pairs: int, kept: Activations | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Decoder probabilities, the mean of the orders, and encoder cosines of pairs, both (n,).

    Args:
        batch_pairs: pairs of a forward pass; the longest come first. kept: the activations of the pairs, if any.
    """
    student.eval()
    device = next(student.parameters()).device
    decoder, encoder = np.zeros(len(pairs.first)), np.zeros(len(pairs.first))
    order = np.argsort(-np.asarray(pairs.lengths()), kind="stable")
    for begin in range(0, len(order), batch_pairs):
        rows = order[begin : begin + batch_pairs]
        z, logits = student(make_batch(student, pairs, "pairs", rows, kept).to(device))
        z_a, z_b = z.chunk(2)
        decoder[rows] = student.prompt.probability(student.prompt.answered(logits)).cpu().numpy()
        encoder[rows] = (z_a * z_b).sum(1).cpu().numpy()
    return decoder, encoder
