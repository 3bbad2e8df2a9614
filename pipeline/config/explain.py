"""What is wrong with a config, a line for each key: where, what was given, what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from data.locate import shortened
from pipeline.config.schema_words import Schema, config_schema, describe, locate, one_of, shown


def explain(error: ValidationError, raw: Any, model: type[BaseModel]) -> Iterator[str]:
    """A line for each key that is wrong: the dotted key, what was given, what is allowed.

    Args:
        raw: the values that were validated.
        model: what they were validated as.
    """
    whole = config_schema(model)
    done: set[tuple[str | int, ...]] = set()
    for problem in error.errors(include_url=False):
        location = problem["loc"]
        if location[-1:] == ("[key]",):
            name = ".".join(map(str, location[:-1]))
            yield f"{shortened(name)}: {shown(problem['input'])} cannot be a name here: {problem['msg']}"
            continue
        place = locate(location, whole)
        keys = _as_written(place.keys, raw)
        if keys != place.keys:
            place = locate(keys, whole)
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
            case "union_tag_not_found" | "union_tag_invalid":
                tag = problem.get("ctx", {})["discriminator"].strip("'")
                given = problem["input"]
                what = f"{shown(given[tag])} is not allowed" if tag in given else "missing"
                yield f"{key}.{tag}: {what}; it must be {one_of(_tags(place.schema))}"
            case "value_error":
                given = f"; given {shown(problem['input'])}" if keys else ""
                yield f"{key}: {problem['msg'].removeprefix('Value error, ')}{given}"
            case _:
                yield f"{key}: {shown(problem['input'])} is not allowed; it must be {allowed}{_hint(problem)}"


def _tags(schema: Schema | None) -> Iterable[str]:
    return (schema or {}).get("discriminator", {}).get("mapping", ())


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
