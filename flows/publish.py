"""What a run shows on Prefect's page, out of the manifests: a cached stage does not run, but is shown too."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from pathlib import Path

from prefect.artifacts import create_markdown_artifact

from pipeline.evaluation.headline import headline_split, metrics_table, read_metrics
from pipeline.evaluation.verdict import verdict
from pipeline.runner.plan import Step
from pipeline.stages.registry import sentence
from pipeline.store.manifest import Manifest
from pipeline.store.store import Store
from pipeline.terminal.markdown import markdown_table
from pipeline.terminal.visible import visible

KEY = "flipkd-result"
FIGURES = ("fused", "teacher")


def publish(steps: Sequence[Step], store: Store) -> None:
    """Publish one Prefect artifact: how good the student is, what each stage found, and where it lies."""
    manifests = [store.manifest(step.stage, step.key) for step in steps]
    create_markdown_artifact(
        result_markdown(manifests, store), key=KEY, description="What the run found, and where it lies"
    )


def result_markdown(manifests: Sequence[Manifest], store: Store) -> str:
    """The result of a run as Markdown.

    Args:
        manifests: of its stages, in order.
    """
    parts: list[str] = []
    if manifests[-1].stage == "export":
        parts += _student(store.path("export", manifests[-1].key))
    found = [f"{one.stage:8} {one.duration_seconds:8.1f} s  {visible(sentence(one))}" for one in manifests]
    parts += ["### Stages", _code(found)]
    lines = [f"{one.stage:8} {store.path(one.stage, one.key)}" for one in manifests]
    parts += ["### Where it lies, on the machine that made it", _code(lines)]
    return "\n\n".join(parts) + "\n"


def _code(lines: Sequence[str]) -> str:
    """Lines that are shown as they are, whatever stands in them."""
    return "\n".join(f"    {part}" for line in lines for part in line.splitlines())


def _student(export: Path) -> Iterator[str]:
    """The verdict, the metrics, two figures, and the report's path, since a browser follows no link to a file."""
    metrics = read_metrics(export)
    split = headline_split(metrics)
    yield f"## {verdict(metrics, split)}"
    rows = metrics_table(metrics, split)
    yield markdown_table(list(rows[0]), [list(row.values()) for row in rows]).rstrip("\n")
    yield f"On {split}, with 95 % intervals. The whole report, a file that any browser opens:"
    yield _code([str(export / "report.html")])
    for name in FIGURES:
        file = export / "figures" / f"{name}.svg"
        if file.is_file():
            # A figure is drawn in the page's own colour, which an image has none of.
            drawn = file.read_text(encoding="utf-8").replace("currentColor", "#808080")
            data = base64.b64encode(drawn.encode()).decode()
            yield f"![{name}: scores by label](data:image/svg+xml;base64,{data})"
