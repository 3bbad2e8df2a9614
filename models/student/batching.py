"""Batches of like length: padding is work that teaches nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

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


def token_budget_batches(lengths: Sequence[int], budget: int, seed: int, epoch: int) -> list[np.ndarray]:
    """The batches of one epoch under a budget of tokens: every item once, items of like length together.

    Windows are as wide as those of `length_batches`, for the number of items of mean length that the budget
    holds. What does not fill a batch at a window's end joins the next window, so that one batch of an epoch at
    most is left unfilled.

    Args:
        lengths: tokens of each item, of all that it adds to a batch.
        budget: tokens of a batch, padding counted: its number of items times its longest.
        seed, epoch: decide the shuffle; the same two give the same batches. Their number differs between epochs.

    Returns:
        Index arrays of two items or more, if there are two. Only a batch of two may be above the budget, where two
        items do not fit; or one of three, where every other batch has two items, too.
    """
    random = np.random.default_rng((seed, epoch))
    order = random.permutation(len(lengths))
    tokens = np.asarray(lengths)
    width = WINDOW_BATCHES * max(2, int(budget / max(tokens.mean(), 1)))
    batches: list[np.ndarray] = []
    rest = order[:0]
    for begin in range(0, len(order), width):
        window = np.concatenate([rest, order[begin : begin + width]])
        window = window[np.argsort(tokens[window], kind="stable")]
        full = _filled(window, tokens, budget)
        batches += full[:-1]
        rest = full[-1]
    batches.append(rest)
    if len(batches) > 1 and len(rest) == 1:
        # A batch of one has nothing to contrast: it gets company from the last batch that can spare an item.
        spare = next((n for n in reversed(range(len(batches) - 1)) if len(batches[n]) > 2), None)
        if spare is None:
            batches[-2:] = [np.concatenate(batches[-2:])]
        else:
            batches[-1] = np.concatenate([batches[spare][-1:], rest])
            batches[spare] = batches[spare][:-1]
    random.shuffle(batches)  # type: ignore[arg-type]  # a list of arrays is shuffled in place
    return batches


def _filled(items: np.ndarray, tokens: np.ndarray, budget: int) -> list[np.ndarray]:
    """Items in order of their length, cut where the next would be above the budget; the last is what is left."""
    begins = [0]
    for place, length in enumerate(tokens[items].tolist()):
        count = place - begins[-1]
        if count >= 2 and (count + 1) * length > budget:
            begins.append(place)
    return np.split(items, begins[1:])


def token_batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Items by length, as many together as fit into a budget of tokens, padding counted; one at least."""
    batch: list[int] = []
    for item in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) + 1) * lengths[item] > budget:
            yield batch
            batch = []
        batch.append(item)
    if batch:
        yield batch
