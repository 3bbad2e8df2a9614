"""Fine-tune a teacher with sentence-transformers' own trainer."""

from __future__ import annotations

import json
import logging
import math
import pickle
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.sentence_transformer import losses
from sentence_transformers.sentence_transformer.evaluation import SentenceEvaluator
from sklearn.metrics import roc_auc_score
from transformers import TrainerCallback, TrainerControl, TrainerState, set_seed
from transformers.trainer_callback import PrinterCallback

from data.errors import FlipkdError
from models.runtime.precision import matrix_precision, resolved_precision
from models.runtime.quiet import quiet
from models.teacher.bi_encoder import pair_scores, prompt_of
from models.teacher.training_sets import LabelledPairs, TrainingSets

log = logging.getLogger("flipkd.teach")
METRIC = "auroc"


@dataclass(frozen=True)
class Tuned:
    """What tuning gave.

    Attributes:
        folder: the best checkpoint, a sentence-transformers folder.
        step: at which it was written.
        evaluations: `{"step", "auroc"}` of dev, in order.
        resumed_from: step of the checkpoint that tuning went on from; 0 if it began anew.
        matrix_precision: of the matrix products, `fp32` or `bf16`: what this machine is made for.
    """

    folder: Path
    step: int
    evaluations: list[dict[str, float]]
    resumed_from: int
    matrix_precision: str


def last_checkpoint(folder: Path) -> tuple[Path, int] | None:
    """The newest complete checkpoint of a killed run and its step.

    The trainer writes `trainer_state.json` last: a checkpoint without a readable one was cut off. It flushes
    nothing to disk: after a power cut the other files may be shorter than they were.
    """
    complete = []
    for state in folder.glob("checkpoint-*/trainer_state.json"):
        try:
            complete.append((int(json.loads(state.read_bytes())["global_step"]), state.parent))
        except (ValueError, KeyError):
            continue
    for step, checkpoint in sorted(complete, reverse=True):
        if all(map(_is_whole, checkpoint.rglob("*"))):
            return checkpoint, step
        log.warning("teach: the checkpoint of step %d is damaged: going on from an older one", step)
    return None


def _is_whole(file: Path) -> bool:
    """Whether a file of a checkpoint has its end: torch's are zip files, whose directory stands there."""
    if file.suffix in {".pt", ".pth"}:
        return zipfile.is_zipfile(file)
    if file.suffix == ".safetensors":
        try:
            with safe_open(file, framework="pt"):
                return True
        except (SafetensorError, OSError):
            return False
    return True


