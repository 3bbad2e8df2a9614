"""`distill`: train the student, a LoRA adapter of a decoder-only LM, on the pairs that the filter kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.loading.convert import converted, cut_identity
from models.loading.names import find_model
from models.runtime.precision import resolved_precision
from pipeline.contract.stage import Context
from pipeline.stages.distill.config import DistillConfig
from pipeline.stages.distill.job import Job, train_job
from pipeline.stages.distill.processes import train_on_processes
from pipeline.stages.filter.artifact import pair_bounds
from pipeline.stages.score.artifact import prepared_of


def run(config: DistillConfig, inputs: Mapping[str, Path], out: Path, context: Context) -> dict[str, Any]:
    """Write `adapter/`, `tokenizer/`, `student.json`, `training_log.parquet`; `pooling.safetensors` of attention.

    With `processes` above 1 each process trains on batches of its own; in-batch negatives stay within a process.
    """
    model = find_model(config.model)
    precision = resolved_precision(config.precision, context.work / "matrix_precision")
    job = Job(
        config=config.model_copy(update={"precision": precision}),
        base=converted(
            model, context.store.models, config.first_layers, trust_remote_code=config.trust_remote_code
        ),
        identity=cut_identity(model, config.first_layers),
        activations=context.store.activations,
        text_passes=context.store.text_passes,
        filtered=inputs["filter"] / "filtered.parquet",
        embeddings=inputs["score"] / "embeddings.parquet",
        bounds=pair_bounds(inputs["filter"]),
        work=context.work,
        out=out,
        seed=context.seed,
        prepared=prepared_of(inputs["score"], context.store) if config.margins.intra_order == "grade" else None,
    )
    return train_job(job) if config.processes == 1 else train_on_processes(job)
