"""The student's training loop: reads top to bottom, runs on any number of processes through accelerate."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from sklearn.metrics import roc_auc_score
from torch import Tensor

from data.errors import FlipkdError
from models.batching import length_batches
from models.checkpoint import load_checkpoint, save_checkpoint, seed_everything
from models.objectives.alignment import alignment_loss
from models.objectives.answer import answer_loss
from models.objectives.margin import margin_loss
from models.objectives.screen import screen
from models.student import Student, make_batch
from pipeline.config import DistillConfig
from pipeline.progress import progress
from pipeline.training_data import PairData

log = logging.getLogger("flipkd.distill")


@dataclass
class Training:
    """What a run has come to.

    Attributes:
        step: steps done. rows: of the training log.
        best: the dev value of the best adapter so far, and `best_step` its step; `stale` evaluations since.
        adapter: the best adapter's tensors.
    """

    step: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    best: float = -math.inf
    best_step: int = 0
    stale: int = 0
    adapter: dict[str, Tensor] = field(default_factory=dict)


def train(
    student: Student,
    data: PairData,
    dev: PairData,
    config: DistillConfig,
    bounds: tuple[float, float],
    work: Path,
    *,
    seed: int,
    autocast: bool,
) -> Training:
    """Train the adapter and keep the best one by dev AUROC, resuming from a checkpoint if there is one.

    Args:
        bounds: tau_pos and tau_neg of the filter.
        work: folder of the checkpoint.
        autocast: bf16 activations (on a GPU that has them).

    Raises:
        FlipkdError: a loss that is not finite.
    """
    seed_everything(seed)
    accelerator = Accelerator(mixed_precision="bf16" if autocast else "no")
    model = accelerator.prepare_model(student)
    parameters = [p for p in student.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay)
    total = total_steps(data, config, accelerator.num_processes)
    state = Training()
    checkpoint = work / "checkpoint.safetensors"
    if loaded := load_checkpoint(checkpoint, student, optimizer):
        state = Training(**loaded[0], adapter=loaded[1])
        log.info("distill: resuming after step %d of %d", state.step, total)

    evaluate_at = {round(total * n / config.evaluations) for n in range(1, config.evaluations + 1)}
    saved = time.monotonic()
    with progress("training the student", total) as advance:
        advance(state.step)
        for epoch, rows in _batches(data, config, seed, state.step, total, accelerator):
            started = time.monotonic()
            model.train()
            batch = make_batch(
                student.prompt,
                [data.texts[i] for i in data.first[rows]],
                [data.texts[i] for i in data.second[rows]],
            ).to(accelerator.device)
            with accelerator.autocast():
                z_a, z_b, logits = model(batch)
            terms = objective(z_a.float(), z_b.float(), logits, data, rows, config, bounds)
            loss = torch.stack([terms[name] * weight for name, weight in weights(config).items()]).sum()
            if not torch.isfinite(loss):
                raise FlipkdError(
                    f"distill: the loss is {loss.item()} at step {state.step + 1}; "
                    f"lower distill.learning_rate (now {config.learning_rate:g}) or use precision fp32"
                )
            accelerator.backward(loss)
            norm = accelerator.clip_grad_norm_(parameters, config.max_grad_norm)
            rate = config.learning_rate * linear_schedule(
                state.step, math.ceil(config.warmup_ratio * total), total
            )
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
            optimizer.zero_grad()
            state.step += 1
            row: dict[str, Any] = {"step": state.step, "epoch": epoch, "loss": loss.item(), "learning_rate": rate}
            row |= {name: terms[name].item() if name in terms else None for name in ("ce", "mcl", "dist")}
            row |= {
                "gradient_norm": float(norm or 0),
                "tokens_per_second": batch.tokens / (time.monotonic() - started),
            }
            if state.step in evaluate_at:
                row |= _evaluate(student, dev, config, state)
            state.rows.append(row)
            advance(1, note=f"loss {row['loss']:.3f}")
            if config.patience and state.stale >= config.patience:
                log.info("distill: no gain on dev in %d evaluations: stopping at step %d", state.stale, state.step)
                break
            if time.monotonic() - saved > 60 * config.checkpoint_minutes and accelerator.is_main_process:
                _save(checkpoint, student, optimizer, state)
                saved = time.monotonic()
    return state


def total_steps(data: PairData, config: DistillConfig, processes: int = 1) -> int:
    """Optimiser steps of a run; every process takes a batch in each."""
    per_epoch = len(length_batches(data.lengths(), config.batch_pairs, 0, 0))
    return max(1, math.ceil(config.epochs * per_epoch / processes))


def linear_schedule(step: int, warm: int, total: int) -> float:
    """Share of the peak learning rate for the update after `step` steps: up over `warm` steps, then down to 0."""
    if step < warm:
        return (step + 1) / (warm + 1)
    return (total - step) / max(total - warm, 1)


def weights(config: DistillConfig) -> dict[str, float]:
    """The terms of the objective that take part, with their weights."""
    if config.objective == "sft":
        return {"ce": 1.0}
    return {name: weight for name, weight in config.weights.model_dump().items() if weight > 0}


def objective(
    z_a: Tensor,
    z_b: Tensor,
    logits: Tensor,
    data: PairData,
    rows: np.ndarray,
    config: DistillConfig,
    bounds: tuple[float, float],
) -> dict[str, Tensor]:
    """The terms that take part, before their weights, for the pairs `rows` of the data."""
    wanted = weights(config)
    device = z_a.device
    targets = torch.from_numpy(data.targets[rows]).to(device)
    terms: dict[str, Tensor] = {}
    if "ce" in wanted:
        terms["ce"] = answer_loss(logits, targets)
    if wanted.keys() == {"ce"}:
        return terms
    similarity, teacher = z_a @ z_b.T, data.teacher(rows).to(device)
    screened = screen(teacher, bounds[1], data.same(rows).to(device))
    if "mcl" in wanted:
        margins = config.margins
        terms["mcl"] = margin_loss(
            similarity,
            teacher,
            targets,
            screened,
            tau_pos=bounds[0],
            tau_neg=bounds[1],
            m_pos=margins.positive,
            m_neg=margins.negative,
            temperature=margins.temperature,
            epsilon=margins.intra_epsilon,
            kappa=margins.intra_kappa,
        )
    if "dist" in wanted:
        terms["dist"] = alignment_loss(similarity, teacher, screened, temperature=config.dist_temperature)
    return terms


def _batches(
    data: PairData, config: DistillConfig, seed: int, done: int, total: int, accelerator: Accelerator
) -> Iterator[tuple[float, np.ndarray]]:
    """The batches of this process from step `done` to step `total`, with the epoch as a fraction."""
    step, epoch, lengths = 0, 0, data.lengths()
    ranks, rank = accelerator.num_processes, accelerator.process_index
    while step < total:
        batches = length_batches(lengths, config.batch_pairs, seed, epoch)
        # Every process needs as many batches as the others: the first ones fill the last round.
        batches += batches[: -len(batches) % ranks]
        rounds = len(batches) // ranks
        for index in range(rounds):
            if step >= done and step < total:
                yield epoch + (index + 1) / rounds, batches[index * ranks + rank]
            step += 1
        epoch += 1


@torch.inference_mode()
def predict(student: Student, pairs: PairData, batch_pairs: int) -> tuple[np.ndarray, np.ndarray]:
    """Decoder probabilities and encoder cosines of pairs, both (n,), longest first."""
    student.eval()
    device = next(student.parameters()).device
    decoder, encoder = np.zeros(len(pairs.first)), np.zeros(len(pairs.first))
    order = np.argsort(-np.asarray(pairs.lengths()), kind="stable")
    for begin in range(0, len(order), batch_pairs):
        rows = order[begin : begin + batch_pairs]
        first, second = ([pairs.texts[i] for i in ids[rows]] for ids in (pairs.first, pairs.second))
        z_a, z_b, logits = student(make_batch(student.prompt, first, second).to(device))
        decoder[rows] = logits.softmax(1)[:, 1].view(2, -1).mean(0).cpu().numpy()
        encoder[rows] = (z_a * z_b).sum(1).cpu().numpy()
    return decoder, encoder


def _evaluate(student: Student, dev: PairData, config: DistillConfig, state: Training) -> dict[str, float]:
    """Measure dev and remember the adapter if it is the best so far."""
    decoder, encoder = predict(student, dev, 2 * config.batch_pairs)
    found = {
        "dev_decoder_auroc": float(roc_auc_score(dev.targets, decoder)),
        "dev_encoder_auroc": float(roc_auc_score(dev.targets, encoder)),
    }
    # Plain fine-tuning trains the decoder alone; otherwise both views are shipped, so both count.
    value = found["dev_decoder_auroc"] if config.objective == "sft" else sum(found.values()) / 2
    log.info("distill: step %d, dev AUROC decoder %.3f, encoder %.3f", state.step, *found.values())
    if value > state.best:
        state.best, state.best_step, state.stale = value, state.step, 0
        state.adapter = student.adapter()
    else:
        state.stale += 1
    return found


def _save(path: Path, student: Student, optimizer: torch.optim.Optimizer, state: Training) -> None:
    kept = {name: value for name, value in vars(state).items() if name != "adapter"}
    save_checkpoint(path, student, optimizer, kept, state.adapter)
