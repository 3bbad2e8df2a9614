"""What can be found wrong before any work starts: files, columns, models, and the student's layers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.errors import FlipkdError
from models.names import FoundModel, find_model
from pipeline.config import Config, DistillConfig
from pipeline.settings import store_of
from pipeline.stages import plan
from pipeline.store import Store

if TYPE_CHECKING:
    from models.flipkd_student import PairPrompt


def check(config: Config, until: str | None = None) -> None:
    """Check all that the stages up to `until` need from outside.

    The student is built without weights, to see its layers; that takes torch, and is left out when no student
    will be trained because its artifact is there already.

    Raises:
        FlipkdError: a file, column, model, layer or module that is not there; names the config's key.
    """
    from pipeline.prepare import check_inputs

    check_inputs(config.prepare)
    store = store_of(config)
    steps = {step.stage: step for step in plan(config, until)}
    if "distill" in steps and not store.path("distill", steps["distill"].key).exists():
        check_student(config.distill, store)


def check_student(config: DistillConfig, store: Store) -> None:
    """Check that the student has the layers that get adapters, the sites, and two answers that differ."""
    from models.convert import converted
    from models.sites import adapted_layers, linear_layers, select_sites

    found = find_model(config.model)
    folder = converted(found, store.models)
    lm = model_without_weights(found, folder, config.trust_remote_code)
    layers = linear_layers(lm)
    lora, sites = config.lora, config.sites

    def named(key: str, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except ValueError as error:
            raise FlipkdError(f"{key}: {error} (in {config.model})") from None

    named("distill.lora.modules", adapted_layers, layers, lora.modules, None)
    named("distill.lora.last_layers", adapted_layers, layers, lora.modules, lora.last_layers)
    named("distill.sites.modules", select_sites, layers, sites.modules, None)
    named("distill.sites.last_layers", select_sites, layers, sites.modules, sites.last_layers)
    named("distill.prompt.answers", check_answers, folder, config)
    named("distill.max_length", check_length, folder, config, lm.config)


def model_without_weights(found: FoundModel, folder: Path, trust_remote_code: bool) -> Any:
    """A causal LM on the meta device: all of its modules, none of its memory."""
    from accelerate import init_empty_weights
    from transformers import MODEL_FOR_MASKED_LM_MAPPING, AutoConfig, AutoModelForCausalLM

    try:
        settings = AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code)
        if type(settings) in MODEL_FOR_MASKED_LM_MAPPING:  # transformers would build it all the same
            raise ValueError(f"{type(settings).__name__} reads a text in both directions")
        with init_empty_weights():
            return AutoModelForCausalLM.from_config(settings, trust_remote_code=trust_remote_code)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise FlipkdError(f"distill.model: {found.name} is not a decoder-only model: {reason}") from None


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

    from models.flipkd_student import PairPrompt

    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=config.trust_remote_code)
    return PairPrompt(tokenizer, config.prompt.template, config.prompt.answers, config.max_length)
