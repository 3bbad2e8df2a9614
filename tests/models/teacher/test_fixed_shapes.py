from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding

from models.teacher.bi_encoder import embed, load_teacher
from models.teacher.fixed_shapes import TOKENS, embed_fixed, rows_per_pass, setting, token_counts
from tests.tiny import WORDS, tiny_teacher

DRAW = np.random.default_rng(0)
TEXTS = list(
    dict.fromkeys(" ".join(DRAW.choice(WORDS.split(), size)) for size in DRAW.integers(1, 90, 200)),
)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> SentenceTransformer:
    return load_teacher(tiny_teacher(tmp_path_factory.mktemp("fixed") / "model"))


def test_the_vectors_are_those_of_embed(teacher: SentenceTransformer) -> None:
    done: list[float] = []
    found = embed_fixed(teacher, TEXTS, batch_size=16, advance=done.append)
    np.testing.assert_allclose(found, embed(teacher, TEXTS), atol=1e-5)
    assert found.dtype == np.float32
    assert sum(done) == len(TEXTS)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_vector_does_not_depend_on_the_texts_beside_it(teacher: SentenceTransformer, threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        whole = embed_fixed(teacher, TEXTS)
        for size in (1, 2, 7, 60, len(TEXTS)):
            rows = DRAW.permutation(len(TEXTS))[:size]
            assert np.array_equal(embed_fixed(teacher, [TEXTS[row] for row in rows]), whole[rows])
    finally:
        torch.set_num_threads(before)


def test_every_pass_has_its_lengths_shape(teacher: SentenceTransformer, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = set()
    plain = teacher.forward

    def forward(features: dict[str, Any], **how: Any) -> dict[str, torch.Tensor]:
        shapes.add(tuple(features["input_ids"].shape))
        return plain(features, **how)

    monkeypatch.setattr(teacher, "forward", forward)
    embed_fixed(teacher, TEXTS, batch_size=16)
    assert {length for _, length in shapes} == {8, 16, 24, 32, 40, 48, 56, 64}
    tokens = 16 * TOKENS[teacher.device.type]
    assert all(rows == rows_per_pass(teacher, length, 16) == tokens // length for rows, length in shapes)


def test_lengths_count_special_tokens_and_the_prompt_and_end_at_the_limit(teacher: SentenceTransformer) -> None:
    assert token_counts(teacher, ["card", "my card", "my card " * 60]) is not None
    np.testing.assert_array_equal(token_counts(teacher, ["card", "my card", "my card " * 60]), [3, 4, 64])
    teacher.prompts["ask"] = "how do "
    teacher.default_prompt_name = "ask"
    try:
        np.testing.assert_array_equal(token_counts(teacher, ["card"]), [5])
        found = embed_fixed(teacher, TEXTS[:5])
        np.testing.assert_allclose(found, embed(teacher, TEXTS[:5]), atol=1e-5)
    finally:
        teacher.default_prompt_name = None


def test_an_odd_maximum_length_is_not_passed(teacher: SentenceTransformer) -> None:
    before = teacher.max_seq_length
    teacher.max_seq_length = 13
    try:
        np.testing.assert_allclose(embed_fixed(teacher, TEXTS[:20]), embed(teacher, TEXTS[:20]), atol=1e-5)
    finally:
        teacher.max_seq_length = before


def test_a_teacher_without_padded_rows_embeds_as_it_does(teacher: SentenceTransformer) -> None:
    static = SentenceTransformer(modules=[StaticEmbedding(teacher.tokenizer.backend_tokenizer, embedding_dim=16)])
    assert token_counts(static, TEXTS) is None
    np.testing.assert_allclose(embed_fixed(static, TEXTS), embed(static, TEXTS), atol=1e-6)


def test_several_gpus_get_whole_passes(teacher: SentenceTransformer, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = embed_fixed(teacher, TEXTS, batch_size=16)
    plain = teacher.encode

    def encode(texts: list[str], *, pool: Any, chunk_size: int, batch_size: int, **how: Any) -> Any:
        assert len(texts) % batch_size == 0
        assert chunk_size % batch_size == 0
        return plain(texts, batch_size=batch_size, **how)

    monkeypatch.setattr(teacher, "encode", encode)
    assert np.array_equal(embed_fixed(teacher, TEXTS, batch_size=16, pool={"processes": [1, 2]}), alone)  # type: ignore[typeddict-item]


def test_nothing(teacher: SentenceTransformer) -> None:
    assert embed_fixed(teacher, []).shape == (0, 32)


def test_setting(teacher: SentenceTransformer, tmp_path: Path) -> None:
    assert setting(teacher, 64) == f"{teacher.device.type}-64"
