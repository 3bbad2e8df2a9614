"""The numbers of a comparison against scikit-learn."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from data.errors import FlipkdError
from pipeline.comparison.statistics import MeasuredStudent, summarise, teacher_names, value_rows
from pipeline.comparison.view import cost_table, draw, markdown
from pipeline.evaluation.metrics import METRICS
from tests.comparisons import measured, measured_folder
from tests.stores import write_manifest

SCORES = ("teacher", "decoder", "encoder", "fused")


def test_means_and_differences_against_scikit_learn(compared: Path) -> None:
    summary = pl.read_parquet(compared / "out/summary.parquet")
    found = {v: [measured(compared, v, seed) for seed in (1, 2)] for v in ("flip", "sft")}

    def values(variant: str, score: str, rows: np.ndarray) -> list[tuple[float, float]]:
        out = []
        for pairs, thresholds in found[variant]:
            y, s = pairs["label"].to_numpy()[rows], pairs[score].to_numpy()[rows].astype(np.float64)
            out.append((f1_score(y, s >= thresholds[score]), float(roc_auc_score(y, s))))
        return out

    whole = np.arange(found["flip"][0][0].height)
    for score in SCORES[1:]:
        per_seed = np.array(values("flip", score, whole))
        for column, metric in enumerate(("f1", "auroc")):
            row = summary.filter(variant="flip", score=score, metric=metric, against="").row(0, named=True)
            assert row["mean"] == pytest.approx(per_seed[:, column].mean())
            assert row["deviation"] == pytest.approx(per_seed[:, column].std(ddof=1))
    generator, labels = np.random.default_rng(5), found["flip"][0][0]["label"].to_numpy()
    gaps = []
    pairs = found["flip"][0][0]
    assert pairs["group"].null_count() == 0
    groups = [
        np.flatnonzero((pairs["group"] == name).to_numpy()) for name in pairs["group"].unique(maintain_order=True)
    ]
    while len(gaps) < 2000:
        rows = np.concatenate([groups[n] for n in generator.integers(0, len(groups), len(groups))])
        if len(set(labels[rows])) == 2:
            ours, theirs = (np.array(values(v, "decoder", rows))[:, 1].mean() for v in ("flip", "sft"))
            gaps.append(ours - theirs)
    row = summary.filter(variant="flip", score="decoder", metric="auroc", against="sft").row(0, named=True)
    low, high = np.percentile(gaps, (2.5, 97.5))
    width = high - low
    assert row["low"] == pytest.approx(low, abs=0.4 * width)
    assert row["high"] == pytest.approx(high, abs=0.4 * width)


def test_a_variant_that_lacks_seeds_is_compared_on_those_it_has(compared: Path) -> None:
    """As where a run was stopped: flip has both seeds, sft the second alone."""
    found = {v: [measured(compared, v, seed) for seed in (1, 2)] for v in ("flip", "sft")}
    folders = {v: [measured_folder(compared, v, seed) for seed in (1, 2)] for v in ("flip", "sft")}
    students = [
        MeasuredStudent("tiny", "flip", seed, folder) for seed, folder in zip((1, 2), folders["flip"], strict=True)
    ]
    students.append(MeasuredStudent("tiny", "sft", 2, folders["sft"][1]))
    summary = summarise(students, "sft", count=100, seed=0)

    def auroc(variant: str, seed: int) -> float:
        pairs = found[variant][seed - 1][0]
        return float(roc_auc_score(pairs["label"], pairs["encoder"]))

    encoder = summary.filter(score="encoder", metric="auroc")
    mean = encoder.filter(variant="flip", against="").row(0, named=True)
    assert (mean["seeds"], mean["mean"]) == (2, pytest.approx((auroc("flip", 1) + auroc("flip", 2)) / 2))
    gap = encoder.filter(variant="flip", against="sft").row(0, named=True)
    assert (gap["seeds"], gap["mean"]) == (1, pytest.approx(auroc("flip", 2) - auroc("sft", 2)))
    assert gap["low"] <= gap["mean"] <= gap["high"]
    text = markdown(summary, "sft")
    assert "| `sft` (1 of 2 seeds) |" in text
    assert "| `flip` |" in text


def _student(folder: Path, variant: str, seed: int, teacher: int) -> MeasuredStudent:
    """A measured student by hand: 40 test pairs, whose teacher's scores a number decides."""
    labels = np.tile([0, 1], 20)
    artifacts, own = folder / "artifacts", f"{variant}-{seed}"
    cost = {"cost": {"tokens": 1000 * seed, "seconds": 10.0 * seed, "peak_memory_gb": None}}
    for stage, name, inputs, summary in (
        ("measure", own, {"distill": own}, {}),
        ("distill", own, {"score": f"{teacher}"}, cost),
        ("score", f"{teacher}", {"teach": f"{teacher}"}, {}),
        ("teach", f"{teacher}", {}, {}),
    ):
        (artifacts / stage / name).mkdir(parents=True, exist_ok=True)
        write_manifest(artifacts / stage / name, stage, {}, summary, inputs=inputs, duration_seconds=7.0 * teacher)
    folder = artifacts / "measure" / own
    drawn = {"teacher": teacher} | {name: 10 * seed + n for n, name in enumerate(SCORES[1:])}
    columns = {
        "pair_id": [f"{n:02}" for n in range(40)],
        "split": ["test"] * 40,
        "text_a": [f"query {n // 2}" for n in range(40)],
        "group": pl.Series([None] * 40, dtype=pl.String),
        "label": labels,
        **{name: 0.4 * labels + np.random.default_rng(own).random(40) for name, own in drawn.items()},
    }
    pl.DataFrame(columns).write_parquet(folder / "predictions.parquet")
    scores = {name: {metric: {"value": 0.5} for metric in METRICS} for name in SCORES}
    metrics = {"thresholds": dict.fromkeys(SCORES, 0.6), "splits": {"dev": scores, "test": scores}}
    (folder / "metrics.json").write_text(json.dumps(metrics), "utf-8")
    return MeasuredStudent("made", variant, seed, folder)


