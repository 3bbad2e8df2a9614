"""GGUF to a plain model folder (safetensors), and a model cut to its first layers: made once, and kept.

Reading a GGUF file takes half a minute, loading the folder half a second.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock

from data.errors import FlipkdError, first_line
from data.modes import obey_umask
from models.loading.names import FoundModel
from models.loading.soundness import check_loading, check_numbers
from models.loading.weights import PICKLES, SAFE, code_refused, wants_code

log = logging.getLogger("flipkd.models")


def converted(
    model: FoundModel, cache: Path, layers: int | None = None, *, trust_remote_code: bool = False
) -> Path:
    """The folder that a model loads from: its own, or the one that was made of it.

    Args:
        cache: where models made of others are kept, by the digest of what they were made of.
        layers: the model's first layers alone, so many; None for all, and for the model as it is.
        trust_remote_code: run the model's own code, which a cut needs where there is some.

    Raises:
        FlipkdError: the file is not a GGUF of a causal LM that transformers can read, or the model has fewer
            layers, or cannot be cut.
    """
    folder = model.path
    if model.is_gguf:

        def convert(target: Path) -> None:
            log.info("converting %s to safetensors (once; about half a minute)", model.path.name)
            _convert(model, target)

        folder = _made_once(cache / kept_name(model.identity), convert)
    if layers is None:
        return folder

    def cut(target: Path) -> None:
        log.info("%s: keeping its first %d layers as a model of their own", model.name, layers)
        _cut(model.name, folder, target, layers, trust_remote_code)

    return _made_once(cache / f"{kept_name(model.identity)}-first{layers}", cut)


def kept_name(identity: str) -> str:
    """What a model's conversion is called among those kept; that of its first n layers has `-first<n>` behind."""
    digest = identity.removeprefix("sha256:")
    return (digest if digest != identity else hashlib.sha256(identity.encode()).hexdigest())[:20]


def cut_identity(model: FoundModel, layers: int | None) -> str:
    """Which model the student begins from: the whole one, or its first layers."""
    return model.identity if layers is None else f"{model.identity} first {layers} layers"


def _made_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """The folder, made now if it is not there; of several processes one makes it."""
    from models.runtime.quiet import quiet

    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f"{folder.name}.lock")):
        if not (folder / "config.json").exists():
            temporary = folder.with_name(f".{folder.name}.writing")
            shutil.rmtree(temporary, ignore_errors=True)
            try:
                with quiet():
                    make(temporary)
                obey_umask(temporary)
                temporary.replace(folder)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _cut(name: str, source: Path, folder: Path, layers: int, trust_remote_code: bool) -> None:
    """Write a model's first layers, its final norm and its head, with all of its files that hold no weights."""
    from transformers import AutoConfig, AutoModelForCausalLM

    trusted = {"trust_remote_code": trust_remote_code}
    try:
        config = AutoConfig.from_pretrained(source, **trusted)
        text = config.get_text_config()
        there: int = text.num_hidden_layers
        if layers > there:
            raise FlipkdError(
                f"distill.first_layers: the first {layers} layers were asked for; there are {there} (in {name})"
            )
        # Lists that say something of every layer: `layer_types` and its kin.
        for key, value in text.to_dict().items():
            if "layer" in key and isinstance(value, list) and len(value) == there and hasattr(text, key):
                setattr(text, key, value[:layers])
        text.num_hidden_layers = layers
        loading = {"output_loading_info": True, "ignore_mismatched_sizes": True}
        # The weights of the layers above are in the files and not in the model: transformers leaves them there.
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            source, config=config, dtype="auto", **trusted, **SAFE, **loading
        )
        lm, loading_info = loaded
        check_loading(loading_info)
        check_numbers(lm)
    except FlipkdError:
        raise
    except Exception as error:  # each library and model type raises its own for what it cannot use
        if wants_code(error):
            raise code_refused(name, "distill.trust_remote_code") from None
        raise FlipkdError(
            f"distill.first_layers: {name} cannot be cut to its first {layers} layers: {first_line(error)}; "
            "set it to null"
        ) from error
    weights = (f"*{suffix}" for suffix in (*PICKLES, ".safetensors", ".index.json", ".gguf"))
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns(".*", *weights))
    lm.save_pretrained(folder)


def _convert(model: FoundModel, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with tempfile.TemporaryDirectory(prefix="flipkd-gguf-") as alone:
        # By itself: transformers would also take an adapter or a tokenizer's settings that lie beside it, which
        # the file's digest does not cover.
        source, name = Path(alone), model.path.name
        (source / name).symlink_to(model.path.resolve())
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
            quantised, loading_info = loaded
            check_loading(loading_info)
            check_numbers(quantised)
            tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=name, trust_remote_code=False)
        except Exception as error:  # struct's, numpy's, gguf's and transformers' own, by where the file is cut
            reason = first_line(error).replace(f"{source}/", "")
            raise FlipkdError(
                f"{model.name}: cannot be read as a GGUF language model: {reason}. It may be cut short or of a "
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
