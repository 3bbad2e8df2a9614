"""The cross-encoder: loaded, checked, and brought to the cosine's scale."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.torch import load_file, save_file
from sentence_transformers import CrossEncoder

from data.errors import FlipkdError
from models.teacher.cross_encoder import (
    blend,
    check_cross_encoder,
    cross_encoder_scores,
    load_cross_encoder,
    to_cosine_scale,
)
from tests.tiny import tiny_cross_encoder, tiny_teacher

KEY = "score.cross_encoder.trust_remote_code"
TEXT_A = ["my card", "how do i freeze my lost card", "a fever", "why is my loan open and not closed"]
TEXT_B = ["my lost card", "block card", "high fever what dose", "pill"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_cross_encoder(tmp_path_factory.mktemp("cross") / "model")


def _load(path: Path) -> CrossEncoder:
    return load_cross_encoder(path, trust_remote_code=False, trust_key=KEY)


def test_scores_are_the_models_own_in_the_given_order(folder: Path) -> None:
    found = cross_encoder_scores(_load(folder), TEXT_A, TEXT_B, batch_size=2)
    plain = CrossEncoder(str(folder), device="cpu")
    expected = [float(plain.predict([pair])[0]) for pair in zip(TEXT_A, TEXT_B, strict=True)]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert len(set(found.tolist())) == 4
    turned = cross_encoder_scores(_load(folder), TEXT_B, TEXT_A)
    assert np.abs(turned - found).max() > 1e-4


def test_a_whole_one_passes(folder: Path) -> None:
    check_cross_encoder("it", folder, trust_remote_code=False, trust_key=KEY)


def test_a_bi_encoder_has_no_output(tmp_path: Path) -> None:
    with pytest.raises(
        FlipkdError, match=r"as a cross-encoder \(a bi-encoder is none\): .* missing, such as classifier"
    ):
        _load(tiny_teacher(tmp_path / "teacher"))


def test_several_outputs(tmp_path: Path) -> None:
    with pytest.raises(FlipkdError, match="has 3 outputs a pair; a scorer of pairs has one"):
        _load(tiny_cross_encoder(tmp_path / "model", outputs=3))


def test_no_model_at_all(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(FlipkdError, match="cannot be loaded as a cross-encoder"):
        _load(tmp_path)


def test_code_of_its_own_is_not_run(tmp_path: Path) -> None:
    folder = tiny_cross_encoder(tmp_path / "model")
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "own.Config", "AutoModelForSequenceClassification": "own.Model"}
    config["model_type"] = "own"
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(FlipkdError, match=r"brings code of its own.* set score\.cross_encoder\.trust_remote_code"):
        _load(folder)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("value", "message"),
    [(float("nan"), "not finite numbers"), (0.0, "cannot be used as a cross-encoder: it gives")],
)
def test_broken_weights(tmp_path: Path, value: float, message: str) -> None:
    folder = tiny_cross_encoder(tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    weights["classifier.weight"].fill_(value)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(FlipkdError, match=message):
        check_cross_encoder("it", folder, trust_remote_code=False, trust_key=KEY)


def test_the_cosines_scale_against_pandas() -> None:
    draw = np.random.default_rng(0)
    rows = pd.DataFrame({"s": draw.normal(3, 5, 400), "t": draw.uniform(0.4, 0.8, 400)}).astype("float32")
    train = draw.random(400) < 0.6
    found = to_cosine_scale(rows["s"].to_numpy(), rows["t"].to_numpy(), train)
    part = rows[train].astype("float64")
    expected = (rows["s"] - part["s"].mean()) / part["s"].std(ddof=0) * part["t"].std(ddof=0) + part["t"].mean()
    np.testing.assert_allclose(found, expected.clip(-1, 1), atol=1e-6)
    assert found[train].mean() == pytest.approx(part["t"].mean())
    mixed = blend(rows["t"].to_numpy(), found, 0.25)
    np.testing.assert_allclose(mixed, 0.75 * rows["t"] + 0.25 * found, atol=1e-6)
    assert mixed.dtype == np.float32


def test_an_outlier_stays_a_cosine() -> None:
    scores, cosines = np.array([0, 1, 2, 1000], np.float32), np.array([0.1, 0.5, 0.9, 0.2], np.float32)
    found = to_cosine_scale(scores, cosines, np.array([True, True, True, False]))
    assert found[3] == 1
    assert np.abs(blend(cosines, found, 1.0)).max() <= 1


def test_scores_that_say_nothing() -> None:
    cosines, train = np.array([0.1, 0.2], np.float32), np.array([True, True])
    with pytest.raises(FlipkdError, match=r"of the 2 training pairs do not vary"):
        to_cosine_scale(np.array([1.0, 1.0], np.float32), cosines, train)
    with pytest.raises(FlipkdError, match="1 of 2 scores are not finite"):
        to_cosine_scale(np.array([1.0, np.nan], np.float32), cosines, train)
