"""Model folders and GGUF files that are broken, incomplete, or of the wrong kind.

Each is named as teacher or student in a config that is fine otherwise, and found before anything is trained.
"""

from __future__ import annotations

import functools
import json
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.bad_input.corpus import Case, pairs, put, write

WEIGHTS = "model.safetensors"
Damage = Callable[[Path], None]


def cases() -> Iterator[Case]:
    for role, own in (("teach", TEACHER), ("distill", STUDENT)):
        for name, (damage, says) in (BOTH | own).items():
            make = functools.partial(_damaged, role, damage)
            kind = f"models, {'teacher' if role == 'teach' else 'student'}"
            yield Case(kind, name, make, "error", (f"{role}.model", *says))
        for name, (model, says) in NAMES.items():
            kind = f"models, {'teacher' if role == 'teach' else 'student'}"
            yield Case(kind, name, functools.partial(_named, role, model), "error", (f"{role}.model", *says))
    for name, (content, says) in GGUF.items():
        make = functools.partial(_gguf, content)
        yield Case("models, GGUF", name, make, "error", ("distill.model", "student.gguf", *says))


def _config(folder: Path, role: str, model: str) -> dict[str, Any]:
    write(folder / "rows.csv", pairs())
    return {
        "prepare": {"inputs": [{"kind": "pairs", "path": str(folder / "rows.csv")}]},
        "teach": {"model": "TEACHER"},
        "distill": {"model": "STUDENT", "max_length": 16},
        role: {"model": model, **({"max_length": 16} if role == "distill" else {})},
    }


def _damaged(role: str, damage: Damage, folder: Path) -> dict[str, Any]:
    """The runner replaces TEACHER and STUDENT by whole models, and copies the one that is damaged."""
    settings = _config(folder, role, str(folder / "model"))
    return settings | {"COPY": ("TEACHER" if role == "teach" else "STUDENT", folder / "model", damage)}


def _named(role: str, model: str, folder: Path) -> dict[str, Any]:
    return _config(folder, role, model.format(folder=folder))


def _gguf(content: bytes, folder: Path) -> dict[str, Any]:
    return _config(folder, "distill", str(put(folder, "student.gguf", content)))


# ------------------------------------------------------------------------------------------------- damages


def _remove(*patterns: str) -> Damage:
    def damage(folder: Path) -> None:
        for pattern in patterns:
            for path in folder.glob(pattern):
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    return damage


def _overwrite(name: str, content: bytes | str) -> Damage:
    return lambda folder: put(folder, name, content) and None


def _cut(name: str, share: float) -> Damage:
    def damage(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(len(content) * share)])

    return damage


def _change(name: str, **values: Any) -> Damage:
    def damage(folder: Path) -> None:
        found = json.loads((folder / name).read_text("utf-8"))
        (folder / name).write_text(json.dumps(found | values), encoding="utf-8")

    return damage


