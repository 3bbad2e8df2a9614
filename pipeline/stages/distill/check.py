"""What can be found wrong with a student before any work starts: layers, sites, answers, length, its numbers.

Takes torch and transformers; `stage.py` imports it when a student is checked, and not before.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from transformers import MODEL_FOR_MASKED_LM_MAPPING, AutoConfig, AutoModelForCausalLM, AutoTokenizer

from data.errors import FlipkdError, first_line
from models.loading.convert import converted
from models.loading.names import FoundModel, find_model
from models.loading.soundness import check_files, on_meta
from models.loading.weights import code_refused, wants_code
from models.student.flipkd_student import PairPrompt
from models.student.sites import adapted_layers, first_layers, linear_layers, select_sites
from pipeline.stages.distill.config import QUANTISED, DistillConfig
from pipeline.stages.distill.estimate import base_bytes, total_memory
from pipeline.stages.distill.trial import check_trial
from pipeline.store.disk import disk_problem
from pipeline.store.store import Store


def check_student(config: DistillConfig, store: Store) -> None:
    """Check that the student has the layers that get adapters, the sites, and two answers that differ.

    Raises:
        FlipkdError: names the config's key.
    """
    model, lora, sites = find_model(config.model), config.lora, config.sites
    folder = _converted(model, store)
    lm = model_without_weights(model, folder, config.trust_remote_code)
    layers = linear_layers(lm)
    if config.first_layers is not None:
        with _key("distill.first_layers", config):
            layers = first_layers(layers, config.first_layers)
    with _key("distill.lora.modules", config):
        adapted_layers(layers, lora.modules, None)
    with _key("distill.lora.last_layers", config):
        adapted_layers(layers, lora.modules, lora.last_layers)
    with _key("distill.sites.modules", config):
        select_sites(layers, sites.modules, None)
    with _key("distill.sites.last_layers", config):
        select_sites(layers, sites.modules, sites.last_layers)
    with _key("distill.prompt.answers", config):
        prompt = _prompt(folder, config)
    with _key("distill.max_length", config):
        check_length(prompt, config.max_length, lm.config)
    check_base(config, lm)
    check_trial(config, store, model, lm)


def model_without_weights(model: FoundModel, folder: Path, trust_remote_code: bool) -> Any:
    """A causal LM on the meta device: all of its modules, none of its memory.

    Raises:
        FlipkdError: the folder holds no such model, or not all of its weights.
    """
    try:
        check_files(model.name, folder)
    except FlipkdError as error:
        raise FlipkdError(f"distill.model: {error}") from None
    with _loading(model.name, " is not a decoder-only model: its config.json"):
        settings = AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code)
    if type(settings) in MODEL_FOR_MASKED_LM_MAPPING:  # transformers would build it all the same
        raise FlipkdError(
            f"distill.model: {model.name} is not a decoder-only model: {type(settings).__name__} reads a text in "
            "both directions"
        )
    with _loading(model.name, " cannot be loaded"):
        return on_meta(folder, AutoModelForCausalLM, trust_remote_code=trust_remote_code)


def check_base(config: DistillConfig, lm: Any) -> None:
    """Check that the base can be held as the config asks, and its layers be computed again.

    Args:
        lm: the model without its weights.

    Raises:
        FlipkdError: bitsandbytes is not installed, the weights are more than the machine holds, or the model does
            not know gradient checkpointing.
    """
    if config.base in QUANTISED and find_spec("bitsandbytes") is None:
        raise FlipkdError(
            f"distill.base: {config.base} needs bitsandbytes, which is not installed: pip install bitsandbytes, "
            "or take bf16"
        )
    processes = 1 if torch.cuda.is_available() else config.processes  # on a processor each holds its own
    takes, room = base_bytes(config, lm) * processes, total_memory()
    if takes > room:
        less = base_bytes(config.model_copy(update={"base": "nf4"}), lm) * processes
        raise FlipkdError(
            f"distill.model: the weights of {config.model} take {takes / 1e9:.1f} GB (distill.base: {config.base}"
            f"{f', {processes} processes' if processes > 1 else ''}), and this machine has {room / 1e9:.1f} GB; "
            f"distill.base: nf4 takes {less / 1e9:.1f} GB"
        )
    if config.gradient_checkpointing and not lm.supports_gradient_checkpointing:
        raise FlipkdError(
            f"distill.gradient_checkpointing: {type(lm).__name__} does not know it (in {config.model}); set it to "
            "false"
        )


def check_length(prompt: PairPrompt, max_length: int, lm_config: Any) -> None:
    """Check that the longest prompt fits into the student's positions, where it says how many it has.

    Raises:
        ValueError: it does not.
    """
    positions = getattr(lm_config.get_text_config(), "max_position_embeddings", None)
    overhead = prompt.overhead
    if positions is not None and overhead + 2 * max_length > positions:
        raise ValueError(
            f"two texts of {max_length} tokens and the prompt's {overhead} are more than the student's "
            f"{positions} positions; lower it to {max((positions - overhead) // 2, 0)}"
        )


def _prompt(folder: Path, config: DistillConfig) -> PairPrompt:
    """The student's prompt.

    Raises:
        ValueError: an answer is empty, or both begin with the same token.
    """
    if not all(config.prompt.answers):
        raise ValueError("an answer is empty; give a word for label 0 and a word for label 1")
    with _loading(config.model, ": its tokenizer cannot be loaded"):
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=config.trust_remote_code)
    asked = config.prompt
    return PairPrompt(tokenizer, asked.template, asked.answers, config.max_length, asked.turned, asked.orders)


def _converted(model: FoundModel, store: Store) -> Path:
    try:
        return converted(model, store.models)
    except Exception as error:
        if problem := disk_problem(error, store.models):
            raise FlipkdError(f"distill.model: cannot convert {model.name}: {problem}") from None
        if isinstance(error, FlipkdError):
            raise FlipkdError(f"distill.model: {error}") from error
        raise


@contextmanager
def _key(key: str, config: DistillConfig) -> Iterator[None]:
    """A ValueError inside it is a mistake in this key of the config."""
    try:
        yield
    except ValueError as error:
        raise FlipkdError(f"{key}: {error} (in {config.model})") from None


@contextmanager
def _loading(name: str, problem: str) -> Iterator[None]:
    """Each library and model type raises errors of its own for what it cannot load; here they become one."""
    try:
        yield
    except Exception as error:
        if wants_code(error):
            raise code_refused(f"distill.model: {name}", "distill.trust_remote_code") from None
        raise FlipkdError(f"distill.model: {name}{problem}: {first_line(error)}") from error
