"""Whether a model folder holds what its own config asks for: found in a second, before hours of work.

transformers fills weights that are missing with random numbers and goes on with a warning. A student or teacher
that is half random would look like a bad result, not like a broken file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data.errors import FlipkdError, first_line
from models.loading.weights import SAFE

MODULES = "modules.json"
# Layers behind the token vectors, which many encoders are published without and no pooling of ours reads.
UNREAD = re.compile(r"(^|\.)pooler\.")
AGAIN = "get the model again, whole and from one place"


def check_files(name: str, folder: Path) -> None:
    """Check that a model folder's JSON and safetensors files can be read; of weights, the headers alone.

    Args:
        name: of the model, for messages.

    Raises:
        FlipkdError: one cannot; names it.
    """
    from safetensors import SafetensorError, safe_open

    parts = [folder]
    if (folder / MODULES).is_file():
        for module in _modules(name, folder):
            part = folder / str(module.get("path", ""))
            if str(module.get("type", "")).endswith(".Normalize"):
                continue  # it has no files, and packages drop empty folders
            if not part.is_dir():
                raise FlipkdError(
                    f"{name}: {MODULES} names the folder {module['path']}, which is not there; {AGAIN}"
                )
            parts.append(part)
    for part in dict.fromkeys(parts):
        for file in (part / "config.json", part / "tokenizer.json", part / "tokenizer_config.json"):
            if file.is_file() and not isinstance(_json(name, folder, file), dict):
                raise FlipkdError(f"{name}: {file.relative_to(folder)} must be a JSON object; {AGAIN}")
        for file in sorted(part.glob("*.safetensors")):
            try:
                with safe_open(file, framework="np"):
                    pass
            except (SafetensorError, OSError, ValueError) as error:
                reason = f"{first_line(error)}. It is cut short or no safetensors"
                raise FlipkdError(f"{name}: {file.relative_to(folder)}: {reason}; {AGAIN}") from None


def _modules(name: str, folder: Path) -> list[dict[str, Any]]:
    modules = _json(name, folder, folder / MODULES)
    if not isinstance(modules, list) or not modules or not all(isinstance(module, dict) for module in modules):
        raise FlipkdError(f"{name}: {MODULES} must list the model's modules; {AGAIN}")
    return modules


def _json(name: str, folder: Path, file: Path) -> Any:
    try:
        return json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise FlipkdError(f"{name}: {file.relative_to(folder)} is not valid JSON: {error}; {AGAIN}") from None


def module_folder(folder: Path, number: int) -> Path:
    """Where the files of a sentence-transformers model's module lie: at the top, or in a folder of its own."""
    own = next((path for path in sorted(folder.glob(f"{number}_*")) if (path / "config.json").is_file()), folder)
    return folder if (folder / "config.json").is_file() else own


def on_meta(folder: Path, auto_class: Any, *, trust_remote_code: bool = False) -> Any:
    """A model on the meta device: all of its modules and none of its memory; its files are looked into.

    Args:
        auto_class: `AutoModelForCausalLM`, or any class with `from_pretrained`.

    Raises:
        ValueError: weights are missing, or have other sizes than the config asks for.
        Exception: what transformers raises for a folder that it cannot read.
    """
    from models.runtime.quiet import quiet

    with quiet():
        model, loading_info = auto_class.from_pretrained(
            folder,
            device_map={"": "meta"},
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # or transformers says no more than that there were some
            trust_remote_code=trust_remote_code,
            **SAFE,
        )
    check_loading(loading_info)
    return model


def check_loading(loading_info: Mapping[str, Any]) -> None:
    """Check what transformers says of loading a model (`output_loading_info`).

    Raises:
        ValueError: weights are missing, or have other sizes than the config asks for.
    """
    differ = sorted(loading_info["mismatched_keys"], key=lambda mismatch: mismatch[0])
    if differ:
        name, shape, expected = differ[0]
        raise ValueError(
            f"{len(differ)} weights have another size than config.json asks for, such as {name}: {tuple(shape)}, "
            f"not {tuple(expected)}; {AGAIN}"
        )
    missing = sorted(name for name in loading_info["missing_keys"] if not UNREAD.search(name))
    if missing:
        raise ValueError(
            f"{len(missing)} weights that config.json asks for are missing, such as {missing[0]}; {AGAIN}"
        )


def check_numbers(model: Any) -> None:
    """Check that all weights are finite.

    Raises:
        ValueError: one is not; names it.
    """
    from torch import float64

    for name, weight in model.named_parameters():
        # A sum is finite only if all of its terms are; in double precision it does not overflow.
        if weight.is_floating_point() and not weight.detach().sum(dtype=float64).isfinite():
            raise ValueError(f"the weights {name} are not finite numbers; {AGAIN}")
