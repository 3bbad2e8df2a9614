"""Several teachers, from their tuning to the one vector that `score` writes."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
from safetensors.torch import load_file, save_file
from scipy.stats import rankdata
from sentence_transformers import SentenceTransformer
from sklearn.metrics import roc_auc_score

from data.errors import FlipkdError
from data.schema import read_metadata
from models.teacher.bi_encoder import load_teacher
from pipeline.runner.check import checked_plan
from pipeline.stages.score.config import ScoreConfig
from pipeline.stages.score.run import run as score
from pipeline.stages.teach.artifact import teachers_of
from pipeline.stages.teach.config import TeachConfig
from pipeline.stages.teach.run import run
from pipeline.store.store import Store
from tests.teacher_half import context, word_pairs, write_pairs
from tests.tiny import tiny_config, tiny_teacher

TUNING = {"epochs": 1, "batch_size": 16, "learning_rate": 1e-3, "evaluations": 1}
LOOSE = [{"text_a": f"my card {n}", "text_b": f"a fever {n}", "label": None, "split": "dev"} for n in range(5)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models and pairs."""
    folder = tmp_path_factory.mktemp("several")
    tiny_teacher(folder / "one")
    tiny_teacher(folder / "two", seed=1, width=16)
    write_pairs(folder / "prepare", [*word_pairs(150), *LOOSE])
    return folder


def _teach(folder: Path, place: Path, **settings: Any) -> dict[str, Any]:
    (place / "teach").mkdir(parents=True)
    given = {"model": str(folder / "one"), **TUNING, "others": [{"model": str(folder / "two")}], **settings}
    config = TeachConfig.model_validate(given)
    summary = run(config, {"prepare": folder / "prepare"}, place / "teach", context(place))
    json.dumps(summary, allow_nan=False)
    return summary


def _score(folder: Path, place: Path, **where: Any) -> tuple[dict[str, Any], Any, Any]:
    (place / "score").mkdir(parents=True)
    inputs = {"prepare": folder / "prepare", "teach": place / "teach"}
    summary = score(ScoreConfig(), inputs, place / "score", dataclasses.replace(context(place), **where))
    files = [pd.read_parquet(place / "score" / f"{name}.parquet") for name in ("scores", "embeddings")]
    return summary, files[0], files[1]


def _cosines(path: Path, rows: Any) -> np.ndarray:
    """By sentence-transformers alone, in double precision."""
    teacher = SentenceTransformer(str(path), device="cpu")
    a, b = (teacher.encode(list(rows[side])).astype(np.float64) for side in ("text_a", "text_b"))
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


