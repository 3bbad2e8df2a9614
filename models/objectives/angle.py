"""Cosines of shifted angles, without ever differentiating arccos: its slope is infinite at cosines of 1 and -1."""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Below this, sin(theta) is held constant, so that no gradient explodes at cosines of 1 and -1.
SINE_SQUARED_FLOOR = 1e-6


def rotated_cosine(cosine: Tensor, margin: Tensor | float) -> Tensor:
    """cos(theta + margin) for theta = arccos(cosine), wherever theta + margin ends up.

        cos(theta + m) = cos(theta) cos(m) - sqrt(max(1 - cos(theta)^2, 1e-6)) sin(m)

    Args:
        cosine: any shape, in [-1, 1]. margin: radians, of a shape that fits, any sign; no gradient is needed.
    """
    margin = torch.as_tensor(margin, dtype=cosine.dtype, device=cosine.device)
    sine = (1 - cosine.square()).clamp(min=SINE_SQUARED_FLOOR).sqrt()
    return cosine * margin.cos() - sine * margin.sin()


def shifted_cosine(cosine: Tensor, margin: Tensor | float) -> Tensor:
    """cos(theta + margin) for theta = arccos(cosine); where theta + margin leaves [0, pi] the margin is dropped.

    Past pi the cosine would rise again, and a margin that is meant to make a pair harder would make it easier.

    Args:
        cosine: any shape, in [-1, 1]. margin: radians, of a shape that fits, in [-pi, pi].

    >>> import torch
    >>> shifted_cosine(torch.tensor([0.0, -1.0]), math.pi / 6)
    tensor([-0.5000, -1.0000])
    """
    theta = angle(cosine) + margin
    return torch.where((theta >= 0) & (theta <= math.pi), rotated_cosine(cosine, margin), cosine)


def angle(cosine: Tensor) -> Tensor:
    """theta = arccos(cosine) in radians, in [0, pi], cut from the graph: for comparisons alone."""
    return cosine.detach().clamp(-1, 1).arccos()
