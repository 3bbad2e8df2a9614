"""One training, in this process or as one of several."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from data.errors import FlipkdError
from data.schema import TRAINING_LOG, write_table
from models.runtime.allocator import give_back_above, no_holes
from models.runtime.device import peak_memory
from models.runtime.precision import matrix_precision
from models.student.flipkd_student import QUERIES, SETTINGS
from models.student.frozen import Activations
from models.student.student import Student, divided
from models.student.trial import try_student
from pipeline.stages.distill.activations import keep_activations
from pipeline.stages.distill.build import base_dtype, computes_in_bf16, loaded, numbers
from pipeline.stages.distill.config import QUANTISED, DistillConfig
from pipeline.stages.distill.estimate import is_scarce, memory_limit, tell_need
from pipeline.stages.distill.loop import State, Training, train
from pipeline.stages.distill.objective import answer_share, weights
from pipeline.stages.distill.pair_data import PairData, read_pairs
from pipeline.stages.distill.schedule import pool_size, steps
from pipeline.stages.distill.stage import VERSION
from pipeline.stages.distill.text_passes import text_passes_path
from pipeline.stages.distill.warm_up import encoder_auroc, warm_up
from pipeline.stages.prepare.artifact import grades
from pipeline.store.store import make_folder

log = logging.getLogger("flipkd.distill")


@dataclass(frozen=True)
class Job:
    """All that one training needs to know.

    Attributes:
        config: with its precision resolved. base: the model's folder, cut already.
        identity: of the base, for what is kept of it.
        activations, text_passes: folders of the store. filtered, embeddings: Parquet files.
        bounds: tau_pos and tau_neg of the filter.
        prepared: the artifact of `prepare`, where the config asks for grades.
        work: scratch folder. out: the folder to fill.
    """

    config: DistillConfig
    base: Path
    identity: str
    activations: Path
    text_passes: Path
    filtered: Path
    embeddings: Path
    bounds: tuple[float, float]
    work: Path
    out: Path
    seed: int
    version: int = VERSION
    prepared: Path | None = None


def train_job(job: Job, write: bool = True) -> dict[str, Any]:
    """Train as a job says, in this process or as one of several; one of them writes into `job.out`."""
    config = job.config
    dtype = base_dtype(config)
    torch.manual_seed(job.seed)
    # On its device at once: what lies below the adapters, and the warm-up, are computed before the training loop.
    student = loaded(config, job.base)
    data, dev = read_pairs(
        job.filtered,
        job.embeddings,
        student.prompt,
        calibrated=answer_share(config) > 0,
        # A baseline never reads texts alone.
        all_texts=config.texts != "kept" and config.objective == "flip",
        more_texts=config.objective == "flip",
        known_matches=config.known_matches == "train",
        judged=None if job.prepared is None else grades(job.prepared),
        limit=pool_size(config),
        seed=job.seed,
    )
    trial = try_student(student)
    give_back_above(0)  # what loading and a copy on trial have left free
    if trial.problem:
        raise FlipkdError(f"distill.model: {config.model} cannot be a student: {trial.problem}")
    counted = steps(data, config, config.processes, job.seed)  # too few batches are an error before hours of work
    keeps = _keeps(student, config, trial.kept)
    with matrix_precision(config.precision) as precision:
        log.info(
            "distill: %d pairs, %s, %d sites, matrix products in %s",
            len(data.targets), config.objective, len(student.sites), precision,
        )  # fmt: skip
        need = (
            tell_need(config, job.base, student.prompt, data, counted, precision, kept=keeps)
            if any(counted)
            else None
        )
        computed = numbers(config, dtype, precision)
        kept, kept_dev = _prepare_encoder(student, data, dev, job, computed, keeps)
        training = Training(
            student,
            data,
            dev,
            config,
            job.bounds,
            job.seed,
            computes_in_bf16(config),
            checkpoint=job.work / "checkpoint.safetensors",
            kept=kept,
            kept_dev=kept_dev,
            after_texts=_after_texts(data, job, computed),
            memory_limit=None if need is None else memory_limit(need),
        )
        with no_holes(is_scarce(need)):
            state = train(training)
    summary = _summary(student, state, config, precision) | {"pairs": len(data.targets), "dtype": dtype}
    cut = {split: dict(part.cut) for split, part in (("train", data), ("dev", dev)) if part.cut}
    if cut:
        summary["truncated"] = cut
    if write:
        student.load_adapter(state.adapter)
        _write(job.out, student, state, config, dtype)
    return summary


def _keeps(student: Student, config: DistillConfig, unkept: str | None) -> bool:
    """Whether what lies below the adapters is computed once and kept.

    Args:
        unkept: why this model's activations cannot be kept, if so.
    """
    keeps = (
        config.keep_activations and config.lora.dropout == 0 and student.may_begin_at_cut and bool(weights(config))
    )
    if keeps and unkept:
        log.warning("distill: every step passes through all layers: %s", unkept)
        keeps = False
    if config.keep_activations and student.cut > 0 and not student.may_begin_at_cut:
        log.info(
            "distill: attention pooling reads sites below the adapters, so every step passes through all layers; "
            "with sites.last_layers <= lora.last_layers the lower ones would be kept"
        )
    return keeps


def _prepare_encoder(
    student: Student, data: PairData, dev: PairData, job: Job, numbers: str, hidden: bool
) -> tuple[Activations, Activations] | tuple[None, None]:
    """Warm the encoder up, and return the activations of train and dev for the steps after it, where kept.

    Args:
        hidden: keep what lies below the adapters.
    """
    config = job.config
    warms = config.warm_up.epochs > 0 and "dist" in weights(config) and bool(student.sites)
    if not warms and not hidden:
        return None, None
    identity = {"base": job.identity, "numbers": numbers}
    train_kept, dev_kept = (
        keep_activations(student, part, job.activations, identity, hidden=hidden) for part in (data, dev)
    )
    if warms:
        before = encoder_auroc(student, dev, dev_kept)
        warm_up(student, data, train_kept, config, job.seed)
        after = encoder_auroc(student, dev, dev_kept)
        log.info("distill: the encoder's warm-up took its dev AUROC from %.3f to %.3f", before, after)
    return (train_kept, dev_kept) if hidden else (None, None)


def _after_texts(data: PairData, job: Job, numbers: str) -> Path | None:
    """Where the checkpoint after the passes over texts lies or will lie; None where none is kept.

    A checkpoint holds the random state of one process: from several, the student would be another.
    """
    config = job.config
    several = torch.distributed.is_available() and torch.distributed.is_initialized()
    counted = steps(data, config, 1, job.seed)
    if not config.keep_text_passes or several or counted[0] == 0:
        return None
    identity = {"base": job.identity, "numbers": numbers, "version": job.version}
    path = text_passes_path(job.text_passes, config, data, identity, job.seed, counted)
    make_folder(path.parent)
    return path


def _write(out: Path, student: Student, state: State, config: DistillConfig, dtype: str) -> None:
    import pyarrow as pa

    student.lm.save_pretrained(out / "adapter", safe_serialization=True)
    if queries := divided(student.adapter())[1]:
        save_file(queries, out / QUERIES)
    (out / "adapter" / "README.md").unlink(missing_ok=True)
    student.prompt.tokenizer.save_pretrained(out / "tokenizer")
    settings = {
        "template": config.prompt.template,
        **({"turned": config.prompt.turned} if config.prompt.turned else {}),
        **({"orders": config.prompt.orders} if config.prompt.orders != "both" else {}),
        "answers": list(config.prompt.answers),
        "max_length": config.max_length,
        "sites": student.sites,
        "read": student.read,
        "pooling": config.sites.pooling,
        "scaling": config.lora.alpha / config.lora.rank,
        "dtype": dtype,
        **({"base": config.base} if config.base in QUANTISED else {}),
        "trust_remote_code": config.trust_remote_code,
        "first_layers": config.first_layers,
    }
    (out / SETTINGS).write_text(json.dumps(settings, indent=2, ensure_ascii=False), encoding="utf-8")
    names = TRAINING_LOG.names
    rows = [{name: row.get(name) for name in names} for row in state.rows]
    write_table(pa.Table.from_pylist(rows, schema=TRAINING_LOG), out / "training_log.parquet", TRAINING_LOG)


def training_cost(rows: Sequence[dict[str, Any]]) -> dict[str, float | int | None]:
    """What all steps took, those too that an earlier run had done, in this process.

    Returns:
        `tokens`: real ones that went through the trained layers, forward and backward. `seconds`: of the steps,
        without what is computed once before them. Both None where a checkpoint of an earlier version did not say.
        `peak_memory_gb`: of the GPU where there is one, else of the process.
    """
    known = all("seconds" in row for row in rows if row["step"])
    return {
        "tokens": sum(row.get("tokens", 0) for row in rows) if known else None,
        "seconds": round(sum(row.get("seconds", 0.0) for row in rows), 1) if known else None,
        "peak_memory_gb": round(peak_memory() / 1e9, 2),
    }


def _summary(student: Student, state: State, config: DistillConfig, precision: str) -> dict[str, Any]:
    measured = [row for row in state.rows if row.get("dev_decoder_auroc") is not None]
    best = next(row for row in measured if row["step"] == state.best_step)
    return {
        "model": config.model,
        "objective": config.objective,
        "weights": weights(config),
        "steps": state.step,
        "best_step": state.best_step,
        "steps_taken_over": state.taken_over,
        "dev_decoder_auroc": round(best["dev_decoder_auroc"], 4),
        "dev_encoder_auroc": round(best["dev_encoder_auroc"], 4),
        "trained_parameters": sum(p.numel() for p in student.parameters() if p.requires_grad),
        "sites": len(student.sites),
        "width": len(student.sites) * config.lora.rank,
        "matrix_precision": precision,
        "cost": training_cost(state.rows),
        "tokens_per_second": round(sum(row["tokens_per_second"] for row in state.rows) / len(state.rows), 1),
    }
