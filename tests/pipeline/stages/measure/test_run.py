"""A student measured without an export has the export's numbers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file

from models.student.flipkd_student import QUERIES
from pipeline.config.config import DistillConfig
from pipeline.config.location import store_of
from pipeline.runner.execute import execute
from pipeline.runner.plan import plan, side_step
from tests.tiny import tiny_config, tiny_student

ADAPTER = {"rank": 4, "alpha": 8}


@pytest.mark.parametrize(
    "distill",
    [
        {"lora": ADAPTER},
        {"lora": ADAPTER | {"last_layers": 1}},
        # A model cut to its first layers; its queries read below the adapters, so nothing of it is kept.
        {"model": "three", "first_layers": 2, "lora": ADAPTER | {"last_layers": 1}, "learning_rate": 0.02}
        | {"sites": {"modules": ["q_proj", "down_proj"], "pooling": "attention"}, "batch_tokens": 300},
    ],
)
def test_it_gives_what_the_export_gives(tiny_run: Path, tmp_path: Path, distill: dict[str, Any]) -> None:
    shutil.copytree(tiny_run, tmp_path / "run", symlinks=True)
    if "model" in distill:
        distill = distill | {"model": str(tiny_student(tmp_path / "run/three", layers=3))}
    # `measure` keeps the precision of the training, `export` always computes in fp32.
    config = tiny_config(tmp_path / "run", distill=distill | {"precision": "fp32"})
    store, steps = store_of(config), plan(config)
    for step in [*steps, side_step("measure", config, steps)]:
        execute(step, config, store)
    export = store.path("export", steps[-1].key)
    measured = store.path("measure", side_step("measure", config, steps).key)
    _as_asked(export / "student", config.distill)
    pairs = pl.read_parquet(export / "predictions.parquet").filter(pl.col("label").is_not_null())
    found = pl.read_parquet(measured / "predictions.parquet")
    assert found["pair_id"].to_list() == pairs["pair_id"].to_list()
    for name in ("teacher", "decoder", "encoder", "fused"):
        np.testing.assert_allclose(found[name].to_numpy(), pairs[name].to_numpy(), atol=2e-5, err_msg=name)
    ours, theirs = (json.loads((folder / "metrics.json").read_text("utf-8")) for folder in (measured, export))
    for name, metrics in theirs["splits"]["test"].items():
        assert ours["splits"]["test"][name]["auroc"]["value"] == pytest.approx(metrics["auroc"]["value"], abs=0.01)


def _as_asked(student: Path, config: DistillConfig) -> None:
    """The base is cut, and the queries have moved, where the config says so."""
    assert json.loads((student / "base/config.json").read_text())["num_hidden_layers"] == 2
    assert ("first 2 layers of" in (student / "README.md").read_text()) == (config.first_layers == 2)
    assert (student / QUERIES).exists() == (config.sites.pooling == "attention")
    if config.sites.pooling == "attention":
        queries = load_file(student / QUERIES)
        assert list(queries) == sorted(json.loads((student / "student.json").read_text())["sites"])
        assert all(np.abs(query).max() > 1e-3 for query in queries.values())
        manifest = json.loads((student.parent / "manifest.json").read_text())
        assert f"student/{QUERIES}" in manifest["files"]
