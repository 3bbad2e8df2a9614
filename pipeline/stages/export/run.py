"""Stage `export`: the student that people load, its metrics and predictions, figures and the report."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from data.errors import FlipkdError
from data.schema import PAIRS, PREDICTIONS, kept_fields, with_metadata, write_table
from models.loading.convert import converted, cut_identity
from models.loading.names import FoundModel, find_model
from models.student.flipkd_student import FlipkdStudent
from models.student.folder import assemble, set_decision
from models.student.footprint import footprint
from models.student.load import load_student, score_pairs
from pipeline.contract.stage import Context
from pipeline.evaluation.decision import MEASURED, SCORES, check_dev, evaluate, fit_decision, probability
from pipeline.evaluation.headline import headline_split
from pipeline.evaluation.metrics import spearman
from pipeline.evaluation.search import Settings, measure_retrieval, ndcg
from pipeline.evaluation.slices import slices
from pipeline.evaluation.suspects import by_heart, suspects
from pipeline.evaluation.verdict import against_teacher, verdict
from pipeline.stages.export.card import write_card
from pipeline.stages.export.clean_process import check_in_clean_process, spread_sample
from pipeline.stages.export.config import ExportConfig
from pipeline.stages.export.figures import draw_all
from pipeline.stages.export.report import HEADLINE, disagreements, write_report
from pipeline.stages.filter.artifact import bounds_in_force
from pipeline.stages.prepare.artifact import catalogue_columns, grades
from pipeline.stages.score.artifact import search_of
from pipeline.store.manifest import Manifest, read_manifest
from pipeline.terminal.progress import progress

log = logging.getLogger("flipkd.export")
CHECKED_PAIRS = 16
SUSPECTS = 200


def run(config: ExportConfig, inputs: Mapping[str, Path], out: Path, context: Context) -> dict[str, Any]:
    """Write `student/`, `predictions.parquet`, `metrics.json`, `figures/` and `report.html`.

    Where an input names a catalogue, also what `pipeline.evaluation.search` writes.

    All dev and test pairs are scored, through the assembled `student/` and nothing else; the labelled ones are
    measured. Thresholds, fusion and calibration are fitted on dev.

    Raises:
        FlipkdError: dev lacks pairs of a label, the base model is another one, or the saved student gives other
            numbers in a clean process.
    """
    manifests = {stage: read_manifest(folder) for stage, folder in inputs.items()}
    pairs = _pairs(inputs["score"] / "scores.parquet")
    check_dev(pairs)
    student = out / "student"
    base = find_model(context.names["distill.model"])
    if base.identity != manifests["distill"].inputs["model"]:
        raise FlipkdError(f"{base.name} is not the model that distill trained on; run distill again")
    trusted = bool(manifests["distill"].config["trust_remote_code"])
    layers = manifests["distill"].config.get("first_layers")
    _assemble(student, inputs["distill"], base, context, layers, trusted)
    model = load_student(student, trust_remote_code=trusted)
    started = time.perf_counter()
    decision, predictions = fit_decision(_scored(model, pairs, config.batch_pairs))
    pairs_per_second = pairs.height / (time.perf_counter() - started)
    takes = footprint(model, _texts(pairs)) | {"pairs_per_second": pairs_per_second}
    search = search_of(inputs["prepare"], inputs["score"])
    retrieval = {}
    if search is not None:
        settings = Settings(
            config.retrieval_queries, config.candidates, config.batch_pairs, config.bootstrap, context.seed
        )
        retrieval = measure_retrieval(model, decision.fusion, search, out, settings)
    del model
    if torch.cuda.is_available():
        torch.cuda.empty_cache()  # the clean process needs the room
    set_decision(student, decision.for_student())
    differences = _check_student(student, predictions, context.work)

    artifacts = {stage: folder.name for stage, folder in inputs.items()} | {"export": context.final.name}
    kept = kept_fields(pq.read_schema(inputs["score"] / "scores.parquet"))
    schema = with_metadata(pa.schema([*PREDICTIONS, *kept]), {"artifacts": artifacts, **decision.for_student()})
    write_table(predictions.to_arrow(), out / "predictions.parquet", schema)
    metrics = evaluate(
        predictions,
        decision,
        inputs["filter"] / "filtered.parquet",
        bootstrap=config.bootstrap,
        bins=config.ece_bins,
        seed=context.seed,
        entries=catalogue_columns(inputs["prepare"]),
    )
    metrics["durations"] = {stage: manifest.duration_seconds for stage, manifest in manifests.items()}
    metrics["artifacts"] = artifacts
    metrics["against_teacher"] = {
        name: against_teacher(
            predictions.filter(split=name),
            decision.thresholds,
            metrics["splits"][name],
            bootstrap=config.bootstrap,
            seed=context.seed,
            entries=catalogue_columns(inputs["prepare"]),
        )
        for name in MEASURED
    }
    metrics["slices"] = slices(predictions, decision.thresholds, [field.name for field in kept])
    if retrieval:
        metrics["retrieval"] = retrieval
    if (judged := grades(inputs["prepare"])) is not None:
        metrics["grades"] = _by_grade(predictions.join(judged, on="pair_id"))
    text = json.dumps(metrics, indent=2, ensure_ascii=False, allow_nan=False)
    (out / "metrics.json").write_text(text + "\n", encoding="utf-8")

    split = headline_split(metrics)
    write_card(student, base.name, metrics, split, manifests)
    shown = predictions.filter(split=split)
    probabilities = {name: probability(decision, name, shown[name].to_numpy()) for name in SCORES}
    bounds = bounds_in_force(manifests["filter"])
    training_log = pl.read_parquet(inputs["distill"] / "training_log.parquet")
    write_report(
        out / "report.html",
        metrics=metrics,
        split=split,
        verdict=verdict(metrics, split),
        by_heart=by_heart(pl.scan_parquet(inputs["filter"] / "filtered.parquet")),
        suspects=_suspects(inputs["filter"] / "filtered.parquet", SUSPECTS),
        examples=disagreements(shown, probabilities["teacher"], config.examples).to_dicts(),
        figures=draw_all(
            out / "figures", shown, probabilities, decision.thresholds, bounds, config.ece_bins, training_log
        ),
        manifests={stage: manifest.model_dump() for stage, manifest in manifests.items()},
        models={"teacher": _teacher(manifests["teach"]), "student": f"{base.name} {cut_identity(base, layers)}"},
        bounds=bounds,
        footprint=takes,
    )
    headline = {
        # As measured: what is rounded twice may differ from the report in its last digit.
        name: {metric: metrics["splits"][split][name][metric]["value"] for metric in HEADLINE}
        for name in SCORES
    }
    return {
        "split": split,
        "metrics": headline,
        **({"ndcg@10": ndcg(retrieval)} if retrieval else {}),
        "thresholds": {name: round(value, 4) for name, value in decision.thresholds.items()},
        "footprint": {
            name: round(value, 1) if isinstance(value, float) else value for name, value in takes.items()
        },
        "largest_difference_in_clean_process": max(differences.values()),
    }


def _suspects(filtered: Path, count: int) -> list[dict[str, Any]]:
    """The labels of train that are likeliest wrong, at most so many."""
    rows = pl.scan_parquet(filtered)
    if rows.filter(split="train").drop_nulls("label").head(1).collect().is_empty():
        return []
    return suspects(rows, ["train"]).filter("suspect").head(count).to_dicts()


def _by_grade(judged: pl.DataFrame) -> dict[str, dict[str, float | None]]:
    """By split and score Spearman's correlation with the grades; None where these do not differ.

    Args:
        judged: predictions with `grade`.
    """
    parts = {split: judged.filter(split=split) for split in MEASURED}
    return {
        split: {name: spearman(part["grade"].to_numpy(), part[name].to_numpy()) for name in SCORES}
        for split, part in parts.items()
        if part.height
    }


def _pairs(scores: Path) -> pl.DataFrame:
    """Dev and test pairs in the file's order, with the teacher's score and the user's own columns."""
    kept = [field.name for field in kept_fields(pq.read_schema(scores))]
    columns = [*PAIRS.names, pl.col("teacher_score").alias("teacher"), *kept]
    return pl.scan_parquet(scores).filter(pl.col("split").is_in(MEASURED)).select(columns).collect()