@pytest.fixture(scope="module")
def tuned(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    place = tmp_path_factory.mktemp("tuned")
    return place, _teach(folder, place, combine="auroc")


def _standardised(place: Path, rows: Any, weights: list[float]) -> np.ndarray:
    """sum_k w_k (t_k - mu_k) / sd_k, mu and sd of dev's pairs."""
    dev, total = (rows["split"] == "dev").to_numpy(), np.zeros(len(rows))
    for number, weight in enumerate(weights):
        each = _cosines(place / "teach" / "teacher" / str(number), rows)
        total += weight * (each - each[dev].mean()) / each[dev].std()
    return total


@pytest.mark.parametrize("combine", ["mean", "auroc"])
def test_the_score_is_the_standardised_average_up_to_an_affine_map(
    folder: Path, tuned: tuple[Path, dict[str, Any]], tmp_path: Path, combine: str
) -> None:
    place = tuned[0] if combine == "auroc" else tmp_path
    if combine == "mean":
        _teach(folder, place, tune=False)
    _, scores, embeddings = _score(folder, place)
    dev = scores[(scores["split"] == "dev") & scores["label"].notna()]
    weights = [0.5, 0.5]
    if combine == "auroc":
        above = [
            max(roc_auc_score(dev["label"], _cosines(place / "teach" / "teacher" / str(n), dev)) - 0.5, 0)
            for n in (0, 1)
        ]
        weights = [each / sum(above) for each in above]
        assert weights[0] != weights[1]
    expected = _standardised(place, scores, weights)
    slope, intercept = np.polyfit(scores["teacher_score"], expected, 1)
    assert slope > 0
    np.testing.assert_allclose(expected, slope * scores["teacher_score"] + intercept, atol=1e-4)
    assert np.corrcoef(rankdata(scores["teacher_score"]), rankdata(expected))[0, 1] > 0.99999

    vectors = np.stack(embeddings["embedding"].to_list())
    assert vectors.shape[1] == 48
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    dots = (vectors[scores["text_a_id"]] * vectors[scores["text_b_id"]]).sum(axis=1)
    np.testing.assert_allclose(dots, scores["teacher_score"], atol=1e-6)


def test_the_artifact_and_its_summary(folder: Path, tuned: tuple[Path, dict[str, Any]]) -> None:
    place, summary = tuned
    out = place / "teach"
    metrics = json.loads((out / "metrics.json").read_text())
    combination = json.loads((out / "teacher" / "combination.json").read_text())
    assert summary["combination"] == metrics["combination"] == combination
    assert combination["standardised_on"] == {"split": "dev", "pairs": 35}
    assert [entry["folder"] for entry in combination["teachers"]] == ["0", "1"]
    assert sum(entry["share"] for entry in combination["teachers"]) == pytest.approx(1)
    assert [summary["model"], summary["others"][0]["model"]] == [str(folder / "one"), str(folder / "two")]
    rows = duckdb.connect().execute("FROM read_parquet($1)", [str(folder / "prepare" / "pairs.parquet")]).df()
    dev = rows[rows["split"] == "dev"]
    for number, entry in enumerate(combination["teachers"]):
        each = _cosines(out / "teacher" / str(number), dev)
        assert entry["mean"] == pytest.approx(each.mean(), abs=1e-5)
        assert entry["deviation"] == pytest.approx(each.std(), abs=1e-5)
        told = metrics["teachers"][number]["dev"]
        assert told["tuned"]["auroc"] != told["untouched"]["auroc"]
    labels = np.array([np.nan if pd.isna(label) else label for label in dev["label"]], dtype=float)
    combined = _standardised(place, dev, [entry["weight"] for entry in combination["teachers"]])
    expected = roc_auc_score(labels[~np.isnan(labels)], combined[~np.isnan(labels)])
    assert summary["dev_combined"]["auroc"] == pytest.approx(expected, abs=1e-6)
    assert summary["dev_combined"] == metrics["dev"]["combined"]
    assert summary["dev_combined_untouched"] == metrics["dev"]["untouched"] != metrics["dev"]["combined"]
    assert not [file for file in out.rglob("*") if file.suffix in {".bin", ".pt", ".md"}]


def test_a_teacher_among_others_is_tuned_as_if_alone(
    folder: Path, tuned: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    alone = _teach(folder, tmp_path, others=[])
    assert "others" not in alone
    assert not (tmp_path / "teach" / "teacher" / "combination.json").exists()
    one, other = (tmp_path / "teach" / "teacher", tuned[0] / "teach" / "teacher" / "0")
    for file in (path for path in one.rglob("*") if path.is_file()):
        assert file.read_bytes() == (other / file.relative_to(one)).read_bytes(), file


def test_each_teacher_is_tuned_or_not_as_it_says(folder: Path, tmp_path: Path) -> None:
    others = [{"model": str(folder / "two"), "tune": True, "weight": 3, "max_length": 16}]
    summary = _teach(folder, tmp_path, tune=False, others=others)
    assert summary["dev_tuned"] is None
    assert summary["others"][0]["dev_tuned"] is not None
    assert [entry["weight"] for entry in summary["combination"]["teachers"]] == [0.25, 0.75]
    lengths = [teacher.get_max_seq_length() for teacher, _ in teachers_of(tmp_path / "teach")]
    assert lengths == [64, 16]


def test_the_file_says_which_teachers_and_their_vectors_are_kept_apart(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _teach(folder, tmp_path, tune=False)
    first, scores, _ = _score(folder, tmp_path, store=Store(tmp_path / "store"))
    assert first["texts_embedded"] == first["texts"]
    about = read_metadata(tmp_path / "score" / "scores.parquet")["teacher"]
    assert isinstance(about, dict)
    assert (about["dimension"], [each["dimension"] for each in about["teachers"]]) == (48, [32, 16])
    assert len(list((tmp_path / "store" / "embeddings").iterdir())) == 2

    again = tmp_path / "again"
    shutil.copytree(tmp_path / "teach", again / "teach")
    seen: list[str] = []
    plain = SentenceTransformer.encode
    monkeypatch.setattr(
        SentenceTransformer, "encode", lambda self, t, **how: seen.extend(t) or plain(self, t, **how)
    )
    second, same, _ = _score(folder, again, store=Store(tmp_path / "store"))
    assert (second["texts_reused"], seen) == (second["texts"], [])
    pd.testing.assert_frame_equal(same, scores)


def test_teachers_of_gives_the_combined_cosine(folder: Path, tuned: tuple[Path, dict[str, Any]]) -> None:
    place = tuned[0]
    texts = ["my card", "a high fever"]
    found, shares = 0.0, []
    for teacher, share in teachers_of(place / "teach"):
        a, b = teacher.encode(texts, normalize_embeddings=True)
        found += share * float(a @ b)
        shares.append(share)
    assert sum(shares) == pytest.approx(1)
    assert -1 <= found <= 1
    (place / "alone").mkdir()
    shutil.copytree(place / "teach" / "teacher" / "0", place / "alone" / "teacher")
    told = json.loads((place / "teach" / "metrics.json").read_text())["teachers"][0]
    (place / "alone" / "metrics.json").write_text(json.dumps(told))
    assert [share for _, share in teachers_of(place / "alone")] == [1.0]


def test_after_a_kill_what_was_tuned_stays_tuned(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pipeline.stages.teach.member_tuning as stage

    real, calls = stage.tune, []

    def killed(*args: Any, **settings: Any) -> Any:
        calls.append(settings["folder"])
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args, **settings)

    monkeypatch.setattr(stage, "tune", killed)
    with pytest.raises(KeyboardInterrupt):
        _teach(folder, tmp_path)
    assert calls[0] != calls[1]
    shutil.rmtree(tmp_path / "teach")
    summary = _teach(folder, tmp_path)
    assert summary["resumed_from_step"] == 6
    assert summary["others"][0]["resumed_from_step"] == 0


def test_a_teacher_that_tells_nothing_apart(folder: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(folder / "two", tmp_path / "broken")
    weights = load_file(broken / "model.safetensors")
    for name, weight in weights.items():
        if "LayerNorm" in name:
            weight.fill_(float(name.endswith("bias")))
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(FlipkdError, match=r"teach\.others\.0\.model: .*cannot be standardised"):
        _teach(folder, tmp_path, tune=False, others=[{"model": str(broken)}])


def test_weights_by_auroc_take_labels(folder: Path, tmp_path: Path) -> None:
    rows = [{**row, "label": None} for row in word_pairs(30)]
    shutil.copytree(folder / "one", tmp_path / "one")
    shutil.copytree(folder / "two", tmp_path / "two")
    write_pairs(tmp_path / "prepare", rows)
    with pytest.raises(FlipkdError, match=r"teach\.combine: auroc .* takes labels 0 and 1"):
        _teach(tmp_path, tmp_path / "auroc", tune=False, combine="auroc")
    summary = _teach(tmp_path, tmp_path / "mean", tune=False)
    assert summary["dev_combined"] is None


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"model": "./nowhere"}, r"teach\.others\.0\.model: \./nowhere: no such file"),
        ({"model": "{folder}/student"}, r"teach\.others\.0\.model: .*decoder-only"),
        (
            {"model": "{folder}/teacher", "max_length": 65},
            r"teach\.others\.0\.max_length is 65, but .* 64 positions",
        ),
    ],
)
def test_further_models_are_checked_like_the_first(tmp_path: Path, other: dict[str, Any], message: str) -> None:
    tiny_config(tmp_path)
    other = {**other, "model": other["model"].format(folder=tmp_path)}
    with pytest.raises(FlipkdError, match=message):
        checked_plan(tiny_config(tmp_path, teach={"others": [other]}), until="score")


def test_several_are_no_model_folder(tuned: tuple[Path, dict[str, Any]]) -> None:
    with pytest.raises(FlipkdError, match="is no model folder"):
        load_teacher(tuned[0] / "teach" / "teacher")
