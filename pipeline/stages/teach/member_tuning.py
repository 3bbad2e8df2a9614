"""One teacher's tuning, as the config has it."""

from __future__ import annotations

import logging

from sentence_transformers import SentenceTransformer

from models.teacher.training_sets import LabelledPairs, training_sets
from models.teacher.tuning import Tuned, last_checkpoint, tune
from pipeline.stages.teach.ensemble import Member
from pipeline.stages.teach.labels import Labels
from pipeline.terminal.progress import progress

log = logging.getLogger("flipkd.teach")


def tune_member(
    member: Member,
    teacher: SentenceTransformer,
    train: Labels,
    dev: LabelledPairs,
    seed: int,
    title: str = "tuning the teacher",
) -> Tuned:
    """Tune one teacher as its config says, going on from its checkpoints.

    Args:
        teacher: changed in place. title: of the progress.
    """
    config, folder = member.config, member.checkpoints
    found = last_checkpoint(folder)
    if found:
        log.info("teach: going on from step %d of a run that was cut off", found[1])
    sets = training_sets(*train, loss=config.loss, batch_size=config.batch_size, epochs=config.epochs, seed=seed)
    if train.texts:
        log.info(
            "teach: %d texts of %d ids and %d pairs in %d steps",
            len(train.texts.text), train.texts.ids(), len(train.pairs.label), sets.steps,
        )  # fmt: skip
    with progress(title, sets.steps - (found[1] if found else 0)) as advance:
        return tune(
            teacher,
            sets,
            dev,
            learning_rate=config.texts_learning_rate if train.texts else config.learning_rate,
            warmup_ratio=config.warmup_ratio,
            weight_decay=config.weight_decay,
            evaluations=config.evaluations,
            patience=config.patience,
            checkpoint_minutes=config.checkpoint_minutes,
            seed=seed,
            folder=folder,
            advance=advance,
        )
