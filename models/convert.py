"""GGUF to a plain model folder (safetensors), once, and kept.

Reading a GGUF file takes half a minute, loading the folder half a second.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from pathlib import Path
from typing import Any

from filelock import FileLock

from data.errors import FlipkdError
from models.names import FoundModel
from models.soundness import check_loading, check_numbers, first_line

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
            try:
                with quiet():
                    _convert(found, temporary)
                temporary.replace(folder)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _convert(found: FoundModel, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with tempfile.TemporaryDirectory(prefix="flipkd-gguf-") as alone:
        # By itself: transformers would also take an adapter or a tokenizer's settings that lie beside it, which
        # the file's digest does not cover.
        source, name = Path(alone), found.path.name
        (source / name).symlink_to(found.path.resolve())
        try:
            # Tensors that the file lacks would be filled with random numbers.
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                source,
                gguf_file=name,
                dtype=torch.float32,
                trust_remote_code=False,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
            )
            quantised, told = loaded
            check_loading(told)
            check_numbers(quantised)
            tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=name, trust_remote_code=False)
        except Exception as error:  # struct's, numpy's, gguf's and transformers' own, by where the file is cut
            reason = first_line(error).replace(f"{source}/", "")
            raise FlipkdError(
                f"{found.name}: cannot be read as a GGUF language model: {reason}. It may be cut short or of a "
                "kind that transformers does not know; get it again, or name a model folder"
            ) from error
    config = quantised.config
    if hasattr(config, "quantization_config"):
        delattr(config, "quantization_config")
    # A quantised model refuses to be saved, though its weights are plain by now: move them to a fresh one.
    plain = type(quantised)(config)
    plain.load_state_dict(quantised.state_dict())
    plain.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
