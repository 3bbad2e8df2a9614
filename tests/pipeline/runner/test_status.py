"""The state of a config's artifacts."""

from __future__ import annotations

import re
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.config.location import store_of
from pipeline.runner.plan import plan
from pipeline.runner.status import status
from tests.tiny import tiny_config


def test_age_size_and_damage(tiny_run: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_run, tmp_path / "copy")
    config = tiny_config(folder)
    keys = {step.stage: step.key for step in plan(config)}
    store = store_of(config)
    scores = store.path("score", keys["score"])
    manifest = store.manifest("score", keys["score"])
    (scores / "scores.parquet").unlink()
    shutil.rmtree(store.path("filter", keys["filter"]))
    now = datetime.fromisoformat(store.manifest("teach", keys["teach"]).started) + timedelta(hours=5)
    found = {one.stage: one for one in status(config, now)}
    assert [found[stage].state for stage in ("prepare", "teach", "score", "filter")] == [
        "cached",
        "cached",
        "damaged",
        "not there",
    ]
    assert found["score"].summary == "scores.parquet is missing"
    assert found["teach"].age_seconds == pytest.approx(5 * 3600, abs=120)
    teacher = store.path("teach", keys["teach"])
    on_disk = [
        p for p in teacher.rglob("*") if p.is_file() and p.name not in {"manifest.json", "prefect-result.json"}
    ]
    assert found["teach"].bytes == sum(path.stat().st_size for path in on_disk)
    rows = pq.read_metadata(store.path("prepare", keys["prepare"]) / "pairs.parquet").num_rows
    told = [int(n) for n in re.findall(r"(?:train|dev|test) (\d+)", found["prepare"].summary)]
    assert sum(told) == rows == 80
    assert "0 of 80 rows rejected" in found["prepare"].summary
    assert manifest.key == found["score"].key
