from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from data.errors import FlipkdError
from models.teacher.bi_encoder import cosine, describe, embed, load_teacher, pair_scores, several_gpus
from tests.tiny import tiny_teacher

TEXTS = ["card", "how do i freeze my card", "a", "why is my loan payment open and not closed", "pill", "dose pain"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_teacher(tmp_path_factory.mktemp("teacher") / "model")


def test_embed_keeps_the_order_and_gives_unit_vectors(folder: Path) -> None:
    teacher = load_teacher(folder)
    done: list[float] = []
    found = embed(teacher, TEXTS * 4, batch_size=2, advance=done.append)
    assert found.dtype == np.float32
    assert found.shape == (24, 32)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    assert sum(done) == 24
    for n, text in enumerate(TEXTS):  # one by one: no batch, no padding, no order to get wrong
        alone = teacher.encode([text], normalize_embeddings=True)[0]
        np.testing.assert_allclose(found[n], alone, atol=1e-5)
        np.testing.assert_allclose(found[n + 18], alone, atol=1e-5)


def test_embed_takes_the_longest_texts_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = load_teacher(folder)
    seen: list[str] = []
    plain = teacher.encode
    monkeypatch.setattr(teacher, "encode", lambda texts, **how: seen.extend(texts) or plain(texts, **how))
    embed(teacher, TEXTS, batch_size=1)
    assert [len(text) for text in seen] == sorted(map(len, TEXTS), reverse=True)


def test_without_several_gpus_there_is_no_pool(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = load_teacher(folder)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with several_gpus(teacher) as pool:
        assert pool is None


def test_several_gpus_get_a_process_each_and_the_pool_reaches_encode(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = load_teacher(folder)
    alone = embed(teacher, TEXTS)
    plain, calls = teacher.encode, []
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr(teacher, "start_multi_process_pool", lambda devices: {"processes": devices})
    monkeypatch.setattr(teacher, "stop_multi_process_pool", calls.append)
    monkeypatch.setattr(teacher, "encode", lambda texts, *, pool, **how: calls.append(pool) or plain(texts, **how))
    with several_gpus(teacher) as pool:
        np.testing.assert_allclose(embed(teacher, TEXTS, pool=pool), alone, atol=1e-6)
    assert calls == [{"processes": ["cuda:0", "cuda:1"]}] * 2


def test_embed_nothing(folder: Path) -> None:
    assert embed(load_teacher(folder), []).shape == (0, 32)


def test_pair_scores_are_the_cosines(folder: Path) -> None:
    teacher = load_teacher(folder)
    vectors = teacher.encode(TEXTS).astype(np.float64)
    a, b = vectors[:3], vectors[3:]
    expected = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    np.testing.assert_allclose(pair_scores(teacher, TEXTS[:3], TEXTS[3:]), expected, atol=1e-5)


def test_cosine_never_leaves_its_range() -> None:
    vectors = np.full((1, 3), np.float32(0.57735029), dtype=np.float32) * np.float32(1.0001)
    assert cosine(vectors, vectors)[0] == 1
    assert cosine(vectors, -vectors)[0] == -1


def test_describe(folder: Path) -> None:
    told = describe(load_teacher(folder, max_length=16))
    parameters = told.pop("parameters")
    assert parameters > 10_000
    assert told == {"pooling": "mean", "max_length": 16, "dtype": "float32", "dimension": 32, "prompt": None}


def test_half_precision_weights_are_computed_in_float32(folder: Path, tmp_path: Path) -> None:
    half = load_teacher(folder).to(torch.float16)
    half.save_pretrained(str(tmp_path / "half"), create_model_card=False)
    assert describe(load_teacher(tmp_path / "half"))["dtype"] == "float32"


def test_max_length_cuts(folder: Path) -> None:
    teacher = load_teacher(folder, max_length=8)
    long = "how do i freeze my card " * 5
    np.testing.assert_allclose(embed(teacher, [long]), embed(teacher, [long + "pill pain dose"]), atol=1e-6)


def test_max_length_past_the_positions(folder: Path) -> None:
    with pytest.raises(FlipkdError, match=r"max_length is 65, but .* 64 positions"):
        load_teacher(folder, max_length=65)


def test_not_a_model(tmp_path: Path) -> None:
    with pytest.raises(FlipkdError, match=r"neither modules\.json nor config\.json"):
        load_teacher(tmp_path)


def test_damaged_model(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_text((folder / "modules.json").read_text())
    with pytest.raises(FlipkdError, match="cannot be loaded as a teacher"):
        load_teacher(tmp_path)
