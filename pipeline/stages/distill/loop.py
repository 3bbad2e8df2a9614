"""The student's training loop: reads top to bottom, runs on any number of processes through accelerate."""

from __future__ import annotations

import itertools
import logging
import math
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState
from filelock import FileLock
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from data.errors import FlipkdError
from models.student.checkpoint import load_checkpoint, save_checkpoint, seed_everything
from models.student.frozen import Activations
from models.student.grad_cache import backward_in_parts, forward_in_parts, parts
from models.student.student import Batch, Student
from pipeline.stages.distill.activations import make_batch
from pipeline.stages.distill.config import DistillConfig
from pipeline.stages.distill.objective import pair_terms, shares, text_terms
from pipeline.stages.distill.pair_data import PairData
from pipeline.stages.distill.schedule import plan_work, rate_share, steps
from pipeline.terminal.progress import progress

log = logging.getLogger("flipkd.distill")


@dataclass
class Training:
    """What a run has come to.

    Attributes:
        step: steps done. rows: of the training log.
        best: the dev value of the best adapter so far, and `best_step` its step; `stale` evaluations since.
        taken_over: steps on texts that an earlier run had done.
        adapter: the best adapter's tensors.
    """

    step: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    best: float = -math.inf
    best_step: int = 0
    stale: int = 0
    taken_over: int = 0
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
    kept: tuple[Activations, Activations] | None = None,
    after_texts: Path | None = None,
) -> Training:
    """Train the adapter and keep the best one by dev AUROC, resuming from a checkpoint if there is one.

    Args:
        bounds: tau_pos and tau_neg of the filter.
        work: folder of the checkpoint.
        autocast: bf16 activations (on a GPU that has them).
        kept: activations of train and dev below the cut, where they are kept.
        after_texts: the checkpoint after the passes over texts alone: gone on from if it is there, else written.

    Raises:
        FlipkdError: a loss that is not finite.
    """
    seed_everything(seed)
    # Layers above the last site take no part in a batch of texts.
    parallel = DistributedDataParallelKwargs(find_unused_parameters=True)
    # Else the precision of the last training in this process, the teacher's, say, could not be changed any more.
    AcceleratorState._reset_state()
    accelerator = Accelerator(mixed_precision="bf16" if autocast else "no", kwargs_handlers=[parallel])
    model = accelerator.prepare_model(student)
    parameters = [p for p in student.parameters() if p.requires_grad]
    clipped = clip_groups(student, parameters, config.clip)
    optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay)
    on_texts, on_pairs = steps(data, config, accelerator.num_processes, seed)
    total = on_texts + on_pairs
    # The pairs alone are measured: before them the decoder has learned nothing.
    evaluate_at = {on_texts + round(on_pairs * n / config.evaluations) for n in range(1, config.evaluations + 1)}
    checkpoint = work / "checkpoint.safetensors"
    state = _resume(checkpoint, after_texts, student, optimizer, total)
    todo = plan_work(data, config, seed, accelerator.num_processes, accelerator.process_index)
    saved = time.monotonic()
    with progress("training the student", total) as advance:
        advance(state.step)
        for kind, epoch, rows in itertools.islice(todo, state.step, None):
            started = time.monotonic()
            model.train()
            student.apart = kind == "pairs" and config.sites.trains == "encoder"
            batch = make_batch(student, data, kind, rows, kept and kept[0]).to(accelerator.device)
            terms, loss = _backward(accelerator, model, batch, data, kind, rows, config, bounds, state, seed)
            norm = math.hypot(
                *(float(accelerator.clip_grad_norm_(group, config.max_grad_norm) or 0) for group in clipped)
            )
            _check_finite("gradient norm", norm, config, state.step + 1)
            rate = config.learning_rate * rate_share(state.step, config, on_texts, on_pairs)
            _update(optimizer, rate)
            state.step += 1
            row: dict[str, Any] = {"step": state.step, "epoch": epoch, "loss": loss.item(), "learning_rate": rate}
            row |= {name: terms[name].item() if name in terms else None for name in ("ce", "mcl", "dist")}
            row["gradient_norm"] = norm
            row["tokens_per_second"] = batch.tokens / (time.monotonic() - started)
            if state.step in evaluate_at:
                row |= _evaluate(student, dev, config, state, kept and kept[1])
            state.rows.append(row)
            advance(1, note=f"loss {row['loss']:.3f}")
            if after_texts and state.step == on_texts:
                with FileLock(after_texts.parent.with_suffix(".lock")):  # of several students at a time
                    _save(after_texts, student, optimizer, state)
            if config.patience and state.stale >= config.patience:
                log.info("distill: no gain on dev in %d evaluations: stopping at step %d", state.stale, state.step)
                break
            if time.monotonic() - saved > 60 * config.checkpoint_minutes and accelerator.is_main_process:
                _save(checkpoint, student, optimizer, state)
                saved = time.monotonic()
    if total == 0:  # nothing to learn: the untrained student is measured
        row = dict.fromkeys(("step", "epoch", "loss", "learning_rate", "gradient_norm", "tokens_per_second"), 0)
        state.rows.append(row | _evaluate(student, dev, config, state, kept and kept[1]))
    return state