def test_variants_may_have_teachers_of_their_own(tmp_path: Path) -> None:
    """Each is compared with its own; a teacher that several share stands once."""
    teachers = {"sft": 1, "flip": 1, "flip_tuned": 2, "flip_mined": 2}
    students = [_student(tmp_path, name, seed, number) for name, number in teachers.items() for seed in (1, 2)]
    other = "teacher of flip_tuned"
    assert list(teacher_names(students).values()) == ["teacher", "teacher", other, other]
    summary = summarise(students, "sft", count=100, seed=0).filter(metric="auroc")

    def auroc(variant: str, seed: int, score: str) -> float:
        pairs = pl.read_parquet(tmp_path / "artifacts" / "measure" / f"{variant}-{seed}" / "predictions.parquet")
        return float(roc_auc_score(pairs["label"], pairs[score]))

    for name, variant in (("teacher", "sft"), ("teacher of flip_tuned", "flip_mined")):
        row = summary.filter(variant=name, against="").row(0, named=True)
        assert row["mean"] == pytest.approx(auroc(variant, 1, "teacher"))
        assert summary.filter(variant=name).height == 1
        found = summary.filter(variant=variant, score="decoder", against="teacher").row(0, named=True)
        students_mean = np.mean([auroc(variant, seed, "decoder") for seed in (1, 2)])
        assert found["mean"] == pytest.approx(students_mean - row["mean"])
    values = value_rows(students)
    assert set(values["variant"]) == {*teachers, "teacher", "teacher of flip_tuned"}
    costs = values.filter(score="cost", split="train").select("variant", "seed", "metric", "value").rows()
    assert ("flip", 2, "tokens", 2000.0) in costs
    assert ("teacher", 0, "seconds", 7.0) in costs
    assert ("teacher of flip_tuned", 0, "seconds", 14.0) in costs
    assert len(costs) == 2 + 2 * len(students)
    assert "| teacher of flip_tuned | 14 |  |  |" in cost_table(values)
    assert "| `flip_mined` | 15 | 1,500 |  |" in cost_table(values)
    table = markdown(summarise(students, "sft", count=100, seed=0), "sft")
    assert table.count("\n| teacher |") == 2 == table.count("\n| teacher of flip_tuned |")
    draw(summarise(students, "sft", count=100, seed=0), tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_other_test_pairs_are_refused(tmp_path: Path) -> None:
    students = [_student(tmp_path, "sft", 1, 1), _student(tmp_path, "flip", 1, 1)]
    pairs = pl.read_parquet(students[1].folder / "predictions.parquet")
    pairs.with_columns(label=1 - pl.col("label")).write_parquet(students[1].folder / "predictions.parquet")
    with pytest.raises(FlipkdError, match="made: variant flip has other test pairs than sft"):
        summarise(students, "sft", count=100, seed=0)
