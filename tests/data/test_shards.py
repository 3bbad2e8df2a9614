"""Parts of long work: whole or not there."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from data.shards import read_shard, texts_digest, write_shard


def test_digest_tells_texts_and_their_borders_apart() -> None:
    assert len({texts_digest(texts) for texts in (["ab", "c"], ["a", "bc"], ["abc"], ["c", "ab"], [])}) == 5


def test_a_part_that_is_cut_or_of_another_shape_is_not_there(tmp_path: Path) -> None:
    numbers = np.arange(6, dtype=np.float32).reshape(3, 2)
    write_shard(tmp_path / "part.npy", numbers)
    assert [path.name for path in tmp_path.iterdir()] == ["part.npy"]
    np.testing.assert_array_equal(read_shard(tmp_path / "part.npy", (3, 2)), numbers)
    assert read_shard(tmp_path / "part.npy", (2, 3)) is None
    assert read_shard(tmp_path / "none.npy", (3, 2)) is None
    (tmp_path / "part.npy").write_bytes((tmp_path / "part.npy").read_bytes()[:-1])
    assert read_shard(tmp_path / "part.npy", (3, 2)) is None
