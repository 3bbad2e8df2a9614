"""`--set key=value`: one value put into a config that is not validated yet."""

from __future__ import annotations

from typing import Any

import yaml

from data.errors import FlipkdError
from pipeline.config.read import parse_value


def apply_override(raw: dict[str, Any], override: str) -> None:
    """Put one `key=value` into a config that is not validated yet.

    Raises:
        FlipkdError: no `=`, a value that is not YAML, or a list index out of range.
    """
    dotted, equals, text = override.partition("=")
    keys = dotted.strip().split(".")
    if not equals or not all(keys):
        raise FlipkdError(f"--set {override}: write key=value, such as --set filter.tau_pos=0.3")
    try:
        value = parse_value(text)
    except yaml.YAMLError:
        raise FlipkdError(f"--set {override}: the value is not valid YAML; put it in quotes") from None
    here: Any = raw
    for depth, key in enumerate(keys):
        slot: Any = _list_slot(here, key, override) if isinstance(here, list) else key
        if depth == len(keys) - 1:
            here[slot] = value
            return
        inner = here[slot] if isinstance(here, list) else here.get(slot)
        if not isinstance(inner, dict | list):
            inner = here[slot] = {}
        here = inner


def _list_slot(here: list[Any], key: str, override: str) -> int:
    if not key.isdecimal() or int(key) > len(here):
        raise FlipkdError(f"--set {override}: {key!r} must be an index from 0 to {len(here)}")
    if int(key) == len(here):
        here.append(None)
    return int(key)
