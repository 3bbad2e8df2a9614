"""The vectors of all texts: one teacher's own, several as one, and none that an earlier run has made already."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sentence_transformers import SentenceTransformer

from pipeline.stages.score.config import ScoreConfig
from pipeline.stages.score.vectors import Embedded, embed_texts
from pipeline.stages.teach.config import TeachConfig
from pipeline.stages.teach.run import run as teach
from tests.teacher_half import context, untuned, word_pairs, write_pairs
from tests.tiny import tiny_teacher

TEXTS = ["my card", "how do i freeze my lost card", "a fever", "why is my loan open", "my lost card is lost"]


def _embed(folder: Path, artifact: Path, texts: list[str]) -> Embedded:
    folder.mkdir(exist_ok=True)
    return embed_texts(ScoreConfig(shard_texts=2, batch_size=2), artifact, texts, context(folder))


def _plain(model: Path, texts: list[str]) -> np.ndarray:
    vectors = SentenceTransformer(str(model), device="cpu").encode(texts).astype(np.float64)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_one_teachers_vectors_are_its_own_and_made_once(tmp_path: Path) -> None:
    model = tiny_teacher(tmp_path / "model")
    artifact = untuned(model, write_pairs(tmp_path / "prepare", word_pairs(40)), tmp_path)
    first = _embed(tmp_path, artifact, TEXTS[:3])
    np.testing.assert_allclose(first.vectors, _plain(model, TEXTS[:3]), atol=1e-5)
    assert first.computed.tolist() == [0, 1, 2]
    cosines = _plain(model, TEXTS[:3]) @ _plain(model, TEXTS[:3]).T
    assert first.mean_cosine is not None
    np.testing.assert_allclose(first.mean_cosine, (cosines.sum() - 3) / 6, atol=1e-5)
    assert (first.teacher["key"], first.teacher["tuned"]) == (artifact.name, False)

    kept = np.array(first.vectors)
    second = _embed(tmp_path, artifact, [*TEXTS[3:], *TEXTS[:3]])  # the same store
    assert second.computed.tolist() == [0, 1]
    np.testing.assert_array_equal(second.vectors[2:], kept)
    np.testing.assert_allclose(second.vectors[:2], _plain(model, TEXTS[3:]), atol=1e-5)


def test_several_teachers_give_one_vector_whose_cosine_is_their_average_by_share(tmp_path: Path) -> None:
    models = [tiny_teacher(tmp_path / f"model {seed}", seed=seed) for seed in (0, 1)]
    pairs = write_pairs(tmp_path / "prepare", word_pairs(60))
    settings = {"model": str(models[0]), "tune": False, "others": [{"model": str(models[1]), "weight": 2}]}
    artifact = tmp_path / "teach"
    artifact.mkdir()
    teach(TeachConfig.model_validate(settings), {"prepare": pairs}, artifact, context(tmp_path))
    found = _embed(tmp_path, artifact, TEXTS)
    shares = [teacher["share"] for teacher in found.teacher["teachers"]]
    assert abs(sum(shares) - 1) < 1e-9
    cosines = [_plain(model, TEXTS) @ _plain(model, TEXTS).T for model in models]
    expected = shares[0] * cosines[0] + shares[1] * cosines[1]
    np.testing.assert_allclose(np.asarray(found.vectors) @ np.asarray(found.vectors).T, expected, atol=1e-5)
    assert found.teacher["dimension"] == found.vectors.shape[1] == 64
