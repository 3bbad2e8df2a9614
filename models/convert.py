"""GGUF to a plain model folder (safetensors), once, and kept.

Reading a GGUF file takes half a minute, loading the folder half a second.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from filelock import FileLock

from data.errors import FlipkdError
from models.names import FoundModel

log = logging.getLogger("flipkd.models")


def converted(found: FoundModel, cache: Path) -> Path:
    """The folder that a model loads from: its own, or for a GGUF file the converted one.

    Args:
        cache: where converted models are kept, by the file's digest.

    Raises:
        FlipkdError: the file is not a GGUF of a causal LM that transformers can read.
    """
    if not found.is_gguf:
        return found.path
    from models.quiet import quiet

    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / found.identity.removeprefix("sha256:")[:20]
    with FileLock(cache / f"{folder.name}.lock"):
        if not (folder / "config.json").exists():
            temporary = cache / f".{folder.name}.writing"
            shutil.rmtree(temporary, ignore_errors=True)
            log.info("converting %s to safetensors (once; about half a minute)", found.path.name)
            with quiet():
                _convert(found, temporary)
            temporary.replace(folder)
    return folder


def _convert(found: FoundModel, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source, name = found.path.parent, found.path.name
    try:
        quantised = AutoModelForCausalLM.from_pretrained(source, gguf_file=name, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=name)
    except (ValueError, KeyError, OSError, RuntimeError, IndexError, MemoryError, AssertionError) as error:
        raise FlipkdError(f"{found.name}: cannot be read as a GGUF language model: {error}") from error
    config = quantised.config
    if hasattr(config, "quantization_config"):
        delattr(config, "quantization_config")
    # A quantised model refuses to be saved, though its weights are plain by now: move them to a fresh one.
    plain = type(quantised)(config)
    plain.load_state_dict(quantised.state_dict())
    plain.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
