"""A student measured without an export has the export's numbers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipeline.execute import execute
from pipeline.settings import store_of
from pipeline.stages import measure_step, plan
from tests.tiny import tiny_config


@pytest.mark.parametrize("last_layers", [None, 1])
def test_it_gives_what_the_export_gives(tiny_run: Path, tmp_path: Path, last_layers: int | None) -> None:
    shutil.copytree(tiny_run, tmp_path / "run", symlinks=True)
    config = tiny_config(tmp_path / "run", distill={"lora": {"rank": 4, "alpha": 8, "last_layers": last_layers}})
    store, steps = store_of(config), plan(config)
    for step in [*steps, measure_step(config, steps)]:
        execute(step, config, store)
    export = store.path("export", steps[-1].key)
    measured = store.path("measure", measure_step(config, steps).key)
    pairs = pl.read_parquet(export / "predictions.parquet").filter(pl.col("label").is_not_null())
    found = pl.read_parquet(measured / "predictions.parquet")
    assert found["pair_id"].to_list() == pairs["pair_id"].to_list()
    for name in ("teacher", "decoder", "encoder", "fused"):
        np.testing.assert_allclose(found[name].to_numpy(), pairs[name].to_numpy(), atol=2e-5, err_msg=name)
    ours, theirs = (json.loads((folder / "metrics.json").read_text("utf-8")) for folder in (measured, export))
    for name, metrics in theirs["splits"]["test"].items():
        assert ours["splits"]["test"][name]["auroc"]["value"] == pytest.approx(metrics["auroc"]["value"], abs=0.01)
