"""What can be found wrong with a student before any work starts: layers, sites, answers, length."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from data.errors import FlipkdError
from models.loading.names import FoundModel, find_model
from models.loading.weights import code_refused, wants_code
from models.student.flipkd_student import PairPrompt
from pipeline.stages.distill.config import DistillConfig
from pipeline.store.disk import disk_problem
from pipeline.store.store import Store


def check_student(config: DistillConfig, store: Store) -> None:
    """Check that the student has the layers that get adapters, the sites, and two answers that differ."""
    from models.loading.convert import converted
    from models.student.sites import adapted_layers, first_layers, linear_layers, select_sites

    found = find_model(config.model)
    try:
        folder = converted(found, store.models)
    except Exception as error:
        if problem := disk_problem(error, store.models):
            raise FlipkdError(f"distill.model: cannot convert {found.name}: {problem}") from None
        if isinstance(error, FlipkdError):
            raise FlipkdError(f"distill.model: {error}") from error
        raise
    lm = model_without_weights(found, folder, config.trust_remote_code)
    layers = linear_layers(lm)
    lora, sites = config.lora, config.sites

    def named(key: str, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except ValueError as error:
            raise FlipkdError(f"{key}: {error} (in {config.model})") from None

    if config.first_layers is not None:
        layers = named("distill.first_layers", first_layers, layers, config.first_layers)
    named("distill.lora.modules", adapted_layers, layers, lora.modules, None)
    named("distill.lora.last_layers", adapted_layers, layers, lora.modules, lora.last_layers)
    named("distill.sites.modules", select_sites, layers, sites.modules, None)
    named("distill.sites.last_layers", select_sites, layers, sites.modules, sites.last_layers)
    named("distill.prompt.answers", check_answers, folder, config)
    named("distill.max_length", check_length, folder, config, lm.config)


def model_without_weights(found: FoundModel, folder: Path, trust_remote_code: bool) -> Any:
    """A causal LM on the meta device: all of its modules, none of its memory.

    Raises:
        FlipkdError: the folder holds no such model, or not all of its weights.
    """
    from transformers import MODEL_FOR_MASKED_LM_MAPPING, AutoConfig, AutoModelForCausalLM

    from data.errors import first_line
    from models.loading.soundness import check_files, on_meta

    try:
        check_files(found.name, folder)
    except FlipkdError as error:
        raise FlipkdError(f"distill.model: {error}") from None
    try:
        settings = AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code)
    except Exception as error:  # each library and model type raises its own for a config that it cannot use
        if wants_code(error):
            raise code_refused(f"distill.model: {found.name}", "distill.trust_remote_code") from None
        raise FlipkdError(
            f"distill.model: {found.name} is not a decoder-only model: its config.json: {first_line(error)}"
        ) from error
    if type(settings) in MODEL_FOR_MASKED_LM_MAPPING:  # transformers would build it all the same
        raise FlipkdError(
            f"distill.model: {found.name} is not a decoder-only model: {type(settings).__name__} reads a text in "
            "both directions"
        )
    try:
        return on_meta(folder, AutoModelForCausalLM, trust_remote_code=trust_remote_code)
    except Exception as error:
        if wants_code(error):
            raise code_refused(f"distill.model: {found.name}", "distill.trust_remote_code") from None
        raise FlipkdError(f"distill.model: {found.name} cannot be loaded: {first_line(error)}") from error


def check_answers(folder: Path, config: DistillConfig) -> None:
    """Check that the two answers begin with different tokens.

    Raises:
        ValueError: they do not, or one of them is empty.
    """
    if not all(config.prompt.answers):
        raise ValueError("an answer is empty; give a word for label 0 and a word for label 1")
    _prompt(folder, config)


def check_length(folder: Path, config: DistillConfig, lm_config: Any) -> None:
    """Check that the longest prompt fits into the student's positions, where it says how many it has.

    Raises:
        ValueError: it does not.
    """
    limit = getattr(lm_config.get_text_config(), "max_position_embeddings", None)
    around = len(_prompt(folder, config).pair([], []))
    if limit is not None and around + 2 * config.max_length > limit:
        raise ValueError(
            f"two texts of {config.max_length} tokens and the prompt's {around} are more than the student's "
            f"{limit} positions; lower it to {max((limit - around) // 2, 0)}"
        )


def _prompt(folder: Path, config: DistillConfig) -> PairPrompt:
    from transformers import AutoTokenizer

    from data.errors import first_line
    from models.student.flipkd_student import PairPrompt

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=config.trust_remote_code)
    except Exception as error:
        if wants_code(error):
            raise code_refused(f"distill.model: {config.model}", "distill.trust_remote_code") from None
        raise FlipkdError(
            f"distill.model: {config.model}: its tokenizer cannot be loaded: {first_line(error)}"
        ) from error
    return PairPrompt(tokenizer, config.prompt.template, config.prompt.answers, config.max_length)
