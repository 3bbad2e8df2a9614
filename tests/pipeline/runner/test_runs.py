"""A run's record: how it begins and ends, and that a reader tells a run in progress from a killed one."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from data.errors import FlipkdError
from pipeline.cli.runs_view import runs_json, runs_table, stages_line
from pipeline.config.config import Config
from pipeline.runner.plan import Step
from pipeline.runner.runs import one_line, recording, runs, sweep_locks, without_secrets
from pipeline.store.store import Store
from tests.stores import key_of, put, put_run

CONFIG = Config.model_validate({"prepare": {"inputs": [{"kind": "pairs", "path": "pairs.csv"}]}})
STEPS = [
    Step(stage, key_of(f"{stage}a"), 0, {}, {"prepare": key_of("preparea")} if stage != "prepare" else {})
    for stage in ("prepare", "teach", "score")
]
RUNNER = """
import sys, time
from pathlib import Path
from tests.pipeline.runner.test_runs import CONFIG, STEPS
from pipeline.runner.runs import recording
from pipeline.store.store import Store
with recording(CONFIG, Store(Path(sys.argv[1])), STEPS) as run:
    print(run, flush=True)
    time.sleep(60)
"""


def test_a_completed_run_says_what_was_computed_and_what_was_there(tmp_path: Path):
    store = Store(tmp_path)
    put(store, "prepare", "a")
    with recording(CONFIG, store, STEPS) as name:
        assert [run.state for run in runs(store)] == ["running"]
        put(store, "teach", "a")
    (run,) = runs(store)
    assert (run.id, run.state) == (name, "completed")
    assert run.record is not None
    assert {stage: found.outcome for stage, found in run.record.stages.items()} == {
        "prepare": "cached", "teach": "computed", "score": "not reached",
    }  # fmt: skip
    assert run.record.stages["teach"].seconds == 0.0
    assert run.planned == [(step.stage, step.key) for step in STEPS]
    assert run.record.config["prepare"]["inputs"][0]["path"] == "pairs.csv"
    assert run.record.seconds is not None
    assert run.record.seconds >= 0
    assert list((tmp_path / "locks").glob("run-*")) == []
    assert stages_line(run) == "1 cached, 1 computed, 1 not reached"


def test_an_artifact_that_is_written_again_counts_as_computed(tmp_path: Path):
    store = Store(tmp_path)
    put(store, "prepare", "a")
    with recording(CONFIG, store, STEPS[:1]):
        put(store, "prepare", "a")
    record = runs(store)[0].record
    assert record is not None
    assert record.stages["prepare"].outcome == "computed"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (FlipkdError("pairs.csv, row 3:\n  no label"), "pairs.csv, row 3: no label"),
        (RuntimeError("the disk\nis on fire"), "RuntimeError: the disk is on fire"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
    ],
)
def test_a_failed_run_says_why_in_one_line(tmp_path: Path, error: BaseException, line: str):
    store = Store(tmp_path)
    with pytest.raises(type(error)), recording(CONFIG, store, STEPS):
        raise error
    (run,) = runs(store)
    assert run.state == "failed"
    assert run.record is not None
    assert run.record.error == line


def test_a_killed_run_is_crashed_at_once_and_its_lock_is_swept(tmp_path: Path):
    store = Store(tmp_path)
    process = subprocess.Popen([sys.executable, "-c", RUNNER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    name = process.stdout.readline().strip()
    assert [(run.id, run.state) for run in runs(store)] == [(name, "running")]
    assert sweep_locks(store) == 0
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert [run.state for run in runs(store)] == ["crashed"]
    assert sweep_locks(store) == 1
    assert [run.state for run in runs(store)] == ["crashed"]


def test_a_damaged_record_is_one_line_of_the_list(tmp_path: Path):
    store = Store(tmp_path)
    good = put_run(store, "20270101T000000Z-aaaaaa", {"prepare": put(store, "prepare", "a")}, age_days=1)
    bad = put_run(store, "20270102T000000Z-bbbbbb", {}, age_days=0)
    bad.write_text('{"id": ', "utf-8")
    newer = put_run(store, "20270103T000000Z-cccccc", {}, age_days=0)
    newer.write_text(json.dumps(json.loads(good.read_text("utf-8")) | {"of_a_newer_version": 1}), "utf-8")
    found = runs(store)
    assert [run.state for run in found] == ["completed", "damaged", "completed"]
    assert str(bad) in found[1].problem
    assert runs_table(found).row_count == 3
    assert [row["state"] for row in json.loads(runs_json(found))] == ["completed", "damaged", "completed"]


def test_an_unwritable_store_is_one_message(tmp_path: Path):
    (tmp_path / "file").write_text("no folder", "utf-8")
    with (
        pytest.raises(FlipkdError, match=f"{tmp_path / 'file'}.*Choose another store"),
        recording(CONFIG, Store(tmp_path / "file"), STEPS),
    ):
        pass


def test_the_end_that_cannot_be_written_does_not_hide_the_error(
    tmp_path: Path, flipkd_log: pytest.LogCaptureFixture
):
    store = Store(tmp_path)

    def fail(name: str) -> None:
        (tmp_path / "runs" / f"{name}.json").unlink()
        (tmp_path / "runs").rmdir()
        (tmp_path / "runs").write_text("in the way", "utf-8")
        raise ValueError("the real one")

    with pytest.raises(ValueError, match="the real one"), recording(CONFIG, store, STEPS) as run:
        fail(run)
    assert "could not be written down" in flipkd_log.text


def test_secrets_do_not_reach_a_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefgh12345")
    monkeypatch.setenv("HARMLESS", "pairs.csv")
    assert without_secrets({"a": ["x hf_abcdefgh12345 y", 3, None, "pairs.csv"]}) == {
        "a": ["x *** y", 3, None, "pairs.csv"]
    }
    assert without_secrets("https://user:word@host/x?y=a@b") == "https://***@host/x?y=a@b"
    assert one_line(RuntimeError("401 for https://me:pw@hub, hf_abcdefgh12345")) == (
        "RuntimeError: 401 for https://***@hub, ***"
    )
    with pytest.raises(RuntimeError), recording(CONFIG, Store(tmp_path), STEPS):
        raise RuntimeError("sent hf_abcdefgh12345")
    assert all(b"hf_abc" not in path.read_bytes() for path in (tmp_path / "runs").iterdir())
