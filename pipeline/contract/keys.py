"""The key of an artifact: a hash of all that decides what is in it."""

from __future__ import annotations

import functools
import hashlib
import json
from typing import Any

from pydantic import BaseModel

from pipeline.contract.section import BY_IDENTITY, IN_KEY_IF_SET, NOT_IN_KEY, marks_of
from pipeline.store.store import KEY_LENGTH


def key_config(section: BaseModel) -> dict[str, Any]:
    """A section as it enters the key: every field but those whose marks keep them out (`contract.section`)."""
    kept: dict[str, Any] = {}
    for name, info in type(section).model_fields.items():
        marks, value = marks_of(info), getattr(section, name)
        unset = IN_KEY_IF_SET in marks and value == info.get_default()
        if not (unset or NOT_IN_KEY in marks or BY_IDENTITY in marks):
            kept[name] = _plain(value)
    return kept


@functools.singledispatch
def _plain(value: Any) -> Any:
    return value


@_plain.register
def _(value: BaseModel) -> Any:
    return key_config(value)


@_plain.register(list)
@_plain.register(tuple)
def _(value: Any) -> Any:
    return [_plain(item) for item in value]


def artifact_key(stage: str, version: int, config: dict[str, Any], seed: int, inputs: dict[str, str]) -> str:
    """The key of an artifact: a hash of all that decides what is in it."""
    parts = {"stage": stage, "version": version, "config": config, "seed": seed, "inputs": inputs}
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]
