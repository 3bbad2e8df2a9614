"""What a run shows on Prefect's page: the manifests' own numbers, of cached stages too."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from flows.publish import KEY, publish, result_markdown
from pipeline.config.location import store_of
from pipeline.evaluation.verdict import verdict
from pipeline.runner.plan import plan
from tests.tiny import tiny_config


def _told() -> str:
    from prefect.artifacts import Artifact

    found: Any = Artifact.get(key=KEY)
    return str(found.data)


def test_one_artifact_has_the_verdict_the_metrics_the_stages_and_where_they_lie(tiny_run: Path) -> None:
    config = tiny_config(tiny_run)
    store, steps = store_of(config), plan(config)
    publish(steps, store)
    told = _told()
    export = store.path("export", steps[-1].key)
    metrics = json.loads((export / "metrics.json").read_text("utf-8"))
    assert told.startswith(f"## {verdict(metrics, 'test')}\n")
    assert re.findall(r"^\| (teacher|decoder|encoder|fused) \|", told, re.MULTILINE) == [
        "teacher", "decoder", "encoder", "fused",
    ]  # fmt: skip
    auroc = metrics["splits"]["test"]["decoder"]["auroc"]["value"]
    assert re.search(rf"^\| decoder \|.*\| {auroc:.3f} \(", told, re.MULTILINE)
    assert f"\n    {export / 'report.html'}\n" in told
    assert re.findall(r"^    (\w+) +[0-9.]+ s  \S", told, re.MULTILINE) == [step.stage for step in steps]
    for step in steps:
        assert re.search(rf"^    {step.stage} +{re.escape(str(store.path(step.stage, step.key)))}$", told, re.M)
    assert "file://" not in told


def test_its_figures_are_images_in_it(tiny_run: Path) -> None:
    config = tiny_config(tiny_run)
    manifests = [store_of(config).manifest(step.stage, step.key) for step in plan(config)]
    told = result_markdown(manifests, store_of(config))
    images = re.findall(r"^!\[(\w+): scores by label\]\(data:image/svg\+xml;base64,([^)]*)\)$", told, re.MULTILINE)
    assert [name for name, _ in images] == ["fused", "teacher"]
    for _, data in images:
        drawn = base64.b64decode(data)
        assert ElementTree.fromstring(drawn).tag.endswith("svg")  # noqa: S314  our own drawing
        assert b"currentColor" not in drawn


def test_a_run_that_ends_before_the_filter_shows_its_stages_alone(tiny_run: Path) -> None:
    config = tiny_config(tiny_run)
    store, steps = store_of(config), plan(config, "teach")
    publish(steps, store)
    told = _told()
    assert told.startswith("### Stages\n")
    assert re.findall(r"^    (\w+) +[0-9.]+ s  \S", told, re.MULTILINE) == ["prepare", "teach"]
    assert "data:image" not in told
