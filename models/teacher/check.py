"""Whether a model is a bi-encoder, whole, and gives vectors: found in seconds, before hours of work."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from data.errors import FlipkdError, first_line
from models.loading.names import find_model
from models.loading.soundness import AGAIN, check_files, check_numbers, module_folder, on_meta
from models.teacher.bi_encoder import embed, load_teacher

# Two texts of as many words, that any teacher tells apart.
PROBES = ("freeze the lost card 7", "treat a high fever 3")


def check_encoder(section: str, key: str, name: str, trust_remote_code: bool, max_length: int | None) -> None:
    """Check that a model is a bi-encoder, whole, and gives vectors: it is loaded, and embeds two texts.

    Args:
        section, key: of the config, for messages.
        max_length: tokens per text, if the config says so.

    Raises:
        FlipkdError: it is not; names the model and, once it is found, the config's key.
    """
    path = find_model(name).path
    try:
        _check_kind(name, path)
        try:
            vectors = _probe(path, trust_remote_code, max_length, f"{section}.trust_remote_code")
        except (ValueError, RuntimeError, IndexError, TypeError) as error:
            raise FlipkdError(f"{name}: cannot be used as a teacher: {first_line(error)}") from error
        _check_vectors(name, vectors)
    except FlipkdError as error:
        raise FlipkdError(f"{section}.{key}: {error}") from error


def _check_kind(name: str, path: Path) -> None:
    """By its files alone: none is broken, and they are not those of a language model."""
    if path.suffix == ".gguf":
        raise FlipkdError(f"{name}: is a GGUF file, so a decoder-only language model; name a bi-encoder's folder")
    check_files(name, path)
    architecture = _architecture(path)
    if architecture.endswith(("ForCausalLM", "LMHeadModel")) and not (path / "modules.json").is_file():
        raise FlipkdError(
            f"{name}: is a decoder-only language model ({architecture}), not a bi-encoder; name the folder of a "
            "sentence-transformers model, which has a modules.json"
        )


def _architecture(folder: Path) -> str:
    """What a model's config.json says it is; empty if it says nothing, or is not there."""
    file = folder / "config.json"
    names = json.loads(file.read_bytes()).get("architectures") if file.is_file() else None
    return str(names[0]) if isinstance(names, list) and names else ""


def _probe(path: Path, trust_remote_code: bool, max_length: int | None, trust_key: str) -> np.ndarray:
    """The vectors of the two probes, (2, d), by a model whose weights are all there and are numbers."""
    teacher = load_teacher(path, trust_remote_code=trust_remote_code, max_length=max_length, trust_key=trust_key)
    for number, module in enumerate(teacher):
        if hasattr(module, "auto_model") and not trust_remote_code:
            on_meta(module_folder(path, number), type(module.auto_model))
    check_numbers(teacher)
    return embed(teacher, PROBES)


def _check_vectors(name: str, vectors: np.ndarray) -> None:
    if not abs((vectors**2).sum(axis=1) - 1).max() < 1e-3:
        raise FlipkdError(f"{name}: cannot be used as a teacher: its vectors are not finite numbers; {AGAIN}")
    if abs(vectors[0] - vectors[1]).max() < 1e-6:
        raise FlipkdError(
            f"{name}: cannot be used as a teacher: {PROBES[0]!r} and {PROBES[1]!r} get one and the same vector, "
            f"as if its tokenizer knew no word; {AGAIN}"
        )
