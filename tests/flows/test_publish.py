"""What a run shows on Prefect's page: the manifests' own numbers, of cached stages too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from flows.publish import filter_markdown, publish, stage_row
from pipeline.config.location import store_of
from pipeline.runner.plan import plan
from tests.tiny import tiny_config


def _data(key: str) -> Any:
    from prefect.artifacts import Artifact

    found: Any = Artifact.get(key=key)
    return found.data


def test_the_page_has_the_stages_the_filter_the_metrics_and_the_report(tiny_run: Path) -> None:
    config = tiny_config(tiny_run)
    store, steps = store_of(config), plan(config)
    publish(steps, store)
    stages = json.loads(_data("flipkd-stages"))
    assert [row["stage"] for row in stages] == [step.stage for step in steps]
    for row, step in zip(stages, steps, strict=True):
        assert row["folder"] == str(store.path(step.stage, step.key))
        assert row["found"]
    summary = json.loads(_data("flipkd-filter").split("```json")[1].split("```")[0])
    assert summary == store.manifest("filter", steps[3].key).summary
    export = store.path("export", steps[-1].key)
    metrics = json.loads((export / "metrics.json").read_text("utf-8"))
    shown = {row["score"]: row for row in json.loads(_data("flipkd-metrics"))}
    auroc = metrics["splits"]["test"]["decoder"]["auroc"]["value"]
    assert f"{auroc:.3f}" in shown["decoder"]["AUROC"]
    assert (export / "report.html").as_uri() in _data("flipkd-report")


def test_a_run_that_ends_before_the_filter_shows_its_stages_alone(tiny_run: Path) -> None:
    config = tiny_config(tiny_run)
    store, steps = store_of(config), plan(config, "teach")
    publish(steps, store)
    assert [row["stage"] for row in json.loads(_data("flipkd-stages"))] == ["prepare", "teach"]
    manifest = store.manifest("teach", steps[1].key)
    assert stage_row(manifest, store)["seconds"] == f"{manifest.duration_seconds:.1f}"
    assert filter_markdown(manifest).startswith(f"## filter `{manifest.key}`")
