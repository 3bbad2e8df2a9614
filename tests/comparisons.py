"""A comparison of tiny students, for tests of what is made of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from flows.compare import run_comparison
from pipeline.comparison.config import CompareConfig, all_jobs, load_comparison, variant_config
from pipeline.comparison.students import planned_students
from tests.tiny import tiny_config


def comparison_file(folder: Path, **changes: object) -> Path:
    config = tiny_config(folder).model_dump(mode="json", exclude_none=True)
    (folder / "tiny.yaml").write_text(yaml.safe_dump(config), "utf-8")
    settings: dict[str, object] = {
        "datasets": {"tiny": "tiny.yaml"},
        "variants": {
            "flip": {},
            "sft": {"distill.objective": "sft"},
            "zero_shot": {"distill.objective": "zero_shot"},
            "flip_hidden": {"distill.sites.read": "hidden", "distill.lora.last_layers": 1},
        },
        "seeds": [1, 2],
        "resamples": 300,
    }
    path = folder / "compare.yaml"
    path.write_text(yaml.safe_dump(settings | changes), "utf-8")
    return path


def run_planned(comparison: CompareConfig, out: Path, **options: Any) -> str:
    return run_comparison(comparison, planned_students(all_jobs(comparison, None)), out, **options)


def record_runs(patch: pytest.MonkeyPatch, calls: list[str]) -> None:
    import pipeline.runner.execute

    run = pipeline.runner.execute._run

    def counted(step, config, store):  # type: ignore[no-untyped-def]
        calls.append(step.stage)
        run(step, config, store)

    patch.setattr(pipeline.runner.execute, "_run", counted)


def measured_folder(folder: Path, variant: str, seed: int) -> Path:
    from pipeline.config.location import store_of
    from pipeline.runner.plan import plan, side_step

    config = variant_config(load_comparison(folder / "compare.yaml"), "tiny", variant, seed, None)
    return store_of(config).path("measure", side_step("measure", config, plan(config, "distill")).key)


def measured(folder: Path, variant: str, seed: int) -> tuple[pl.DataFrame, dict[str, float]]:
    where = measured_folder(folder, variant, seed)
    thresholds = json.loads((where / "metrics.json").read_text("utf-8"))["thresholds"]
    return pl.read_parquet(where / "predictions.parquet").filter(split="test").sort("pair_id"), thresholds
