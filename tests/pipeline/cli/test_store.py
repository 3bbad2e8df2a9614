"""The commands `runs`, `lineage`, `verify` and `gc`, as a person types them."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from pipeline.cli.main import app
from pipeline.config.load import load_config
from pipeline.runner.plan import plan
from pipeline.stages.registry import STAGES
from pipeline.store.store import Store
from tests.stores import DAY, put, put_chain, put_run, set_time

N = len(STAGES)


def flipkd(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two chains: one that a run used just now, one of long ago."""
    store = Store(tmp_path / "store")
    now = time.time()
    for name, age in (("new", 0), ("old", 100)):
        chain = put_chain(store, name, age_days=100, now=now)
        record = put_run(store, f"2020010{age // 100 + 1}T000000Z-aaaaaa", chain, age_days=0)
        content = json.loads(record.read_text("utf-8"))
        times = {"started": "2020-01-01T00:00:00+00:00", "ended": "2020-01-01T01:00:00+00:00"}
        record.write_text(json.dumps(content | times | {"seconds": 61.0}), "utf-8")
        set_time(record, now - age * DAY)
    return store


def test_gc_shows_and_only_with_delete_does_it(store: Store):
    before = store.artifacts()
    shown = flipkd("gc", "--store", store.root)
    assert shown.exit_code == 0
    assert "last used 100 days ago" in shown.output
    assert f"{N} artifacts stay: {N} used lately" in shown.output
    assert "would go. To do it: --delete" in shown.output
    assert store.artifacts() == before
    done = flipkd("gc", "--store", store.root, "--delete")
    assert f"Removed {N} of {N}" in done.output
    assert len(store.artifacts()) == N
    assert "Nothing to remove" in flipkd("gc", "--store", store.root).output
    assert f"Removed {N} of {N}" in flipkd("gc", "--store", store.root, "--max-size", "1kB", "--delete").output


def test_gc_refuses_what_it_cannot_know(store: Store, tmp_path: Path):
    config = tmp_path / "config.yaml"
    settings = {"store": str(store.root), "prepare": {"inputs": [{"kind": "pairs", "path": "gone.csv"}]}}
    config.write_text(yaml.safe_dump(settings), "utf-8")
    failed = flipkd("gc", config, "--delete")
    assert failed.exit_code == 1
    assert "gone.csv" in failed.output
    assert "must be known before anything is removed" in failed.output
    assert len(store.artifacts()) == 2 * N
    assert "no size" in flipkd("gc", "--store", store.root, "--max-size", "big").output
    assert "not both" in flipkd("gc", config, "--store", store.root).output


def test_gc_takes_configs_of_one_store_alone(tmp_path: Path):
    paths = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        path = tmp_path / f"{name}.yaml"
        inputs = [{"kind": "pairs", "path": "pairs.csv"}]
        path.write_text(yaml.safe_dump({"store": str(tmp_path / name), "prepare": {"inputs": inputs}}), "utf-8")
        paths.append(path)
    failed = flipkd("gc", *paths)
    assert failed.exit_code == 1
    assert "one at a time" in failed.output


def test_gc_keeps_what_a_real_config_plans(tmp_path: Path):
    from tests.tiny import tiny_config

    config = tiny_config(tmp_path)
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config.model_dump(mode="json")), "utf-8")
    step = plan(load_config(path))[0]
    store = Store(tmp_path / "store")
    one = put(store, "prepare", "a", age_days=100, now=time.time())
    mine = store.path("prepare", step.key)
    shutil.copytree(store.path(*one), mine)
    set_time(mine, time.time() - 100 * DAY)
    assert flipkd("gc", path, "--delete").exit_code == 0
    assert store.artifacts() == [("prepare", step.key)]


def test_runs(store: Store):
    shown = flipkd("runs", "--store", store.root)
    assert "completed" in shown.output
    assert "61 s" in shown.output
    rows = json.loads(flipkd("runs", "--store", store.root, "--json", "-n", "1").output)
    assert [row["id"] for row in rows] == ["20200102T000000Z-aaaaaa"]
    shutil.rmtree(store.root / "runs")
    assert "no run is recorded" in flipkd("runs", "--store", store.root).output


def test_lineage(store: Store):
    stage, key = store.artifacts()[0]
    assert key in flipkd("lineage", key[:8], "--store", store.root).output
    told = json.loads(flipkd("lineage", f"{stage}/{key}", "--store", store.root, "--json").output)
    assert told["artifact"] == f"{stage}/{key}"
    failed = flipkd("lineage", "0123456789", "--store", store.root)
    assert failed.exit_code == 1
    assert "there are" in failed.output


def test_verify(store: Store):
    fine = flipkd("verify", "--store", store.root)
    assert (fine.exit_code, f"{2 * N} artifacts, {2 * N} files" in fine.output) == (0, True)
    stage, key = store.artifacts()[0]
    (store.path(stage, key) / "inner" / "data.bin").write_bytes(b"x")
    wrong = flipkd("verify", "--store", store.root)
    assert wrong.exit_code == 1
    assert f"{stage}/{key}" in wrong.output
    assert "flipkd run CONFIG" in wrong.output
    removed = flipkd("verify", "--store", store.root, "--remove")
    assert (removed.exit_code, f"Removed {stage}/{key}" in removed.output) == (1, True)
    assert (stage, key) not in store.artifacts()


@pytest.mark.parametrize("command", [("runs",), ("verify",), ("gc",), ("lineage", "abc")])
def test_where_there_is_no_store_one_line_says_so(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("FLIPKD_HOME", str(tmp_path / "nowhere"))
    failed = flipkd(*command)
    assert failed.exit_code == 1
    assert f"there is no store at {tmp_path / 'nowhere'}" in failed.output
    assert "Traceback" not in failed.output
    assert not (tmp_path / "nowhere").exists()
