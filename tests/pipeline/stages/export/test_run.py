"""The stage on a real tiny run, and on changed copies of its inputs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from data.errors import FlipkdError
from data.schema import PREDICTIONS, read_metadata
from models.loading.names import find_model
from models.student.load import load_student, score_pairs
from pipeline.contract.stage import Context
from pipeline.evaluation.metrics import METRICS
from pipeline.stages.export.config import ExportConfig
from pipeline.stages.export.report import TEMPLATES
from pipeline.stages.export.run import run
from pipeline.stages.registry import STAGES
from pipeline.store.manifest import read_manifest
from pipeline.store.store import Store

SCORES = ("teacher", "decoder", "encoder", "fused")
HOSTILE = "<script>alert('x')</script> & <b>bold</b> \"quoted\" 花呗怎么还款"


def artifact(folder: Path, stage: str) -> Path:
    return next(path.parent for path in (folder / "store/artifacts" / stage).glob("*/manifest.json"))


@pytest.fixture(scope="session")
def exported(tiny_run: Path) -> Path:
    return artifact(tiny_run, "export")


@pytest.fixture
def export_again(tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Run the stage on scores changed by `change`; without the clean process, which has its own tests."""
    monkeypatch.setattr("pipeline.stages.export.run.check_in_clean_process", lambda *_: {"encode": 0.0})

    def again(change: Callable[[pl.DataFrame], pl.DataFrame], base: str = str(tiny_run / "student")) -> Path:
        inputs = {stage: artifact(tiny_run, stage) for stage in STAGES["export"].reads}
        for stage, file in (("score", "scores.parquet"), ("filter", "filtered.parquet")):
            copy = tmp_path / stage
            copy.mkdir()
            (copy / "manifest.json").write_bytes((inputs[stage] / "manifest.json").read_bytes())
            change(pl.read_parquet(inputs[stage] / file)).write_parquet(copy / file)
            inputs[stage] = copy
        out = tmp_path / "out"
        out.mkdir()
        context = Context(13, tmp_path / "final", tmp_path, Store(tmp_path), {"distill.model": base})
        run(ExportConfig.model_validate({"bootstrap": 100, "examples": 5}), inputs, out, context)
        return out

    return again


def test_predictions_hold_every_dev_and_test_pair(tiny_run: Path, exported: Path) -> None:
    path = exported / "predictions.parquet"
    frame = pd.read_parquet(path)
    assert list(frame.columns) == PREDICTIONS.names
    scores = pl.read_parquet(artifact(tiny_run, "score") / "scores.parquet").filter(pl.col("split") != "train")
    assert frame["pair_id"].tolist() == scores["pair_id"].to_list()
    assert frame["teacher"].tolist() == scores["teacher_score"].to_list()
    counted = duckdb.read_parquet(str(path)).aggregate("split, count(*)").fetchall()
    assert dict(counted) == {"dev": 20, "test": 20}
    assert (
        read_metadata(path)["thresholds"]
        == json.loads((exported / "student/decision.json").read_text())["thresholds"]
    )


def test_metrics_follow_from_the_predictions(exported: Path) -> None:
    found = json.loads((exported / "metrics.json").read_text())
    frame = pl.read_parquet(exported / "predictions.parquet")
    assert set(found["splits"]) == {"dev", "test"}
    for split, scores in found["splits"].items():
        rows = frame.filter(split=split)
        for name in SCORES:
            assert set(scores[name]) == {*METRICS, "threshold"}
            assert all(set(estimate) == {"value", "low", "high"} for estimate in scores[name].values())
            threshold = found["thresholds"][name]
            assert scores[name]["threshold"]["value"] == threshold
            called = rows[name].to_numpy().astype(float) >= threshold
            assert scores[name]["f1"]["value"] == pytest.approx(f1_score(rows["label"], called))
            assert scores[name]["auroc"]["value"] == pytest.approx(roc_auc_score(rows["label"], rows[name]))
        expected = rows.select(pl.corr("encoder", "teacher", method="spearman")).item()
        assert found["alignment"][split] == pytest.approx(expected)
        assert found["counts"][split] == {"pairs": 20, "labelled": 20, "positive": 10} | {
            name: found["counts"][split][name] for name in ("kept", "resamples_dropped")
        }


def test_the_artifacts_and_durations_behind_it_are_named(tiny_run: Path, exported: Path) -> None:
    found = json.loads((exported / "metrics.json").read_text())
    assert found["artifacts"] == {stage: artifact(tiny_run, stage).name for stage in STAGES}
    for stage, seconds in found["durations"].items():
        manifest = json.loads((artifact(tiny_run, stage) / "manifest.json").read_text())
        assert seconds == manifest["duration_seconds"]


def test_the_saved_student_gives_the_predictions(exported: Path) -> None:
    frame = pl.read_parquet(exported / "predictions.parquet")
    student = load_student(exported / "student")
    found = score_pairs(student, list(zip(frame["text_a"], frame["text_b"], strict=True)), 7)
    for name in ("decoder", "encoder", "fused"):
        assert np.abs(found[name] - frame[name].to_numpy()).max() < 1e-5


