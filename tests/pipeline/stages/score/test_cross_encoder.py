"""A cross-encoder in `score`: its own scores, their share in the teacher's, and what happens after a kill."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from sentence_transformers import CrossEncoder

from data.errors import FlipkdError
from data.schema import FILTERED, SCORES, read_metadata
from pipeline.config.load import load_config
from pipeline.runner.check import checked_plan
from pipeline.stages.filter import run as filter
from pipeline.stages.filter.config import FilterConfig
from pipeline.stages.score import cross_encoder as cross_scores
from pipeline.stages.score.config import ScoreConfig
from pipeline.stages.score.run import run
from tests.teacher_half import context, untuned, word_pairs, write_pairs
from tests.tiny import tiny_config, tiny_cross_encoder, tiny_teacher

LOOSE = [{"text_a": f"my card {n}", "text_b": f"a fever {n}", "label": None, "split": "train"} for n in range(9)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cross")
    pairs = write_pairs(folder / "prepare", [*word_pairs(100), *LOOSE])
    untuned(tiny_teacher(folder / "model"), pairs, folder)
    tiny_cross_encoder(folder / "cross")
    return folder


def _score(folder: Path, place: Path, **settings: Any) -> tuple[dict[str, Any], Any]:
    (place / "out").mkdir(parents=True, exist_ok=True)
    config = ScoreConfig.model_validate({"shard_texts": 40, **settings})
    inputs = {"prepare": folder / "prepare", "teach": folder / "teach"}
    summary = run(config, inputs, place / "out", context(place))
    json.dumps(summary, allow_nan=False)
    return summary, pd.read_parquet(place / "out" / "scores.parquet")


@pytest.mark.parametrize("weight", [0.3, 1.0])
def test_the_teachers_score_is_the_mean_of_both(folder: Path, tmp_path: Path, weight: float) -> None:
    _, plain = _score(folder, tmp_path / "plain")
    cross = {"model": str(folder / "cross"), "weight": weight, "batch_size": 7}
    summary, rows = _score(folder, tmp_path / "with", cross_encoder=cross)
    own = CrossEncoder(str(folder / "cross"), device="cpu")
    raw = np.array([float(own.predict([pair])[0]) for pair in zip(rows["text_a"], rows["text_b"], strict=True)])
    np.testing.assert_allclose(rows["cross_encoder_score"], raw, atol=1e-6)

    train, cosine = rows["split"] == "train", plain["teacher_score"].astype(float)
    mapped = (raw - raw[train].mean()) / raw[train].std() * cosine[train].std(ddof=0) + cosine[train].mean()
    expected = (1 - weight) * cosine + weight * mapped.clip(-1, 1)
    np.testing.assert_allclose(rows["teacher_score"], expected, atol=1e-5)
    others = [name for name in plain if name != "teacher_score"]
    pd.testing.assert_frame_equal(rows[others], plain[others])
    one, two = (pd.read_parquet(tmp_path / n / "out" / "embeddings.parquet") for n in ("plain", "with"))
    pd.testing.assert_frame_equal(one, two)
    assert summary["cross_encoder"]["weight"] == weight
    assert set(summary["cross_encoder"]["auroc"]) == {"cosine", "cross_encoder"}


def test_the_column_is_the_last_and_stands_there_only_where_it_is_used(folder: Path, tmp_path: Path) -> None:
    _score(folder, tmp_path / "plain")
    _score(folder, tmp_path / "with", cross_encoder={"model": str(folder / "cross")})
    plain, with_it = (tmp_path / name / "out" / "scores.parquet" for name in ("plain", "with"))
    assert pq.read_schema(plain).equals(SCORES)
    assert pq.read_schema(with_it).names == [*SCORES.names, "cross_encoder_score"]
    assert "cross_encoder" not in read_metadata(plain)
    told = read_metadata(with_it)["cross_encoder"]
    assert isinstance(told, dict)
    assert told["revision"].startswith("sha256:")
    (tmp_path / "filter").mkdir()
    config = FilterConfig.model_validate({"tau_accept": {"value": 0.9}, "tau_reject": {"value": 0.1}})
    filter.run(config, {"score": tmp_path / "with" / "out"}, tmp_path / "filter", context(tmp_path))
    filtered = pd.read_parquet(tmp_path / "filter" / "filtered.parquet")
    assert list(filtered) == FILTERED.names
    assert filtered["teacher_score"].equals(pd.read_parquet(with_it)["teacher_score"])


def test_after_a_kill_it_goes_on(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cross = {"model": str(folder / "cross")}
    _, whole = _score(folder, tmp_path / "whole", cross_encoder=cross)
    plain, calls = cross_scores.cross_encoder_scores, []

    def dying(*args: Any, **how: Any) -> np.ndarray:
        calls.append(len(args[1]))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return plain(*args, **how)

    monkeypatch.setattr(cross_scores, "cross_encoder_scores", dying)
    with pytest.raises(KeyboardInterrupt):
        _score(folder, tmp_path / "killed", cross_encoder=cross)
    _, rows = _score(folder, tmp_path / "killed", cross_encoder=cross)
    assert calls == [40, 40, 40, 29]  # one done, one killed, two more
    pd.testing.assert_frame_equal(rows, whole)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("./nowhere", r"score\.cross_encoder\.model: \./nowhere: no such file"),
        ("{folder}/teacher", r"score\.cross_encoder\.model: .*cannot be loaded as a cross-encoder"),
        ("{folder}/pickled", r"score\.cross_encoder\.model: .*only pickled weights"),
    ],
)
def test_a_model_that_is_none_is_found_before_any_work(tmp_path: Path, name: str, message: str) -> None:
    tiny_config(tmp_path)
    (tmp_path / "pickled").mkdir()
    (tmp_path / "pickled" / "pytorch_model.bin").write_bytes(b"x")
    config = tiny_config(tmp_path, score={"cross_encoder": {"model": name.format(folder=tmp_path)}})
    with pytest.raises(FlipkdError, match=message):
        checked_plan(config, until="score")
    assert not (tmp_path / "store" / "artifacts").exists()


def test_a_right_one_passes_the_check(tmp_path: Path) -> None:
    tiny_cross_encoder(tmp_path / "cross")
    checked_plan(tiny_config(tmp_path, score={"cross_encoder": {"model": str(tmp_path / "cross")}}), until="score")


def test_local_folders_are_taken_from_the_configs_own(tmp_path: Path) -> None:
    for name in ("two", "cross"):
        (tmp_path / name).mkdir()
    (tmp_path / "config.yaml").write_text(
        "prepare: {inputs: [{kind: pairs, path: x.csv}]}\n"
        "teach: {others: [{model: ./two}, {model: org/name}]}\nscore: {cross_encoder: {model: cross}}\n"
    )
    config = load_config(tmp_path / "config.yaml")
    assert [other.model for other in config.teach.others] == [str(tmp_path / "two"), "org/name"]
    assert config.score.cross_encoder is not None
    assert config.score.cross_encoder.model == str(tmp_path / "cross")
