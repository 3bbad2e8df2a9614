"""Arrays in files: their room is taken first, so that a full disk raises instead of killing the process."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from data.arrays import create_array, greatest


def test_room_for_an_array_is_taken_before_anything_is_written(tmp_path: Path) -> None:
    path = tmp_path / "array.npy"
    array = create_array(path, (250, 100))
    assert path.stat().st_blocks * 512 >= array.nbytes == 250 * 100 * 4
    array[:] = np.arange(25_000, dtype=np.float32).reshape(250, 100)
    array.flush()
    np.testing.assert_array_equal(np.load(path)[249], np.arange(24_900, 25_000))


def test_the_greatest_of_each_row_are_those_of_a_whole_sort() -> None:
    scores = np.random.default_rng(0).integers(0, 5, (20, 30)).astype(np.float32)  # many equals
    expected = np.argsort(-scores, axis=1, kind="stable")
    found = greatest(scores, 30)
    np.testing.assert_array_equal(found, expected)
    values = np.take_along_axis(scores, greatest(scores, 7), axis=1)
    np.testing.assert_array_equal(values, np.take_along_axis(scores, expected[:, :7], axis=1))
