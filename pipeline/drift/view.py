"""A drift report for the terminal and for Prefect's page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.drift.check import DriftReport
from pipeline.drift.measures import Measure
from pipeline.terminal.markdown import markdown_table

if TYPE_CHECKING:
    from rich.table import Table

COLUMNS = ("measure", "tonight", "in use", "distance", "by chance up to", "warn", "stop", "verdict")
STYLES = {"ok": "green", "warn": "yellow", "stop": "red", "not measured": "dim"}


def cells(measure: Measure) -> list[str]:
    """A measure as one row under `COLUMNS`; a dash where there is no number."""
    numbers = (measure.tonight, measure.in_use, measure.distance, measure.noise, measure.warn, measure.stop)
    verdict = f"{measure.verdict}: {measure.note}" if measure.note else measure.verdict
    return [measure.what, *("–" if number is None else f"{number:.4g}" for number in numbers), verdict]


def heading(report: DriftReport) -> str:
    """Which runs are compared, and whether their teachers differ."""
    teachers = "; the teachers differ, so scores may differ by that alone" if report.teachers_differ else ""
    return (
        f"score {report.tonight['score']} against score {report.before.get('score')}, behind {report.compared} "
        f"(export {report.in_use}){teachers}"
    )


def drift_table(report: DriftReport) -> Table:
    """The report for the terminal."""
    from rich.table import Table
    from rich.text import Text

    table = Table(caption=heading(report))
    for name in COLUMNS:
        table.add_column(name, justify="left" if name in {"measure", "verdict"} else "right")
    for measure in report.measures:
        *shown, verdict = cells(measure)
        table.add_row(*map(Text, shown), Text(verdict, STYLES[measure.verdict]))
    return table


def drift_markdown(report: DriftReport) -> str:
    """The report as Markdown, for an artifact on Prefect's page."""
    return f"## Drift\n\n{heading(report)}\n\n{markdown_table(COLUMNS, map(cells, report.measures))}"
