from __future__ import annotations

import csv
import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from data.errors import FlipkdError
from pipeline.cli.main import app
from pipeline.config.config import Config
from pipeline.config.location import store_of
from pipeline.drift.check import check_drift, measure_drift
from pipeline.drift.view import drift_markdown
from pipeline.runner.execute import describe_files, execute
from pipeline.runner.plan import Step, plan
from pipeline.store.manifest import Manifest
from pipeline.store.store import Store
from tests.tiny import tiny_config

Night = tuple[Config, list[Step]]
EXPORT = "0123456789abcdef0123"


def _night(folder: Path, rows: list[list[str]] | None = None, **sections: Any) -> Night:
    """Run a config's stages up to `score`, with other rows than the tiny ones if they are given."""
    config = tiny_config(folder, **{"teach": {"tune": False}} | sections)
    if rows is not None:
        path = folder / "other.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([["question", "text_a", "text_b", "label"], *rows])
        inputs = {"inputs": [{"kind": "pairs", "path": str(path), "group": "question"}], "max_rejected": 1}
        config = tiny_config(folder, **{"teach": {"tune": False}} | sections | {"prepare": inputs})
    steps = plan(config, "score")
    for step in steps:
        execute(step, config, store_of(config))
    return config, steps


def _promote(store: Store, steps: list[Step]) -> None:
    """An export that was made from these steps, and the link that puts it into use."""
    with store.writing("export", EXPORT) as folder:
        manifest = Manifest(
            stage="export", stage_version=1, key=EXPORT, config={},
            inputs={step.stage: step.key for step in steps}, files=describe_files(folder),
            summary={}, packages={}, machine={}, seed=0, started="2026-01-01",
            duration_seconds=1,
        )  # fmt: skip
        (folder / "manifest.json").write_text(manifest.model_dump_json())
    (store.root / "current").mkdir()
    (store.root / "current" / "default").symlink_to(Path("..") / "artifacts" / "export" / EXPORT)


