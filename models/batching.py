"""Batches of like length: padding is work that teaches nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# Batches are cut from windows of this many batches, sorted by length: short enough to stay random.
WINDOW_BATCHES = 16


def length_batches(lengths: Sequence[int], size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """The batches of one epoch: every item once, items of like length together, in an order of their own.

    Args:
        lengths: tokens of each item. size: items per batch.
        seed, epoch: decide the shuffle; the same two give the same batches.

    Returns:
        Index arrays; one may hold fewer than `size` items, none holds a single item if there are two or more.
    """
    random = np.random.default_rng((seed, epoch))
    order = random.permutation(len(lengths))
    tokens = np.asarray(lengths)
    batches: list[np.ndarray] = []
    for begin in range(0, len(order), size * WINDOW_BATCHES):
        window = order[begin : begin + size * WINDOW_BATCHES]
        window = window[np.argsort(tokens[window], kind="stable")]
        batches += np.split(window, range(size, len(window), size))
    # A batch of one pair has nothing to contrast: it joins its neighbour.
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [np.concatenate(batches[-2:])]
    random.shuffle(batches)  # type: ignore[arg-type]  # a list of arrays is shuffled in place
    return batches