def tune(
    teacher: SentenceTransformer,
    sets: TrainingSets,
    dev: LabelledPairs,
    *,
    learning_rate: float,
    warmup_ratio: float,
    weight_decay: float,
    evaluations: int,
    patience: int | None = None,
    checkpoint_minutes: float = 5.0,
    seed: int,
    folder: Path,
    advance: Callable[..., None],
) -> Tuned:
    """Tune a teacher in place, going on from the newest checkpoint in `folder` if there is one.

    Args:
        sets: what is learnt from.
        dev: holds both labels; AUROC on it picks the best checkpoint.
        warmup_ratio: share of the steps, in [0, 1].
        evaluations: how often dev is measured, evenly spread, the last time at the end; each makes a checkpoint.
        patience: stop after so many evaluations in a row without a gain; None for never.
        checkpoint_minutes: time between further checkpoints, to go on from after a crash.
        folder: for checkpoints; nothing is written elsewhere.
        advance: called as `advance(steps, note)`.

    Raises:
        FlipkdError: the scores became NaN.
    """
    total = sets.steps
    checkpoint, resumed_from = last_checkpoint(folder) or (None, 0)
    on_cpu = not torch.cuda.is_available()
    set_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    with quiet(), matrix_precision(resolved_precision("auto", folder / "matrix_precision")) as precision:
        arguments = SentenceTransformerTrainingArguments(
            output_dir=str(folder),
            num_train_epochs=sets.epochs,
            per_device_train_batch_size=sets.device_batch_size,
            learning_rate=learning_rate,
            warmup_steps=math.ceil(warmup_ratio * total),
            weight_decay=weight_decay,
            bf16=not on_cpu and torch.cuda.is_bf16_supported(),
            batch_sampler=sets.sampler,
            prompts=prompt_of(teacher),  # as in scoring
            # The callback asks for the evaluations; the trainer's own schedule only adds the last one.
            eval_strategy="steps",
            eval_steps=total,
            save_strategy="steps",
            save_steps=total,
            save_total_limit=2,
            metric_for_best_model=METRIC,
            greater_is_better=True,
            logging_steps=max(1, total // 50),
            report_to="none",
            disable_tqdm=True,
            dataloader_pin_memory=not on_cpu,
            seed=seed,
        )
        trainer = Trainer(
            model=teacher,
            args=arguments,
            **_rows_and_losses(teacher, sets),
            evaluator=DevAuroc(dev),
            callbacks=[
                EvaluationSchedule(total, min(evaluations, total), patience, 60 * checkpoint_minutes, advance)
            ],
        )
        trainer.remove_callback(PrinterCallback)
        try:
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        except pickle.UnpicklingError:  # the trainer reads its files as tensors and numbers, and nothing else
            raise FlipkdError(
                f"teach: the checkpoints in {folder} hold more than tensors and numbers, so they are not what "
                "flipkd wrote; nothing in them was run. Remove that folder and run again"
            ) from None
    # By step, not by path: the state may hold the path of a store that was moved since.
    step = trainer.state.best_global_step
    best = folder / f"checkpoint-{step}"
    if not step or not best.is_dir():
        used = " and ".join(sets.losses.values())
        raise FlipkdError(f"teach: {used} left no checkpoint after {trainer.state.global_step} steps; run again")
    return Tuned(
        folder=best,
        step=step,
        evaluations=[
            {"step": entry["step"], METRIC: entry[f"eval_{METRIC}"]}
            for entry in trainer.state.log_history
            if f"eval_{METRIC}" in entry
        ],
        resumed_from=resumed_from,
        matrix_precision=precision,
    )


def _rows_and_losses(teacher: SentenceTransformer, sets: TrainingSets) -> dict[str, Any]:
    """As the trainer takes them: by name only where there are two."""
    made = {name: getattr(losses, loss)(teacher) for name, loss in sets.losses.items()}
    if len(made) == 1:
        (name,) = made
        return {"train_dataset": sets.rows[name], "loss": made[name]}
    return {"train_dataset": sets.rows, "loss": made}


class Trainer(SentenceTransformerTrainer):
    """The trainer without its model card, which would embed examples and name paths of this machine."""

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        pass


class DevAuroc(SentenceEvaluator):
    """AUROC of the teacher's cosine on dev, in full precision."""

    def __init__(self, dev: LabelledPairs) -> None:
        super().__init__()
        self.dev = dev
        self.primary_metric = METRIC

    def __call__(
        self, model: Any, output_path: str | None = None, epoch: int = -1, steps: int = -1
    ) -> dict[str, float]:
        with matrix_precision("fp32"):
            scores = pair_scores(model, self.dev.text_a, self.dev.text_b)
        if not np.isfinite(scores).all():
            raise FlipkdError(
                f"teach: at step {steps} the teacher gave scores that are not numbers; lower teach.learning_rate"
            )
        return {METRIC: float(roc_auc_score(self.dev.label, scores))}


class EvaluationSchedule(TrainerCallback):
    """Asks for `evaluations` evaluations, each with a checkpoint, and for checkpoints by the clock.

    With `patience` it also ends the training. transformers' own callback counts from zero after a crash; this one
    counts in the log, which the checkpoints hold.
    """

    def __init__(
        self, total: int, evaluations: int, patience: int | None, seconds: float, advance: Callable[..., None]
    ) -> None:
        self.patience = patience
        self.due = {round(total * number / evaluations) for number in range(1, evaluations + 1)}
        self.seconds = seconds
        self.saved = time.monotonic()
        self.advance = advance
        self.note = ""

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.advance(1, self.note)
        self._stop_without_gain(state, control)  # also after a crash that came when it had been stopped
        if state.global_step in self.due:
            control.should_evaluate = control.should_save = True
        elif time.monotonic() - self.saved > self.seconds:
            control.should_save = True

    def on_evaluate(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self._stop_without_gain(state, control)

    def _stop_without_gain(self, state: TrainerState, control: TrainerControl) -> None:
        measured = [entry[f"eval_{METRIC}"] for entry in state.log_history if f"eval_{METRIC}" in entry]
        if self.patience and measured and len(measured) - 1 - int(np.argmax(measured)) >= self.patience:
            control.should_training_stop = True

    def on_save(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.saved = time.monotonic()

    def on_log(
        self, args: Any, state: TrainerState, control: TrainerControl, logs: Any = None, **kwargs: Any
    ) -> None:
        if logs and "loss" in logs:
            self.note = f"loss {logs['loss']:.3f}"
        if logs and f"eval_{METRIC}" in logs:
            log.info("teach: step %d, dev AUROC %.4f", state.global_step, logs[f"eval_{METRIC}"])
