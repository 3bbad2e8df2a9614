"""One pair through every stage, from the file's row to the student's answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from data.errors import FlipkdError
from pipeline.config.config import Config
from pipeline.config.location import store_of
from pipeline.evaluation.headline import read_metrics
from pipeline.inspection.describe import in_words
from pipeline.inspection.files import Scores
from pipeline.runner.plan import plan


def story(config: Config, scores: Scores, pair_id: str) -> Iterator[tuple[str, str]]:
    """What each stage knows of a pair: the stage, and a sentence. Where a stage has not run, it says nothing.

    Args:
        pair_id: or its beginning.

    Raises:
        FlipkdError: no pair has this id, or several begin like it.
    """
    import polars as pl

    rows = scores.rows.filter(pl.col("pair_id").str.starts_with(pair_id)).collect()
    if rows["pair_id"].n_unique() != 1:
        several = (
            f"{rows['pair_id'].n_unique()} pairs begin so; give more of the id" if rows.height else "no such pair"
        )
        raise FlipkdError(f"{pair_id}: {several}. `flipkd scores show CONFIG -o pairs.csv` writes the ids")
    row = rows.to_dicts()[0]
    label = {1: "a match", 0: "no match", None: "without a label"}[row["label"]]
    yield "texts", f"{row['text_a']}\n{row['text_b']}"
    group = "" if row["group"] is None else f", group {row['group']}"
    yield "prepare", f"{row['source']}, row {row['source_row']}: {label}; it stands in {row['split']}{group}"
    alike = pl.col("label").eq_missing(pl.lit(row["label"], pl.Int8)) & (pl.col("split") == row["split"])
    score = row["teacher_score"]
    lower, of = (
        scores.rows.filter(alike).select((pl.col("teacher_score") < score).sum(), pl.len()).collect().row(0)
    )
    yield (
        "score",
        f"teacher_score {score:.3f}; {lower} of the {of} pairs of {row['split']} with that label lie lower",
    )
    if "reason" in row:
        used = "; the student learns from it" if row["kept"] and row["split"] == "train" else ""
        yield "filter", f"{row['reason']} ({in_words(scores.bounds) or 'off'}){used}"
    yield from _answer(config, row["pair_id"])


def _answer(config: Config, pair_id: str) -> Iterator[tuple[str, str]]:
    """What the exported student says; it is asked about pairs of dev and test alone."""
    import polars as pl

    export = next((step for step in plan(config, download=False) if step.stage == "export"), None)
    folder = store_of(config).path("export", export.key) if export else Path()
    file = folder / "predictions.parquet"
    if not file.is_file():
        return
    found = pl.scan_parquet(file).filter(pair_id=pair_id).collect().to_dicts()
    if not found:
        yield "export", "not asked: predictions are made for dev and test"
        return
    thresholds = read_metrics(folder)["thresholds"]
    said = []
    for name, threshold in thresholds.items():
        verdict = "a match" if found[0][name] >= threshold else "no match"
        said.append(f"{name} {found[0][name]:.3f} ({verdict}; threshold {threshold:.3f})")
    yield "export", ", ".join(said)
