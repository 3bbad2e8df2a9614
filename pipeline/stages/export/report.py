"""`report.html`: one file that needs nothing else, from plain data and a template.

Texts of the data stand in it as text: the template escapes everything but our own drawings.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template, select_autoescape
from markupsafe import Markup

from pipeline.evaluation.bootstrap import Numbers
from pipeline.evaluation.decision import SCORES

TEMPLATES = Path(__file__).with_name("templates")
METRIC_TITLES = {
    "f1": "F1",
    "accuracy": "Accuracy",
    "auroc": "AUROC",
    "average_precision": "Average precision",
    "precision": "Precision",
    "recall": "Recall",
    "mcc": "MCC",
    "brier": "Brier",
    "ece": "ECE",
}
HEADLINE = ("f1", "accuracy", "auroc")
RETRIEVAL_TITLES = {
    "recall@1": "Recall@1",
    "recall@5": "Recall@5",
    "recall@10": "Recall@10",
    "mrr@10": "MRR@10",
    "ndcg@10": "nDCG@10",
    "graded_ndcg@10": "nDCG@10 by grade",
    "map@100": "MAP",
}


def disagreements(predictions: pl.DataFrame, teacher_probability: Numbers, count: int) -> pl.DataFrame:
    """The pairs on which the student is farthest from what was expected of it.

    Expected is the label; for a pair without one, the teacher's calibrated probability.

    Args:
        predictions: rows of one split, as in `predictions.parquet`.
        teacher_probability: for each row.

    Returns:
        The `count` rows with the largest `difference` = |fused - expected|, largest first (then by `pair_id`),
        and the column `expected`.
    """
    expected = pl.coalesce(pl.col("label").cast(pl.Float64), pl.lit(pl.Series(teacher_probability)))
    return (
        predictions.with_columns(expected=expected)
        .with_columns(difference=(pl.col("fused").cast(pl.Float64) - pl.col("expected")).abs())
        .sort("difference", "pair_id", descending=[True, False])
        .head(count)
    )


def write_report(path: Path, **contents: Any) -> None:
    """Fill the template.

    Args:
        contents: `verdict` (a sentence), `suspects` (labels of train that are likeliest wrong), `by_heart` (a
            warning about them, or None), `metrics` (as in `metrics.json`), `split` (the one in the headline),
            `examples` (rows of `disagreements`), `figures` (file stem to SVG), `manifests` (stage to manifest),
            `bounds` (of the filter), `models` (role to name), `footprint` (what the student takes).
    """
    figures: Mapping[str, str] = contents.pop("figures")
    script = (TEMPLATES / "report.js").read_text("utf-8")
    html = template("report.html").render(
        contents,
        # The page's policy names this script by its digest: no other one runs, whatever gets in.
        script=Markup(script),  # noqa: S704  our own
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        figures={name: Markup(svg) for name, svg in figures.items()},  # noqa: S704  our own drawings
        scores=SCORES,
        titles=METRIC_TITLES,
        headline=HEADLINE,
        retrieval_titles=RETRIEVAL_TITLES,
    )
    path.write_text(html, encoding="utf-8")


def template(name: str, **filters: Callable[..., str]) -> Template:
    """A template of this folder; what is filled into HTML is escaped."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "duration": duration, "pretty": pretty, **filters}
    return environment.get_template(name)


def number(value: Any, digits: int = 3) -> str:
    """A number with so many digits, whole numbers with thin groups, a dash for what is not there."""
    if value is None:
        return "–"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}".replace(",", "\u202f")
    if isinstance(value, float):
        return f"{value:.{digits}f}"
    return str(value)


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def pretty(value: Any) -> str:
    """Plain data as indented JSON."""
    return json.dumps(value, ensure_ascii=False, indent=2, default=str)
