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

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState
from filelock import FileLock
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from data.errors import FlipkdError
from models.runtime.allocator import give_back_above
from models.student.checkpoint import load_checkpoint, save_checkpoint, seed_everything
from models.student.frozen import Activations
from models.student.grad_cache import backward_in_parts, forward_in_parts, parts
from models.student.student import Batch, Student
from pipeline.stages.distill.activations import make_batch
from pipeline.stages.distill.config import DistillConfig
from pipeline.stages.distill.objective import pair_terms, shares, text_terms
from pipeline.stages.distill.pair_data import PairData
from pipeline.stages.distill.schedule import Work, plan_work, rate_share, steps
from pipeline.stages.distill.score import student_scores
from pipeline.terminal.progress import progress

log = logging.getLogger("flipkd.distill")


@dataclass(frozen=True)
class Training:
    """A training, in all that does not change from step to step.

    Attributes:
        data, dev: pairs of train and of dev.
        bounds: tau_pos and tau_neg of the filter.
        autocast: bf16 activations (on a GPU that has them).
        checkpoint: the file to resume from.
        kept, kept_dev: activations of train and dev below the cut, where they are kept.
        after_texts: the checkpoint after the passes over texts alone: gone on from if it is there, else written.
        memory_limit: bytes of this process from which on free memory goes back to the system after a step.
    """

    student: Student
    data: PairData
    dev: PairData
    config: DistillConfig
    bounds: tuple[float, float]
    seed: int
    autocast: bool
    checkpoint: Path
    kept: Activations | None = None
    kept_dev: Activations | None = None
    after_texts: Path | None = None
    memory_limit: int | None = None


