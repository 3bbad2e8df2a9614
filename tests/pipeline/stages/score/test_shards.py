from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.teacher.bi_encoder import embed, load_teacher
from pipeline.stages.score import shards
from pipeline.stages.score.shards import embed_in_shards
from tests.tiny import WORDS, tiny_teacher

TEXTS = [" ".join(WORDS.split()[n : n + 1 + n % 5]) for n in range(30)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_teacher(tmp_path_factory.mktemp("shards") / "model")


def test_shards_hold_what_embed_gives(folder: Path, tmp_path: Path) -> None:
    teacher = load_teacher(folder)
    found, computed = embed_in_shards(teacher, TEXTS, tmp_path, batch_size=4, shard_texts=7)
    np.testing.assert_allclose(found, embed(teacher, TEXTS), atol=1e-5)
    assert computed.tolist() == list(range(30))
    assert len(list(tmp_path.glob("shard-*.npy"))) == 5
    assert not list(tmp_path.glob("*.writing"))


def test_a_killed_run_goes_on_from_its_last_whole_shard(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = load_teacher(folder)
    embedded: list[list[str]] = []

    def embed_and_die(_: Any, texts: list[str], **how: Any) -> np.ndarray:
        embedded.append(texts)
        if len(embedded) == 3:
            raise KeyboardInterrupt
        return embed(teacher, texts, **how)

    monkeypatch.setattr(shards, "embed_fixed", embed_and_die)
    with pytest.raises(KeyboardInterrupt):
        embed_in_shards(teacher, TEXTS, tmp_path, batch_size=4, shard_texts=7)
    assert len(list(tmp_path.glob("shard-*.npy"))) == 2
    embedded.append([])  # past the third: nobody dies any more
    found, _ = embed_in_shards(teacher, TEXTS, tmp_path, batch_size=4, shard_texts=7)
    longest = sorted(TEXTS, key=len, reverse=True)
    assert embedded[4:] == [longest[14:21], longest[21:28], longest[28:]]
    np.testing.assert_allclose(found, embed(teacher, TEXTS), atol=1e-5)


def test_other_texts_damaged_shards_and_another_size_are_computed_again(folder: Path, tmp_path: Path) -> None:
    teacher = load_teacher(folder)
    embed_in_shards(teacher, TEXTS, tmp_path, batch_size=4, shard_texts=7)
    for path in tmp_path.glob("shard-*.npy"):
        path.write_bytes(path.read_bytes()[:-100])
    changed = [*TEXTS[:-1], "another text"]
    for texts, size in ((TEXTS, 7), (changed, 7), (TEXTS, 11)):
        found, _ = embed_in_shards(teacher, texts, tmp_path, batch_size=4, shard_texts=size)
        np.testing.assert_allclose(found, embed(teacher, texts), atol=1e-5)
