"""Whether a model is a bi-encoder, whole, and gives vectors: found in seconds, before hours of work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from data.errors import FlipkdError, first_line
from models.loading.names import find_model
from models.loading.soundness import AGAIN, check_numbers, on_meta


def check_encoder(section: str, key: str, name: str, trust_remote_code: bool, max_length: int | None) -> None:
    """Check that a model is a bi-encoder, whole, and gives vectors: it is loaded, and embeds two texts.

    Args:
        section, key: of the config, for messages.
        max_length: tokens per text, if the config says so.
    """
    from models.loading.soundness import check_files

    path = find_model(name).path
    try:
        if path.suffix == ".gguf":
            raise FlipkdError(
                f"{name}: is a GGUF file, so a decoder-only language model; name a bi-encoder's folder"
            )
        check_files(name, path)
        kind = _architecture(path)
        if kind.endswith(("ForCausalLM", "LMHeadModel")) and not (path / "modules.json").is_file():
            raise FlipkdError(
                f"{name}: is a decoder-only language model ({kind}), not a bi-encoder; name the folder of a "
                "sentence-transformers model, which has a modules.json"
            )
        check_teacher(
            name,
            path,
            trust_remote_code=trust_remote_code,
            max_length=max_length,
            trust_key=f"{section}.trust_remote_code",
        )
    except FlipkdError as error:
        raise FlipkdError(f"{section}.{key}: {error}") from error


def _architecture(folder: Path) -> str:
    """What a model's config.json says it is; empty if it says nothing, or is not there."""
    file = folder / "config.json"
    named = json.loads(file.read_bytes()).get("architectures") if file.is_file() else None
    return str(named[0]) if isinstance(named, list) and named else ""


def check_teacher(
    name: str, path: Path, *, trust_remote_code: bool, max_length: int | None, trust_key: str
) -> None:
    """Check that a folder is a bi-encoder, whole, and gives vectors.

    Args:
        name: of the model, for messages.
        max_length, trust_key: as for `models.teacher.bi_encoder.load_teacher`.

    Raises:
        FlipkdError: it is not.
    """
    from models.teacher.bi_encoder import embed, load_teacher

    try:
        teacher = load_teacher(
            path, trust_remote_code=trust_remote_code, max_length=max_length, trust_key=trust_key
        )
        for module in teacher:
            if hasattr(module, "auto_model") and not trust_remote_code:
                on_meta(_folder_of(path, module, teacher), type(module.auto_model))
        check_numbers(teacher)
        vectors = embed(teacher, PROBES)
    except (ValueError, RuntimeError, IndexError, TypeError) as error:
        raise FlipkdError(f"{name}: cannot be used as a teacher: {first_line(error)}") from error
    if not abs((vectors**2).sum(axis=1) - 1).max() < 1e-3:
        raise FlipkdError(f"{name}: cannot be used as a teacher: its vectors are not finite numbers; {AGAIN}")
    if abs(vectors[0] - vectors[1]).max() < 1e-6:
        raise FlipkdError(
            f"{name}: cannot be used as a teacher: {PROBES[0]!r} and {PROBES[1]!r} get one and the same vector, "
            f"as if its tokenizer knew no word; {AGAIN}"
        )


def _folder_of(path: Path, module: Any, teacher: Any) -> Path:
    """Where a module's config and weights lie: at the top, or in a folder of the module's own."""
    number = list(teacher).index(module)
    own = next((p for p in sorted(path.glob(f"{number}_*")) if (p / "config.json").is_file()), None)
    return path if (path / "config.json").is_file() or own is None else own


# Two texts of as many words, that any teacher tells apart.
PROBES = ("freeze the lost card 7", "treat a high fever 3")
