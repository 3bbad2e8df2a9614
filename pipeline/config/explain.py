"""What is wrong with a config, a line for each key: where, what was given, what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import ValidationError

from data.locate import shortened
from pipeline.config.schema_words import describe, locate, shown


def explain(error: ValidationError, raw: Any) -> Iterator[str]:
    """A line for each key that is wrong: the dotted key, what was given, what is allowed."""
    done: set[tuple[str | int, ...]] = set()
    for problem in error.errors(include_url=False):
        place = locate(problem["loc"])
        keys = _as_written(place.keys, raw)
        if keys in done:  # the other branch of a union
            continue
        done.add(keys)
        if problem["type"] == "extra_forbidden":
            yield _unknown_key(place.dotted, str(place.keys[-1]), place.siblings)
            continue
        key = ".".join(map(str, keys)) or "config"
        allowed = describe(place.schema) if place.schema is not None else "see the documentation"
        match problem["type"]:
            case "missing":
                yield f"{key}: missing; it must be {allowed}"
            case "union_tag_not_found":
                yield f"{key}.kind: missing; it must be pairs or utterances"
            case "union_tag_invalid":
                given = shown(problem["input"].get("kind"))
                yield f"{key}.kind: {given} is not allowed; it must be pairs or utterances"
            case "value_error":
                yield f"{key}: {problem['msg'].removeprefix('Value error, ')}; given {shown(problem['input'])}"
            case _:
                yield f"{key}: {shown(problem['input'])} is not allowed; it must be {allowed}{_hint(problem)}"


def _hint(problem: Any) -> str:
    quoting = isinstance(problem["input"], bool) and problem["type"] == "string_type"
    return " (in YAML, put words such as yes and no in quotes)" if quoting else ""


def _as_written(keys: tuple[str | int, ...], raw: Any) -> tuple[str | int, ...]:
    """Cut the way where the user wrote a plain value: `tau_pos: 2` is at tau_pos, not at tau_pos.value."""
    here = raw
    for depth, key in enumerate(keys):
        if isinstance(here, dict):
            here = here.get(key)
        elif isinstance(here, list) and isinstance(key, int):
            here = here[key] if key < len(here) else None
        elif here is not None:
            return keys[:depth]
    return keys


def _unknown_key(dotted: str, key: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    advice = f"did you mean {near[0]}? " if near else ""
    return f"{shortened(dotted)}: unknown key; {advice}Known here: {', '.join(known)}"
