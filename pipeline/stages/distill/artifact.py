"""The reading side of `distill`: students and their scores out of its artifact, without an export."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from models.loading.convert import converted, cut_identity
from models.loading.names import find_model
from models.runtime.device import own_device
from models.runtime.precision import matrix_precision
from models.student.flipkd_student import QUERIES, SETTINGS, FlipkdStudent
from models.student.student import load_base, restored
from pipeline.contract.stage import Context
from pipeline.stages.distill.activations import keep_activations
from pipeline.stages.distill.build import build, numbers
from pipeline.stages.distill.config import DistillConfig
from pipeline.stages.distill.pair_data import PairData, pair_data
from pipeline.stages.distill.score import student_scores
from pipeline.store.manifest import read_manifest

__all__ = ["PairData", "distilled_student", "pair_data", "read_adapter", "score_as_trained", "untrained"]
ADAPTER = "adapter/adapter_model.safetensors"


def distilled_student(
    distilled: Path,
    context: Context,
    decision: Mapping[str, Any] | None = None,
    weights: dict[str, Tensor] | None = None,
) -> FlipkdStudent:
    """The student of a `distill` artifact in float32 (but for a quantised base), on the GPU if there is one.

    Args:
        decision: the coefficients under `fusion`, for the fused score.
        weights: another adapter than the artifact's; `untrained` gives one.

    Raises:
        FlipkdError: the base model is not there or cannot be used.
    """
    settings = json.loads((distilled / SETTINGS).read_text("utf-8"))
    trusted, layers = bool(settings.get("trust_remote_code")), settings.get("first_layers")
    base = converted(
        find_model(context.names["distill.model"]), context.store.models, layers, trust_remote_code=trusted
    )
    lm, tokenizer = load_base(base, trust_remote_code=trusted, base=settings.get("base", "auto"))
    adapter = read_adapter(distilled) if weights is None else weights
    queries = load_file(distilled / QUERIES) if settings["pooling"] == "attention" else None
    if queries and weights is not None:
        queries = {name: torch.zeros_like(query) for name, query in queries.items()}  # untrained: the mean
    student = FlipkdStudent(
        lm, tokenizer, adapter, settings, dict(decision) if decision else None, queries=queries
    )
    return student.to(own_device()).eval()


def score_as_trained(
    distilled: Path, pairs: pl.DataFrame, embeddings: Path, batch_pairs: int, context: Context
) -> tuple[np.ndarray, np.ndarray]:
    """Decoder probabilities and encoder cosines of labelled pairs, both (n,), computed as in training.

    What lies below the adapters is computed once for all students that share it (`activations`).

    Args:
        pairs: n rows with `label`, `text_a_id`, `text_b_id`. embeddings: the artifact of `score`'s.

    Raises:
        FlipkdError: the base model is not there or cannot be used.
    """
    manifest, name = read_manifest(distilled), context.names["distill.model"]
    config = DistillConfig.model_validate(manifest.config | {"model": name})
    model, trusted = find_model(name), config.trust_remote_code
    base = converted(model, context.store.models, config.first_layers, trust_remote_code=trusted)
    lm, tokenizer = load_base(base, trust_remote_code=trusted, base=config.base)
    student = build(lm, tokenizer, config).to(own_device())
    data = pair_data(pairs, "label", embeddings, student.prompt)
    with matrix_precision(manifest.summary["matrix_precision"]) as precision:
        identity = {
            "base": cut_identity(model, config.first_layers),
            "numbers": numbers(config, "float32", precision),
        }
        kept = None
        if student.may_begin_at_cut:
            kept = keep_activations(student, data, context.store.activations, identity, hidden=True)
        student.load_adapter(restored(distilled))
        return student_scores(student, data, batch_pairs, kept)


def read_adapter(distilled: Path) -> dict[str, Tensor]:
    """A's and B's of a `distill` artifact under peft's names, float32."""
    return {name: tensor.float() for name, tensor in load_file(distilled / ADAPTER).items()}


def untrained(weights: Mapping[str, Tensor], seed: int) -> dict[str, Tensor]:
    """An adapter of the same shapes as peft makes a new one: A at random, every B at 0."""
    generator = torch.Generator().manual_seed(seed)
    made = {}
    for name in sorted(weights):
        made[name] = torch.zeros_like(weights[name])
        if name.endswith(".lora_A.weight"):
            nn.init.kaiming_uniform_(made[name], a=math.sqrt(5), generator=generator)
    return made