def _resume(
    checkpoint: Path, after_texts: Path | None, student: Student, optimizer: torch.optim.Optimizer, total: int
) -> Training:
    """Where this run was cut off, or where another one's passes over texts ended, or the beginning."""
    if loaded := load_checkpoint(checkpoint, student, optimizer):
        log.info("distill: resuming after step %d of %d", loaded[0]["step"], total)
        return Training(**loaded[0], adapter=loaded[1])
    if after_texts and (loaded := load_checkpoint(after_texts, student, optimizer)):
        after_texts.parent.touch()  # when it was used last, for whoever cleans up
        log.info("distill: the passes over texts were made by an earlier run")
        state = Training(**loaded[0], adapter=loaded[1])
        state.taken_over = state.step
        return state
    return Training()


def clip_groups(student: Student, parameters: list[nn.Parameter], clip: str) -> list[list[nn.Parameter]]:
    """The parameters whose gradients are clipped together: all, or the encoder (A of the sites) and the others.

    The similarity losses' gradient on A stays ten times as large as the answer's to the end. Clipped together, the
    answer's is divided by it at every step, early and late alike, and Adam, whose second moments remember the
    first steps, all but stops. On the medical pairs the decoder lost 4 points of AUROC that way.
    """
    if clip == "together":
        return [parameters]
    encoder = {id(p) for p in (*student.encoders(), *([] if student.queries is None else [student.queries]))}
    groups = [[p for p in parameters if id(p) in encoder], [p for p in parameters if id(p) not in encoder]]
    return [group for group in groups if group]


def _backward(
    accelerator: Accelerator,
    model: torch.nn.Module,
    batch: Batch,
    data: PairData,
    kind: str,
    rows: np.ndarray,
    config: DistillConfig,
    bounds: tuple[float, float],
    state: Training,
    seed: int,
) -> tuple[dict[str, Tensor], Tensor]:
    """The terms of a step and their weighed sum, whose gradients the parameters then hold."""
    divided, dropout = parts(batch, config.max_tokens), seed + state.step
    with accelerator.autocast():
        if len(divided) == 1:
            z, logits = model(batch)
        else:
            z, logits = forward_in_parts(model, batch, divided, seed=dropout)
    on_texts = kind == "texts"
    terms = text_terms(z, data, rows, config) if on_texts else pair_terms(z, logits, data, rows, config, bounds)
    share = shares(config, terms, state.rows)
    loss = torch.stack([value * share[name] for name, value in terms.items()]).sum()
    _check_finite("loss", loss.item(), config, state.step + 1)
    accelerator.backward(loss)
    if len(divided) > 1:
        alone = partial(accelerator.no_sync, model)
        with accelerator.autocast():
            backward_in_parts(
                model, batch, divided, z, logits, seed=dropout, backward=accelerator.backward, unsynchronised=alone
            )
    return terms, loss


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


@torch.inference_mode()
def predict(
    student: Student, pairs: PairData, batch_pairs: int, kept: Activations | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Decoder probabilities and encoder cosines of pairs, both (n,), longest first."""
    student.eval()
    device = next(student.parameters()).device
    decoder, encoder = np.zeros(len(pairs.first)), np.zeros(len(pairs.first))
    order = np.argsort(-np.asarray(pairs.lengths()), kind="stable")
    for begin in range(0, len(order), batch_pairs):
        rows = order[begin : begin + batch_pairs]
        z, logits = student(make_batch(student, pairs, "pairs", rows, kept).to(device))
        z_a, z_b = z.chunk(2)
        decoder[rows] = logits.softmax(1)[:, 1].view(2, -1).mean(0).cpu().numpy()
        encoder[rows] = (z_a * z_b).sum(1).cpu().numpy()
    return decoder, encoder


def _evaluate(
    student: Student, dev: PairData, config: DistillConfig, state: Training, kept: Activations | None
) -> dict[str, float]:
    """Measure dev and remember the adapter if it is the best so far."""
    decoder, encoder = predict(student, dev, 2 * config.batch_pairs, kept)
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
