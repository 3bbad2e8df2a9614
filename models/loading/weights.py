"""Which files of a model folder its weights come from; folders that would be read from pickles are refused.

Unpickling can run code. The libraries take safetensors where they find them and fall back on pickled weights, in
each folder for itself (a sentence-transformers model is one folder a module), so each is looked at for itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from data.errors import FlipkdError

PICKLES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib"})
# Pickled weights that transformers, peft and sentence-transformers fall back on, and what they take before them.
FALLBACKS = {
    "pytorch_model*.bin": ("model.safetensors", "model.safetensors.index.json"),
    "pytorch_model.bin.index.json": ("model.safetensors", "model.safetensors.index.json"),
    "adapter_model.bin": ("adapter_model.safetensors",),
}
INDEX = "*.safetensors.index.json"
# For everything that loads with transformers. A model's own files may ask for the opposite; these win.
SAFE = {"use_safetensors": True, "weights_only": True}


def check_weights(name: str, folder: Path) -> None:
    """Check that a model folder loads from safetensors that lie in it.

    Args:
        name: of the model, for messages.

    Raises:
        FlipkdError: there are none, some weights are pickled, or a file names weights elsewhere.
    """
    folders = [folder, *(_folders(folder) if (folder / "modules.json").is_file() else ())]
    for inner in folders:
        _refuse_fallbacks(name, folder, inner)
        _check_named(name, folder, inner)
    if any(any(inner.glob("*.safetensors")) for inner in folders):
        return
    pickled = next((p.name for p in folder.rglob("*") if p.suffix in PICKLES), None)
    if pickled:
        raise FlipkdError(
            f"{name}: has only pickled weights ({pickled}), which can run code; convert to safetensors"
        )
    raise FlipkdError(f"{name}: the folder {folder} holds no *.safetensors, so it is not a model folder")


def wants_code(error: Exception) -> bool:
    """Whether a library refused to load a model because that would run the model's own code."""
    return isinstance(error, ValueError) and "trust_remote_code" in str(error)


def code_refused(name: str, key: str) -> FlipkdError:
    """The error for such a model.

    Args:
        key: of the config, the one that would allow it.
    """
    return FlipkdError(
        f"{name}: brings code of its own, which flipkd does not run unless the config says so; read that code, "
        f"then set {key}: true"
    )


def _folders(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_dir())


def _refuse_fallbacks(name: str, folder: Path, inner: Path) -> None:
    """A pickle in a place where it would be loaded, because no safetensors stand beside it."""
    for pattern, preferred in FALLBACKS.items():
        pickled = next(iter(sorted(inner.glob(pattern))), None)
        if pickled and not any((inner / other).is_file() for other in preferred):
            raise FlipkdError(
                f"{name}: has only pickled weights ({pickled.relative_to(folder).as_posix()}) for "
                f"{'the model' if inner == folder else 'its part ' + inner.relative_to(folder).as_posix()}, "
                f"which can run code; convert to safetensors"
            )


def _check_named(name: str, folder: Path, inner: Path) -> None:
    """Weights that JSON files name: shards, an explicit file, an adapter's base."""
    for index in sorted(inner.glob(INDEX)):
        shards = _json(name, folder, index).get("weight_map")
        if not isinstance(shards, dict):
            raise FlipkdError(f"{name}: {index.relative_to(folder)} has no weight_map; it is no index of weights")
        for shard in sorted({str(shard) for shard in shards.values()}):
            _check_shard(name, index.relative_to(folder).as_posix(), inner, shard)
    config = inner / "config.json"
    if config.is_file():
        explicit = _json(name, folder, config).get("transformers_weights")
        if explicit is not None:
            _check_shard(name, config.relative_to(folder).as_posix(), inner, str(explicit))
    elif (inner / "adapter_config.json").is_file():
        # Its base would be read from wherever the adapter says, without a check and outside of the digest.
        base = _json(name, folder, inner / "adapter_config.json").get("base_model_name_or_path")
        raise FlipkdError(
            f"{name}: is an adapter of {base}, without that model's own weights; merge the two "
            "(peft: merge_and_unload, then save_pretrained) and name the merged model"
        )


def _check_shard(name: str, index: str, inner: Path, shard: str) -> None:
    path = PurePosixPath(shard)
    if path.is_absolute() or ".." in path.parts:
        raise FlipkdError(f"{name}: {index} names weights outside of its folder: {shard}")
    if not shard.endswith((".safetensors", ".safetensors.index.json")):
        raise FlipkdError(
            f"{name}: {index} names pickled weights ({shard}), which can run code; convert to safetensors"
        )
    if not (inner / path).is_file():
        raise FlipkdError(f"{name}: {index} names {shard}, which is not there; get the model again")


def _json(name: str, folder: Path, file: Path) -> dict[str, object]:
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise FlipkdError(f"{name}: {file.relative_to(folder)} is not valid JSON: {error}") from None
    if not isinstance(content, dict):
        raise FlipkdError(f"{name}: {file.relative_to(folder)} must be a JSON object")
    return content
