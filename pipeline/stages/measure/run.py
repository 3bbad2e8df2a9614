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
from models.loading.convert import converted, cut_identity
from models.loading.names import find_model
from models.runtime.device import own_device
from models.runtime.precision import matrix_precision
from models.student.student import load_base, restored
from pipeline.config.config import DistillConfig, ExportConfig
from pipeline.evaluation.decision import MEASURED, SCORES, check_dev, decide, evaluate
from pipeline.runner.plan import Context
from pipeline.stages.distill.activations import keep_activations
from pipeline.stages.distill.loop import predict
from pipeline.stages.distill.pair_data import pair_data
from pipeline.stages.distill.run import build
from pipeline.store.store import read_manifest


def run(config: ExportConfig, inputs: Mapping[str, Path], out: Path, context: Context) -> dict[str, Any]:
    """Write `predictions.parquet` (the labelled pairs of dev and test) and `metrics.json`.

    Raises:
        FlipkdError: dev lacks pairs of a label.
    """
    manifest = read_manifest(inputs["distill"])
    settings = DistillConfig.model_validate(manifest.config | {"model": context.base_model})
    found = find_model(context.base_model)
    trusted = settings.trust_remote_code
    base = converted(found, context.models, settings.first_layers, trust_remote_code=trusted)
    lm, tokenizer = load_base(base, trust_remote_code=trusted, dtype="float32")
    student = build(lm, tokenizer, settings).to(own_device())
    scored = pl.scan_parquet(inputs["score"] / "scores.parquet").filter(
        pl.col("split").is_in(MEASURED) & pl.col("label").is_not_null()
    )
    columns = [*PAIRS.names, pl.col("teacher_score").alias("teacher")]
    rows = scored.select(*columns, "text_a_id", "text_b_id").collect()
    check_dev(rows)
    pairs = pair_data(rows, "label", inputs["score"] / "embeddings.parquet", student.prompt)
    with matrix_precision(manifest.summary["matrix_precision"]) as precision:
        identity = {"base": cut_identity(found, settings.first_layers), "numbers": f"float32 {precision}"}
        kept = None
        if student.skips:
            kept = keep_activations(student, pairs, context.models.parent / "activations", identity, hidden=True)
        student.load_adapter(restored(inputs["distill"]))
        decoder, encoder = predict(student, pairs, config.batch_pairs, kept)
    predictions = rows.select(*PAIRS.names, "teacher").with_columns(
        pl.Series("decoder", decoder, pl.Float32), pl.Series("encoder", encoder, pl.Float32)
    )
    decision, predictions = decide(predictions)
    write_table(predictions.to_arrow(), out / "predictions.parquet", PREDICTIONS)
    metrics = evaluate(predictions, decision, inputs["filter"] / "filtered.parquet", config, context.seed)
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