def _tensors(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Damage:
    def damage(folder: Path) -> None:
        from safetensors.numpy import load_file, save_file

        save_file(change(load_file(folder / WEIGHTS)), folder / WEIGHTS, metadata={"format": "pt"})

    return damage


def _filled(value: float) -> Damage:
    return _tensors(lambda tensors: {name: tensor * 0 + value for name, tensor in tensors.items()})


def _first_layer_only(tensors: dict[str, Any]) -> dict[str, Any]:
    return {name: tensor for name, tensor in tensors.items() if ".1." not in name}


def _narrower(tensors: dict[str, Any]) -> dict[str, Any]:
    return {n: (t[:, :16].copy() if t.ndim == 2 and t.shape[1] == 32 else t) for n, t in tensors.items()}


def _renamed(tensors: dict[str, Any]) -> dict[str, Any]:
    return {f"other.{name}": tensor for name, tensor in tensors.items()}


def _shards(folder: Path) -> None:
    index = {"metadata": {}, "weight_map": {"x": "model-00001-of-00002.safetensors"}}
    (folder / WEIGHTS).rename(folder / "model-00002-of-00002.safetensors")
    put(folder, "model.safetensors.index.json", json.dumps(index))


HUGE_HEADER = struct.pack("<Q", 2**62) + b"{}"
BOTH: dict[str, tuple[Damage, tuple[str, ...]]] = {
    "no weights": (_remove("*.safetensors"), ("safetensors",)),
    "an empty folder": (_remove("*"), ("safetensors",)),
    "weights of no byte": (_overwrite(WEIGHTS, b""), (WEIGHTS,)),
    "weights cut in the header": (_cut(WEIGHTS, 0.01), (WEIGHTS,)),
    "weights cut in the middle": (_cut(WEIGHTS, 0.5), (WEIGHTS,)),
    "weights cut at the end": (_cut(WEIGHTS, 0.999), (WEIGHTS,)),
    "weights of random bytes": (_overwrite(WEIGHTS, bytes(range(256)) * 9), (WEIGHTS,)),
    "weights with a header without end": (_overwrite(WEIGHTS, HUGE_HEADER), (WEIGHTS,)),
    "weights that are a pickle": (_overwrite(WEIGHTS, b"\x80\x02}q\x00."), (WEIGHTS,)),
    "a shard missing": (_shards, ("model-00001-of-00002.safetensors",)),
    "weights of another width": (_tensors(_narrower), ("size", "weights")),
    "weights of one layer": (_tensors(_first_layer_only), ("weights", "layer")),
    "weights of other names": (_tensors(_renamed), ("weights",)),
    "weights that are no numbers": (_filled(float("nan")), ("numbers",)),
    "weights that are infinite": (_filled(float("inf")), ("numbers",)),
    "no config.json": (_remove("config.json"), ("config.json",)),
    "config.json cut": (_cut("config.json", 0.5), ("config.json",)),
    "config.json of binary": (_overwrite("config.json", bytes(range(256))), ("config.json",)),
    "config.json is a list": (_overwrite("config.json", "[]"), ("config.json",)),
    "config.json empty": (_overwrite("config.json", "{}"), ("model_type",)),
    "config.json nested deeply": (_overwrite("config.json", "[" * 100_000), ("config.json",)),
    "a model type that is none": (_change("config.json", model_type="no-such-model"), ("no-such-model",)),
    "more layers than weights": (_change("config.json", num_hidden_layers=4), ("weights",)),
    "another hidden size": (_change("config.json", hidden_size=48), ("size", "weights")),
    "a hidden size of 0": (_change("config.json", hidden_size=0), ("",)),
    "a hidden size as text": (_change("config.json", hidden_size="wide"), ("",)),
    "a vocabulary too small": (_change("config.json", vocab_size=10), ("weights",)),
    "no tokenizer": (_remove("tokenizer*", "vocab*", "special*", "added*"), ("tokenizer",)),
    "tokenizer.json cut": (_cut("tokenizer.json", 0.5), ("tokenizer",)),
    "tokenizer.json of binary": (_overwrite("tokenizer.json", bytes(range(256))), ("tokenizer",)),
}
TEACHER: dict[str, tuple[Damage, tuple[str, ...]]] = {
    "modules.json cut": (_cut("modules.json", 0.5), ("modules.json",)),
    "modules.json of no module": (_overwrite("modules.json", "[]"), ("modules.json",)),
    "modules.json is an object": (_overwrite("modules.json", "{}"), ("modules.json",)),
    "a module that is not there": (_remove("1_Pooling"), ("",)),
    "another dimension than its embeddings": (
        _change("1_Pooling/config.json", embedding_dimension=64),
        ("64", "32"),
    ),
}
STUDENT: dict[str, tuple[Damage, tuple[str, ...]]] = {
    "no attention heads": (_change("config.json", num_attention_heads=0), ("",)),
    "more key heads than heads": (_change("config.json", num_key_value_heads=3), ("",)),
}
NAMES: dict[str, tuple[str, tuple[str, ...]]] = {
    "nothing there": ("{folder}/none", ("no such file or folder",)),
    "a file": ("{folder}/rows.csv", ("rows.csv", "not .gguf")),
    "a folder of no model": ("{folder}", ("safetensors",)),
    "the other kind of model": ("OTHER", ("decoder-only",)),
    "an address": ("https://example.com/model", ("no such file or folder",)),
    "an empty name": ("", ("",)),
    "a name of 5,000 characters": ("x" * 5000, ("",)),
    "a NUL in the name": ("a\0b", ("",)),
    "the home of nobody": ("~nobody-of-that-name/model", ("~nobody-of-that-name",)),
    "a package that is not there": ("package:no_such_thing/model", ("pip install no-such-thing",)),
}


# ---------------------------------------------------------------------------------------------------- GGUF


def tiny_gguf(tensors: bool = True) -> bytes:
    """A GGUF file of a Llama without weights worth the name, by hand: version 3, a few keys, one tensor."""

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    keys = {"general.architecture": "llama", "general.name": "tiny"}
    numbers = {"llama.block_count": 1, "llama.embedding_length": 32, "llama.attention.head_count": 4}
    head = b"GGUF" + struct.pack("<IQQ", 3, int(tensors), len(keys) + len(numbers))
    body = b"".join(text(key) + struct.pack("<I", 8) + text(value) for key, value in keys.items())
    body += b"".join(text(key) + struct.pack("<II", 4, value) for key, value in numbers.items())
    if tensors:
        body += text("token_embd.weight") + struct.pack("<IQQIQ", 2, 32, 64, 0, 0)
    padding = -(len(head) + len(body)) % 32
    return head + body + bytes(padding) + (bytes(32 * 64 * 4) if tensors else b"")


WHOLE = tiny_gguf()
GGUF: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "empty": (b"", ("GGUF",)),
    "the first bytes alone": (b"GGUF", ("GGUF",)),
    "random bytes": (bytes(range(256)) * 40, ("GGUF",)),
    "a safetensors file": (struct.pack("<Q", 2) + b"{}", ("GGUF",)),
    "an unknown version": (b"GGUF" + struct.pack("<IQQ", 99, 0, 0) + bytes(64), ("GGUF",)),
    "more tensors than bytes": (b"GGUF" + struct.pack("<IQQ", 3, 2**60, 0) + bytes(64), ("GGUF",)),
    "more keys than bytes": (b"GGUF" + struct.pack("<IQQ", 3, 0, 2**60) + bytes(64), ("GGUF",)),
    "a text longer than the file": (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**60) + bytes(64), ("GGUF",)),
    "no tensors": (tiny_gguf(tensors=False), ("GGUF",)),
    "cut in the keys": (WHOLE[:100], ("GGUF",)),
    "cut in the tensors' names": (WHOLE[:-8200], ("GGUF",)),
    "cut in the weights": (WHOLE[:-4000], ("GGUF",)),
    "cut at the last byte": (WHOLE[:-1], ("GGUF",)),
    "without a tokenizer": (WHOLE, ("GGUF",)),
}
