"""What a run shows on Prefect's page, out of the manifests: a cached stage does not run, but is shown too."""

from __future__ import annotations

import json
from collections.abc import Sequence

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from pipeline.evaluation.headline import metrics_table, read_metrics
from pipeline.runner.plan import Step
from pipeline.stages.registry import sentence
from pipeline.store.manifest import Manifest
from pipeline.store.store import Store


def publish(steps: Sequence[Step], store: Store) -> None:
    """Publish Prefect artifacts: the stages, what the filter decided, metrics on test, a link to the report."""
    manifests = {step.stage: store.manifest(step.stage, step.key) for step in steps}
    create_table_artifact(
        [stage_row(manifest, store) for manifest in manifests.values()],
        key="flipkd-stages",
        description="The stages, what they found, and where it lies",
    )
    if "filter" in manifests:
        create_markdown_artifact(
            filter_markdown(manifests["filter"]), key="flipkd-filter", description="What the filter decided"
        )
    if "export" in manifests:
        folder = store.path("export", manifests["export"].key)
        create_table_artifact(
            metrics_table(read_metrics(folder)),
            key="flipkd-metrics",
            description="Metrics on test with 95 % intervals",
        )
        create_link_artifact(
            (folder / "report.html").as_uri(),
            link_text="report.html",
            key="flipkd-report",
            description="The report, as a file of the machine that made it",
        )


def filter_markdown(manifest: Manifest) -> str:
    """The summary of the filter's manifest as Markdown."""
    body = json.dumps(manifest.summary, indent=2, ensure_ascii=False)
    return f"## filter `{manifest.key}`\n\n```json\n{body}\n```\n"


def stage_row(manifest: Manifest, store: Store) -> dict[str, str]:
    """What one stage found, and the folder of its artifact, as a row of a table."""
    return {
        "stage": manifest.stage,
        "found": sentence(manifest),
        "made": manifest.started,
        "seconds": f"{manifest.duration_seconds:.1f}",
        "folder": str(store.path(manifest.stage, manifest.key)),
    }
