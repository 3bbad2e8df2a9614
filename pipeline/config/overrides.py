"""`--set key=value`, and values by dotted keys put into a config that is not validated yet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from data.errors import FlipkdError
from pipeline.config.read import parse_value


def parse_overrides(overrides: Sequence[str]) -> dict[str, Any]:
    """Each `key=value` as a dotted key and a plain value; of a key that is given twice the last counts.

    Raises:
        FlipkdError: no `=`, or a value that is not YAML.
    """
    changes: dict[str, Any] = {}
    for override in overrides:
        dotted, equals, text = override.partition("=")
        key = dotted.strip()
        if not equals or not all(key.split(".")):
            raise FlipkdError(f"--set {override}: write key=value, such as --set filter.tau_pos=0.3")
        try:
            changes.pop(key, None)  # they are put in one after the other: a section, then a key of it
            changes[key] = parse_value(text)
        except yaml.YAMLError:
            raise FlipkdError(f"--set {override}: the value is not valid YAML; put it in quotes") from None
    return changes


def put(raw: dict[str, Any], dotted: str, value: Any) -> None:
    """Put a value under its dotted key, `prepare.inputs.0.path` say.

    Raises:
        FlipkdError: a list has no entry of that index.
    """
    keys = dotted.split(".")
    here: Any = raw
    for depth, key in enumerate(keys):
        slot: Any = _list_slot(here, key, dotted) if isinstance(here, list) else key
        if depth == len(keys) - 1:
            here[slot] = value
            return
        inner = here[slot] if isinstance(here, list) else here.get(slot)
        if not isinstance(inner, dict | list):
            inner = here[slot] = {}
        here = inner


def _list_slot(here: list[Any], key: str, dotted: str) -> int:
    if not key.isdecimal() or int(key) > len(here):
        raise FlipkdError(f"{dotted}: {key!r} must be an index from 0 to {len(here)}")
    if int(key) == len(here):
        here.append(None)
    return int(key)