def _assemble(
    student: Path, distilled: Path, base: FoundModel, context: Context, layers: int | None, trusted: bool
) -> None:
    """Write `student/`, all but the decision. A model of the hub is named by its commit, any other one copied.

    Args:
        layers: the model's first layers alone, so many; None for the model as it is.
    """
    repository, _, revision = base.identity.removeprefix("hub:").partition("@")
    on_hub = base.identity.startswith("hub:") and layers is None
    whole = repository if base.identity.startswith("hub:") else base.name
    assemble(
        student,
        distilled,
        converted(base, context.store.models, layers, trust_remote_code=trusted),
        base_name=whole if layers is None else f"the first {layers} layers of {whole}",
        revision=revision if on_hub else None,
        final=context.final / "student",
        base_is_ours=base.is_gguf or layers is not None,
    )


def _teacher(manifest: Manifest) -> str:
    others = manifest.summary.get("others", [])
    named = [("model", manifest.summary), *((f"other {n}", other) for n, other in enumerate(others))]
    return " + ".join(f"{summary.get('model', '')} {manifest.inputs[key]}".strip() for key, summary in named)


def _scored(student: FlipkdStudent, pairs: pl.DataFrame, batch_pairs: int) -> pl.DataFrame:
    """The pairs with the columns `decoder` and `encoder`."""
    with progress("scoring dev and test", pairs.height, "pairs") as advance:
        scores = score_pairs(student, _texts(pairs), batch_pairs, advance)
    return pairs.with_columns(pl.Series(name, scores[name]) for name in ("decoder", "encoder"))


def _check_student(student: Path, predictions: pl.DataFrame, scratch: Path) -> dict[str, float]:
    texts = _texts(predictions)
    sample = spread_sample(texts, CHECKED_PAIRS)
    reported = {name: predictions[name].to_numpy()[sample] for name in ("decoder", "encoder", "fused")}
    return check_in_clean_process(student, [texts[n] for n in sample], reported, scratch)


def _texts(pairs: pl.DataFrame) -> list[tuple[str, str]]:
    return list(zip(pairs["text_a"], pairs["text_b"], strict=True))