@dataclass
class State:
    """What a training has come to.

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


def train(training: Training) -> State:
    """Train the adapter and keep the best one by dev AUROC, resuming from a checkpoint if there is one.

    Raises:
        FlipkdError: a loss that is not finite, or too few batches for so many processes.
    """
    student, config, after_texts = training.student, training.config, training.after_texts
    seed_everything(training.seed)
    # Layers above the last site take no part in a batch of texts.
    parallel = DistributedDataParallelKwargs(find_unused_parameters=True)
    # Else the precision of the last training in this process, the teacher's, say, could not be changed any more.
    AcceleratorState._reset_state()
    accelerator = Accelerator(mixed_precision="bf16" if training.autocast else "no", kwargs_handlers=[parallel])
    model = accelerator.prepare_model(student)
    parameters = [p for p in student.parameters() if p.requires_grad]
    clipped = clip_groups(student, parameters, config.clip)
    optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay)
    processes = accelerator.num_processes
    on_texts, on_pairs = steps(training.data, config, processes, training.seed)
    total = on_texts + on_pairs
    # The pairs alone are measured: before them the decoder has learned nothing.
    evaluate_at = {on_texts + round(on_pairs * n / config.evaluations) for n in range(1, config.evaluations + 1)}
    state = _resume(training, optimizer, total)
    todo = plan_work(training.data, config, training.seed, processes, accelerator.process_index)
    saved = time.monotonic()
    with progress("training the student", total) as advance:
        advance(state.step)
        for work in itertools.islice(todo, state.step, None):
            started = time.monotonic()
            model.train()
            student.similarity_trains_encoder_alone = work.kind == "pairs" and config.sites.trains == "encoder"
            give_back_above(training.memory_limit)
            batch = make_batch(student, training.data, work.kind, work.rows, training.kept)
            terms, loss = _backward(training, accelerator, model, work, batch.to(accelerator.device), state)
            norm = math.hypot(
                *(float(accelerator.clip_grad_norm_(group, config.max_grad_norm) or 0) for group in clipped)
            )
            _check_finite("gradient norm", norm, config, state.step + 1)
            rate = config.learning_rate * rate_share(state.step, config, on_texts, on_pairs)
            _update(optimizer, rate)
            state.step += 1
            row: dict[str, Any] = {"step": state.step, "epoch": work.epoch, "loss": loss.item()}
            row |= {name: terms[name].item() if name in terms else None for name in ("ce", "mcl", "dist")}
            row |= {"learning_rate": rate, "gradient_norm": norm} | _pace(batch.tokens, time.monotonic() - started)
            if state.step in evaluate_at:
                row |= _evaluate(training, state)
            state.rows.append(row)
            advance(1, note=f"loss {row['loss']:.3f}")
            if after_texts and state.step == on_texts:
                with FileLock(after_texts.parent.with_suffix(".lock")):  # of several students at a time
                    _save(after_texts, student, optimizer, state)
            if config.patience and state.stale >= config.patience:
                log.info("distill: no gain on dev in %d evaluations: stopping at step %d", state.stale, state.step)
                break
            if time.monotonic() - saved > 60 * config.checkpoint_minutes and accelerator.is_main_process:
                _save(training.checkpoint, student, optimizer, state)
                saved = time.monotonic()
    if total == 0:  # nothing to learn: the untrained student is measured
        row = dict.fromkeys(("step", "epoch", "loss", "learning_rate", "gradient_norm", "tokens_per_second"), 0)
        state.rows.append(row | _evaluate(training, state))
    return state


def _resume(training: Training, optimizer: torch.optim.Optimizer, total: int) -> State:
    """Where this run was cut off, or where another one's passes over texts ended, or the beginning."""
    if loaded := load_checkpoint(training.checkpoint, training.student, optimizer):
        log.info("distill: resuming after step %d of %d", loaded[0]["step"], total)
        return State(**loaded[0], adapter=loaded[1])
    after_texts = training.after_texts
    if after_texts and (loaded := load_checkpoint(after_texts, training.student, optimizer)):
        after_texts.parent.touch()  # when it was used last, for whoever cleans up
        log.info("distill: the passes over texts were made by an earlier run")
        state = State(**loaded[0], adapter=loaded[1])
        state.taken_over = state.step
        return state
    return State()


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
    training: Training, accelerator: Accelerator, model: nn.Module, work: Work, batch: Batch, state: State
) -> tuple[dict[str, Tensor], Tensor]:
    """The terms of a step and their weighed sum, whose gradients the parameters then hold.

    Args:
        model: the student as accelerate wraps it. batch: of the step's `work`, on the model's device.
    """
    data, config = training.data, training.config
    divided, dropout = parts(batch, config.max_tokens), training.seed + state.step
    with accelerator.autocast():
        if len(divided) == 1:
            z, logits = model(batch)
        else:
            z, logits = forward_in_parts(model, batch, divided, seed=dropout)
    if work.kind == "texts":
        terms = text_terms(z, data, work.rows, config)
    else:
        terms = pair_terms(z, logits, data, work.rows, config, training.bounds)
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


def _pace(tokens: int, seconds: float) -> dict[str, float]:
    """Of a step; the log has the ratio alone, the sums are the training's cost."""
    return {"tokens": tokens, "seconds": seconds, "tokens_per_second": tokens / seconds}


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


def _evaluate(training: Training, state: State) -> dict[str, float]:
    """AUROC of both views on dev; the adapter is remembered if it is the best so far."""
    student, dev, config = training.student, training.dev, training.config
    decoder, encoder = student_scores(student, dev, 2 * config.batch_pairs, training.kept_dev)
    aurocs = {
        "dev_decoder_auroc": float(roc_auc_score(dev.targets, decoder)),
        "dev_encoder_auroc": float(roc_auc_score(dev.targets, encoder)),
    }
    # Plain fine-tuning trains the decoder alone; otherwise both views are shipped, so both count.
    value = aurocs["dev_decoder_auroc"] if config.objective == "sft" else sum(aurocs.values()) / 2
    log.info("distill: step %d, dev AUROC decoder %.3f, encoder %.3f", state.step, *aurocs.values())
    if value > state.best:
        state.best, state.best_step, state.stale = value, state.step, 0
        state.adapter = student.adapter()
    else:
        state.stale += 1
    return aurocs


def _save(path: Path, student: Student, optimizer: torch.optim.Optimizer, state: State) -> None:
    kept = {name: value for name, value in vars(state).items() if name != "adapter"}
    save_checkpoint(path, student, optimizer, kept, state.adapter)