def without_own_script(html: str) -> str:
    """The report without the one script of its own."""
    script = f"<script>{(TEMPLATES / 'report.js').read_text('utf-8')}</script>"
    assert html.count(script) == 1
    return html.replace(script, "")


def test_the_report_is_one_file_without_other_scripts_or_links_out(exported: Path) -> None:
    html = without_own_script((exported / "report.html").read_text(encoding="utf-8"))
    assert "<script" not in html
    for fetch in ("src=", "<link", "@import", 'href="http', "url(http"):
        assert fetch not in html
    assert html.count("<svg") == len(list((exported / "figures").glob("*.svg"))) == 7
    assert "prefers-color-scheme: dark" in html
    assert "viewport" in html


def test_texts_of_the_data_are_escaped(export_again: Callable[..., Path]) -> None:
    out = export_again(lambda rows: rows.with_columns(text_a=pl.lit(HOSTILE)))
    html = without_own_script((out / "report.html").read_text(encoding="utf-8"))
    assert "<script" not in html
    assert "<b>bold" not in html
    escaped = "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; &lt;b&gt;bold"
    suspected, _, disagreements = html.partition("worst disagreements on")
    assert disagreements.count(escaped) == 5
    assert suspected.count(escaped) == suspected.count("<article") >= 5
    assert "花呗怎么还款" in html


def test_unlabelled_pairs_are_predicted_and_not_measured(export_again: Callable[..., Path]) -> None:
    some = (pl.col("split") == "test") & (pl.col("source_row") % 3 == 0)
    out = export_again(lambda rows: rows.with_columns(label=pl.when(~some).then("label")))
    frame = pl.read_parquet(out / "predictions.parquet").filter(split="test")
    known = frame.drop_nulls("label")
    assert 0 < known.height < frame.height == 20
    found = json.loads((out / "metrics.json").read_text())
    assert found["counts"]["test"]["labelled"] == known.height
    expected = roc_auc_score(known["label"], known["fused"])
    assert found["splits"]["test"]["fused"]["auroc"]["value"] == pytest.approx(expected)


@pytest.mark.parametrize("label", [None, 1])
def test_a_test_split_without_both_labels_leaves_gaps_and_no_nan(
    export_again: Callable[..., Path], label: int | None
) -> None:
    is_test = pl.col("split") == "test"
    wanted = pl.when(is_test).then(pl.lit(label, pl.Int8)).otherwise("label")
    out = export_again(lambda rows: rows.with_columns(label=wanted))

    def refuse(constant: str) -> Any:
        raise AssertionError(constant)

    found = json.loads((out / "metrics.json").read_text(), parse_constant=refuse)
    fused = found["splits"]["test"]["fused"]
    assert fused["auroc"] == {"value": None, "low": None, "high": None}
    assert (fused["accuracy"]["value"] is None) == (label is None)
    assert f"<h2>On {'dev' if label is None else 'test'}</h2>" in (out / "report.html").read_text(encoding="utf-8")


def test_dev_without_both_labels_is_an_error_that_says_so(export_again: Callable[..., Path]) -> None:
    with pytest.raises(FlipkdError, match=r"dev holds 10 matching and 0 other labelled pairs"):
        export_again(lambda rows: rows.filter((pl.col("split") != "dev") | (pl.col("label") == 1)))


def test_another_base_model_is_refused(export_again: Callable[..., Path], tiny_run: Path) -> None:
    with pytest.raises(FlipkdError, match="not the model that distill trained on"):
        export_again(lambda rows: rows, base=str(tiny_run / "teacher"))


def test_the_same_inputs_give_the_same_bytes(export_again: Callable[..., Path], exported: Path) -> None:
    out = export_again(lambda rows: rows)
    for split, scores in json.loads((out / "metrics.json").read_text())["splits"].items():
        assert scores == json.loads((exported / "metrics.json").read_text())["splits"][split]
    for figure in (exported / "figures").iterdir():
        assert (out / "figures" / figure.name).read_bytes() == figure.read_bytes()
    pd.testing.assert_frame_equal(
        pd.read_parquet(out / "predictions.parquet"), pd.read_parquet(exported / "predictions.parquet")
    )


def test_the_base_travels_along(tiny_run: Path, exported: Path) -> None:
    assert (exported / "student/base/model.safetensors").is_file()
    adapter = json.loads((exported / "student/adapter_config.json").read_text())
    assert Path(adapter["base_model_name_or_path"]) == exported / "student/base"
    assert find_model(str(tiny_run / "student")).name in (exported / "student/README.md").read_text()


def test_the_log_s_figures_are_the_report_s(exported: Path) -> None:
    """Not rounded before they are shown: 0.96249... is 0.962 in both."""
    summary = read_manifest(exported).summary
    metrics = json.loads((exported / "metrics.json").read_text())["splits"][summary["split"]]
    for name, figures in summary["metrics"].items():
        assert figures == {metric: metrics[name][metric]["value"] for metric in figures}
