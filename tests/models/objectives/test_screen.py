"""The in-batch negatives: exactly those that the definition names."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.objectives.screen import couples, known_together, screen, unscreened


def test_the_screen_removes_exactly_what_it_should():
    teacher = torch.tensor([[0.9, 0.5, 0.1], [0.61, 0.9, 0.2], [0.6, 0.3, 0.9]])
    # texts: pair 0 = (10, 20) a match, pair 1 = (11, 10), pair 2 = (12, 22); text 10 stands in two pairs
    same = known_together([10, 11, 12], [20, 10, 22], [1, 0, 0])
    assert same.tolist() == [[True, True, False], [False, False, False], [False, False, False]]
    expected = [[False, False, True], [False, False, True], [True, True, False]]
    assert screen(teacher, 0.6, same).tolist() == expected
    assert unscreened(same).tolist() == [[False, False, True], [True, False, True], [True, True, False]]


def test_partners_of_a_match_are_known_together_in_both_directions():
    same = known_together([1, 2], [2, 1], [1, 0])
    assert same.tolist() == [[True, True], [True, True]]


@given(
    pairs=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.booleans()), min_size=1, max_size=8),
    seed=st.integers(0, 1000),
    tau_neg=st.floats(-1, 1),
)
@settings(max_examples=60, deadline=None)
def test_equals_the_definition_entry_by_entry(pairs: list[tuple[int, int, bool]], seed: int, tau_neg: float):
    first, second, match = zip(*pairs, strict=True)
    teacher = np.random.default_rng(seed).uniform(-1, 1, (len(pairs), len(pairs)))
    same = known_together(first, second, [int(y) for y in match])
    matches = [{a, b} for a, b, y in pairs if y]
    for i, a in enumerate(first):
        for j, b in enumerate(second):
            together = a == b or {a, b} in matches
            assert same[i, j].item() == together
            assert unscreened(same)[i, j].item() == (i != j and not together)
            expected = i != j and not together and teacher[i, j] <= tau_neg
            assert screen(torch.from_numpy(teacher), tau_neg, same)[i, j].item() == expected


def test_matches_from_outside_of_the_batch_are_known_too():
    """Three queries of few entries: query 1 is answered by entry 22 too, which another batch says."""
    first, second = [10, 11, 12], [21, 21, 22]
    matches = np.sort(couples(np.array([10, 22, 30]), np.array([21, 11, 31])))
    assert known_together(first, second, [1, 0, 0]).tolist() == [
        [True, True, False],
        [False, False, False],
        [False, False, False],
    ]
    assert known_together(first, second, [1, 0, 0], matches).tolist() == [
        [True, True, False],
        [False, False, True],
        [False, False, False],
    ]
    assert known_together(first, second, [1, 0, 0], matches[:0]).sum() == 2