@pytest.fixture(scope="module")
def first_night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose store has a student in use. Copy it."""
    folder = tmp_path_factory.mktemp("drift")
    config, steps = _night(folder)
    _promote(store_of(config), steps)
    return folder


@pytest.fixture
def folder(first_night: Path, tmp_path: Path) -> Path:
    return shutil.copytree(first_night, tmp_path / "copy", symlinks=True)


def _rows(folder: Path) -> list[list[str]]:
    with (folder / "pairs.csv").open(encoding="utf-8") as file:
        return list(csv.reader(file))[1:]


def _changed(folder: Path) -> list[list[str]]:
    """Longer texts, mostly positives, some rows that cannot be taken."""
    rows = [[question, f"{a} how do i {a}", b, "1"] for question, a, b, _ in _rows(folder)]
    rows[::8] = [[question, a, b, "0"] for question, a, b, _ in rows[::8]]
    return [*rows, *([str(n), "", "card", "1"] for n in range(900, 910))]


def _frames(store: Store, steps: list[Step]) -> tuple[pd.DataFrame, pd.DataFrame]:
    keys = {step.stage: step.key for step in steps}
    prepare, score = (store.path(stage, keys[stage]) for stage in ("prepare", "score"))
    return pd.read_parquet(prepare / "pairs.parquet"), pd.read_parquet(score / "scores.parquet")


def _largest_difference(a: np.ndarray, b: np.ndarray) -> float:
    at = np.concatenate([a, b])
    return max(abs(float(np.mean(a <= value) - np.mean(b <= value))) for value in at)


def test_nothing_to_compare(folder: Path, flipkd_log: pytest.LogCaptureFixture) -> None:
    config, steps = _night(folder)
    off = config.model_copy(update={"drift": config.drift.model_copy(update={"enabled": False})})
    assert check_drift(off, store_of(config), steps) is None
    assert check_drift(config, store_of(config), steps[:1]) is None
    (folder / "store" / "current" / "default").unlink()
    assert check_drift(config, store_of(config), steps) is None
    assert "drift" not in flipkd_log.text


def test_the_same_data_do_not_drift(folder: Path) -> None:
    config, steps = _night(folder)
    report = check_drift(config, store_of(config), steps)
    assert report is not None
    assert [measure.distance for measure in report.measures] == [0, 0, 0, 0]
    assert [measure.verdict for measure in report.measures] == ["ok"] * 4
    assert report.in_use == EXPORT
    assert report.tonight == report.before == {step.stage: step.key for step in steps}
    assert not report.teachers_differ


def test_distances_are_what_the_files_say(folder: Path) -> None:
    config, before = _night(folder)
    store = store_of(config)
    old_pairs, old_scores = _frames(store, before)
    config, steps = _night(folder, _changed(folder))
    report = measure_drift(config, store, steps)
    assert report is not None
    pairs, scores = _frames(store, steps)
    found = {measure.name: measure for measure in report.measures}
    new, old = (np.concatenate([f[side].str.len() for side in ("text_a", "text_b")]) for f in (pairs, old_pairs))
    assert found["text_lengths"].distance == pytest.approx(_largest_difference(new, old))
    assert found["text_lengths"].tonight == np.median(new)
    assert found["teacher_scores"].distance == pytest.approx(
        _largest_difference(*(frame["teacher_score"].to_numpy() for frame in (scores, old_scores)))
    )
    assert found["teacher_scores"].in_use == pytest.approx(old_scores["teacher_score"].median())
    assert found["rejected"].tonight == pytest.approx(10 / 90)
    assert found["rejected"].in_use == 0
    assert found["label_rate"].distance == pytest.approx(abs(pairs["label"].mean() - 0.5))
    pooled = (int(pairs["label"].to_numpy().sum()) + 40) / 160
    assert found["label_rate"].noise == pytest.approx(3.29 * math.sqrt(pooled * (1 - pooled) / 40))


def test_above_a_limit_it_warns_or_stops(folder: Path, flipkd_log: pytest.LogCaptureFixture) -> None:
    limits = {
        "teacher_scores": {"warn": None},
        "text_lengths": {"warn": 0.1},
        "rejected": 0.02,
        "label_rate": 0.05,
    }
    config, steps = _night(folder, _changed(folder), drift=limits)
    report = check_drift(config, store_of(config), steps)
    assert report is not None
    assert [measure.name for measure in report.passed("warn")] == ["text_lengths", "label_rate"]
    lines = [record.getMessage() for record in flipkd_log.records if record.name == "flipkd.drift"]
    assert len(lines) == 2
    assert lines[0].startswith("drift: text lengths in characters (median):")
    assert f"0.5 in the run in use ({EXPORT}), distance 0.375" in lines[1]

    stops = {name: {"warn": 0.01, "stop": 0.02} for name in ("text_lengths", "label_rate")}
    strict = tiny_config(folder, drift=limits | stops, teach={"tune": False}).drift
    config = config.model_copy(update={"drift": strict})
    flipkd_log.clear()
    assert check_drift(config, store_of(config), steps) is not None  # the plan trains nothing, so it only warns
    assert "drift.label_rate.stop is 0.02" in flipkd_log.text
    with pytest.raises(FlipkdError) as caught:
        check_drift(config, store_of(config), plan(config, "distill"))
    message = str(caught.value)
    assert "give this config a name of its own (`promote.name`; it is default)" in message
    assert message.count(EXPORT) == 2
    assert "share of positives among the labelled pairs: 0.875 tonight, 0.5 in the run in use" in message
    assert "drift.label_rate.stop is 0.02" in message
    assert "raise drift.text_lengths.stop or drift.label_rate.stop" in message
    assert "--set drift.enabled=false" in message


def test_a_baseline_stays_where_it_is(folder: Path, flipkd_log: pytest.LogCaptureFixture) -> None:
    """Whatever is in use, and whether anything is."""
    (folder / "store" / "current" / "default").unlink()
    config, steps = _night(folder, _changed(folder), drift={"baseline": EXPORT})
    report = check_drift(config, store_of(config), steps)
    assert report is not None
    assert report.in_use == EXPORT
    assert [measure.name for measure in report.passed("stop")] == ["text_lengths", "label_rate"]
    assert "behind the baseline" in flipkd_log.text
    assert f"in the baseline ({EXPORT})" in flipkd_log.text
    assert "within the limits" not in flipkd_log.text
    other = "f" * 20
    gone = config.model_copy(update={"drift": config.drift.model_copy(update={"baseline": other})})
    assert check_drift(gone, store_of(config), steps) is None
    assert "drift cannot be measured against drift.baseline" in flipkd_log.text
    assert other in flipkd_log.text


@pytest.mark.parametrize("baseline", ["first", "abc", "../../x", "F" * 20])
def test_a_baseline_is_a_key(folder: Path, baseline: str) -> None:
    with pytest.raises(ValueError, match=r"drift\.baseline"):
        tiny_config(folder, drift={"baseline": baseline})


def test_another_teacher_is_told_a_copy_of_the_same_is_not_another(folder: Path) -> None:
    config, steps = _night(folder)
    store = store_of(config)
    frozen = str(store.path("teach", steps[1].key) / "teacher")
    config, copied = _night(folder, teach={"tune": False, "model": frozen})
    assert copied[1].key != steps[1].key
    report = measure_drift(config, store, copied)
    assert report is not None
    assert not report.teachers_differ
    config, shorter = _night(folder, teach={"tune": False, "max_length": 8}, drift={"teacher_scores": {"stop": 1}})
    report = measure_drift(config, store, shorter)
    assert report is not None
    assert report.teachers_differ
    assert "the teachers differ" in drift_markdown(report)


@pytest.mark.parametrize("stage", ["prepare", "score", "export"])
def test_what_is_gone_or_damaged_behind_the_student_in_use_is_a_warning(
    folder: Path, stage: str, flipkd_log: pytest.LogCaptureFixture
) -> None:
    config, before = _night(folder)
    store = store_of(config)
    key = {step.stage: step.key for step in before}.get(stage, EXPORT)
    config, steps = _night(folder, _changed(folder))
    file = store.path(stage, key) / {"prepare": "pairs.parquet", "score": "scores.parquet"}.get(
        stage, "manifest.json"
    )
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 255
    file.write_bytes(raw)
    assert check_drift(config, store, steps) is None
    assert "drift cannot be measured against the run in use" in flipkd_log.text
    flipkd_log.clear()
    shutil.rmtree(store.path(stage, key))
    assert check_drift(config, store, steps) is None
    assert "drift cannot be measured against the run in use" in flipkd_log.text
    assert key in flipkd_log.text


def _config_file(folder: Path, config: Config) -> str:
    path = folder / "config.json.yaml"
    path.write_text(json.dumps(config.model_dump(mode="json", exclude_unset=True)))
    return str(path)


def test_the_command(folder: Path) -> None:
    config, _ = _night(folder)
    file, call = _config_file(folder, config), CliRunner().invoke
    same = call(app, ["drift", file])
    assert same.exit_code == 0, same.output
    assert "teacher scores (median)" in same.output
    assert EXPORT in same.output
    unknown = call(app, ["drift", file, "--set", "teach.max_length=16"])
    assert unknown.exit_code == 1
    assert "teach and score of this config have not run" in unknown.output
    assert f"flipkd run {file} --until score" in unknown.output
    config, _ = _night(folder, _changed(folder))
    file = _config_file(folder, config)
    assert call(app, ["drift", file]).exit_code == 1  # share of positives: 0.375 away, the stop is 0.2
    raised = [word for name in ("label_rate", "text_lengths") for word in ("--set", f"drift.{name}.stop=1")]
    assert call(app, ["drift", file, *raised]).exit_code == 0
    assert "nothing is compared" in call(app, ["drift", file, "--set", "drift.enabled=false"]).output
    (folder / "store" / "current" / "default").unlink()
    none = call(app, ["drift", file])
    assert none.exit_code == 0
    assert "no student is in use under the name config-json" in none.output
