"""`measure`: a student's scores on dev and test without a `student/` to ship, for comparisons of many students.

Matrix products are computed as in the student's training, bf16 where the hardware is made for it: the numbers are
`export`'s, to that rounding. What lies below the adapters is computed once for all students that share it
(`pipeline.stages.distill.activations`), so that a student costs its own layers alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import torch

from data.schema import PAIRS, PREDICTIONS, write_table
from pipeline.contract.stage import Context
from pipeline.evaluation.decision import MEASURED, SCORES, check_dev, evaluate, fit_decision
from pipeline.evaluation.search import Settings, measure_retrieval
from pipeline.stages.distill.artifact import distilled_student, score_as_trained
from pipeline.stages.export.config import ExportConfig
from pipeline.stages.score.artifact import prepared_of, search_of


def run(config: ExportConfig, inputs: Mapping[str, Path], out: Path, context: Context) -> dict[str, Any]:
    """Write `predictions.parquet` (the labelled pairs of dev and test) and `metrics.json`.

    Where an input names a catalogue, also what `pipeline.evaluation.search` writes.

    Raises:
        FlipkdError: dev lacks pairs of a label.
    """
    scored = pl.scan_parquet(inputs["score"] / "scores.parquet").filter(
        pl.col("split").is_in(MEASURED) & pl.col("label").is_not_null()
    )
    columns = [*PAIRS.names, pl.col("teacher_score").alias("teacher")]
    rows = scored.select(*columns, "text_a_id", "text_b_id").collect()
    check_dev(rows)
    embeddings = inputs["score"] / "embeddings.parquet"
    decoder, encoder = score_as_trained(inputs["distill"], rows, embeddings, config.batch_pairs, context)
    predictions = rows.select(*PAIRS.names, "teacher").with_columns(
        pl.Series("decoder", decoder, pl.Float32), pl.Series("encoder", encoder, pl.Float32)
    )
    decision, predictions = fit_decision(predictions)
    write_table(predictions.to_arrow(), out / "predictions.parquet", PREDICTIONS)
    search = search_of(prepared_of(inputs["score"], context.store), inputs["score"])
    if search is not None:
        student = distilled_student(inputs["distill"], context)
        settings = Settings(
            config.retrieval_queries, config.candidates, config.batch_pairs, config.bootstrap, context.seed
        )
        measure_retrieval(student, decision.fusion, search, out, settings)
    metrics = evaluate(
        predictions,
        decision,
        inputs["filter"] / "filtered.parquet",
        bootstrap=config.bootstrap,
        bins=config.ece_bins,
        seed=context.seed,
    )
    text = json.dumps(metrics, indent=2, ensure_ascii=False, allow_nan=False)
    (out / "metrics.json").write_text(text + "\n", encoding="utf-8")
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return {
        split: {
            name: {
                metric: values["value"] for metric, values in scores[name].items() if values["value"] is not None
            }
            for name in SCORES
        }
        for split, scores in metrics["splits"].items()
    }
