"""The student's training loop: reads top to bottom, runs on any number of processes through accelerate."""

from __future__ import annotations

import itertools
import logging
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from sklearn.metrics import roc_auc_score
from torch import Tensor

from data.errors import FlipkdError
from models.checkpoint import load_checkpoint, save_checkpoint, seed_everything
from models.student import Batch, Student, pair_batch, text_batch
from pipeline.config import DistillConfig
from pipeline.objective import pair_terms, text_terms, weights
from pipeline.progress import progress
from pipeline.schedule import linear_schedule, plan_work, steps
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
    # Layers above the last site take no part in a batch of texts.
    parallel = DistributedDataParallelKwargs(find_unused_parameters=True)
    accelerator = Accelerator(mixed_precision="bf16" if autocast else "no", kwargs_handlers=[parallel])
    model = accelerator.prepare_model(student)
    parameters = [p for p in student.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay)
    on_texts, on_pairs = steps(data, config, accelerator.num_processes)
    total = on_texts + on_pairs
    warm = math.ceil(config.warmup_ratio * total)
    # The pairs alone are measured: before them the decoder has learned nothing.
    evaluate_at = {on_texts + round(on_pairs * n / config.evaluations) for n in range(1, config.evaluations + 1)}
    state = Training()
    checkpoint = work / "checkpoint.safetensors"
    if loaded := load_checkpoint(checkpoint, student, optimizer):
        state = Training(**loaded[0], adapter=loaded[1])
        log.info("distill: resuming after step %d of %d", state.step, total)

    todo = plan_work(data, config, seed, accelerator.num_processes, accelerator.process_index)
    saved = time.monotonic()
    with progress("training the student", total) as advance:
        advance(state.step)
        for kind, epoch, rows in itertools.islice(todo, state.step, None):
            started = time.monotonic()
            model.train()
            batch = make_batch(student, data, kind, rows).to(accelerator.device)
            with accelerator.autocast():
                z, logits = model(batch)
            if kind == "texts":
                terms = text_terms(z, data, rows, config)
            else:
                terms = pair_terms(z, logits, data, rows, config, bounds)
            loss = _weighed(terms, config, state.step + 1)
            accelerator.backward(loss)
            norm = float(accelerator.clip_grad_norm_(parameters, config.max_grad_norm) or 0)
            _check_finite("gradient norm", norm, config, state.step + 1)
            rate = config.learning_rate * linear_schedule(state.step, warm, total)
            _update(optimizer, rate)
            state.step += 1
            row: dict[str, Any] = {"step": state.step, "epoch": epoch, "loss": loss.item(), "learning_rate": rate}
            row |= {name: terms[name].item() if name in terms else None for name in ("ce", "mcl", "dist")}
            row["gradient_norm"] = norm
            row["tokens_per_second"] = batch.tokens / (time.monotonic() - started)
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


def _weighed(terms: dict[str, Tensor], config: DistillConfig, step: int) -> Tensor:
    share = weights(config)
    loss = torch.stack([value * share[name] for name, value in terms.items()]).sum()
    _check_finite("loss", loss.item(), config, step)
    return loss


def _check_finite(what: str, value: float, config: DistillConfig, step: int) -> None:
    # An infinite norm clips every gradient to zero: the run would go on and learn nothing.
    if not math.isfinite(value):
        raise FlipkdError(
            f"distill: the {what} is {value} at step {step}; lower distill.learning_rate "
            f"(now {config.learning_rate:g}) or distill.lora.alpha ({config.lora.alpha:g}), or use precision fp32"
        )


def _update(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    optimizer.zero_grad()


def make_batch(student: Student, data: PairData, kind: str, rows: np.ndarray) -> Batch:
    """The prompts of some texts, or of some pairs in both orders."""
    if kind == "texts":
        return text_batch(student.prompt, [data.texts[i] for i in rows])
    first, second = ([data.texts[i] for i in ids[rows]] for ids in (data.first, data.second))
    return pair_batch(student.prompt, first, second)


@torch.inference_mode()
def predict(student: Student, pairs: PairData, batch_pairs: int) -> tuple[np.ndarray, np.ndarray]:
    """Decoder probabilities and encoder cosines of pairs, both (n,), longest first."""
    student.eval()
    device = next(student.parameters()).device
    decoder, encoder = np.zeros(len(pairs.first)), np.zeros(len(pairs.first))
    order = np.argsort(-np.asarray(pairs.lengths()), kind="stable")
    for begin in range(0, len(order), batch_pairs):
        rows = order[begin : begin + batch_pairs]
        z, logits = student(make_batch(student, pairs, "pairs", rows).to(device))
        z_a, z_b = z.chunk(2)
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
