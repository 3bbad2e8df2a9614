"""The configured student tried before any stage runs (`models.student.trial`); what came of it is kept."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

from data.errors import FlipkdError
from models.loading.convert import converted, cut_identity
from models.loading.names import FoundModel
from models.student.student import load_base
from models.student.trial import Trial, try_student
from pipeline.stages.distill.build import build, loaded
from pipeline.stages.distill.config import QUANTISED, DistillConfig
from pipeline.store.store import Store, make_folder

log = logging.getLogger("flipkd.distill")
# A larger model takes minutes to load: it is tried when `distill` has loaded it anyway.
LARGEST = 2_000_000_000
RESULT = "trial.json"
_PACKAGES = ("torch", "transformers", "peft")


def check_trial(config: DistillConfig, store: Store, model: FoundModel, lm: Any) -> None:
    """Try a student, unless this one was tried before.

    Args:
        lm: the model without its weights.

    Raises:
        FlipkdError: two ways of reading it give different numbers, or one of them fails.
    """
    if sum(parameter.numel() for parameter in lm.parameters()) > LARGEST:
        return
    folder = store.trials / _key(config, model)
    trial = _kept(folder)
    if trial is None:
        log.info("distill: trying %s on two pairs (once)", model.name)
        trial = _tried(config, store, model)
        make_folder(folder)
        (folder / RESULT).write_text(json.dumps(asdict(trial)), "utf-8")
    folder.touch()  # when it was used last, for whoever cleans up
    if trial.problem:
        raise FlipkdError(f"distill.model: {model.name} cannot be a student: {trial.problem}")


def _kept(folder: Path) -> Trial | None:
    """What an earlier trial found; None where there was none, or it was cut off as it was written."""
    try:
        return Trial(**json.loads((folder / RESULT).read_text("utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _tried(config: DistillConfig, store: Store, model: FoundModel) -> Trial:
    trusted = config.trust_remote_code
    base = converted(model, store.models, config.first_layers, trust_remote_code=trusted)
    if config.base in QUANTISED:
        return try_student(loaded(config, base))
    # In fp32 two ways of reading it differ by less than in bf16.
    return try_student(build(*load_base(base, trust_remote_code=trusted), config))


def _key(config: DistillConfig, model: FoundModel) -> str:
    """Of all that decides how a student is built and read."""
    built = config.model_dump(include={"lora", "sites", "prompt", "max_length"}, mode="json")
    versions = [importlib.metadata.version(name) for name in _PACKAGES]
    told = [cut_identity(model, config.first_layers), built, versions]
    if config.base in QUANTISED:
        told.append(config.base)
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:20]
