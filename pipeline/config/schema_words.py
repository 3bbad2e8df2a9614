"""What a key of a config may hold, in words: out of the config's JSON schema, so that it never goes stale."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from pipeline.contract.section import SHORT_FOR

Schema = dict[str, Any]
NUMBERS = {"integer": "a whole number", "number": "a number"}
_DEFINITION = "#/$defs/"
PLAIN = {"string": "text", "boolean": "true or false", "null": "null", "object": "a mapping"}


@dataclass(frozen=True)
class Place:
    """A key of the config.

    Attributes:
        keys: the way to it as a user writes it, without the tags of unions.
        schema: what the JSON schema says of it; None if the schema knows no such key.
        siblings: the keys that its mapping may hold.
    """

    keys: tuple[str | int, ...]
    schema: Schema | None
    siblings: tuple[str, ...] = ()

    @property
    def dotted(self) -> str:
        return ".".join(map(str, self.keys))


@functools.cache
def config_schema(model: type[BaseModel]) -> Schema:
    """JSON schema of a config or a section of it, with each `$ref` replaced by what it stands for."""
    schema = model.model_json_schema()
    return _without_references(schema, schema.get("$defs", {}))


def _without_references(part: Any, definitions: dict[str, Schema]) -> Any:
    """What stands beside a `$ref`, the key's own description and default, goes before what it leads to."""
    if isinstance(part, str) and part.startswith(_DEFINITION):  # also the mapping of a discriminator
        return _without_references(definitions[part.removeprefix(_DEFINITION)], definitions)
    if isinstance(part, list):
        return [_without_references(item, definitions) for item in part]
    if not isinstance(part, dict):
        return part
    inner = {name: _without_references(value, definitions) for name, value in part.items() if name != "$defs"}
    return inner.pop("$ref", {}) | inner


def locate(location: Sequence[str | int], schema: Schema | None) -> Place:
    """The key that pydantic's location of an error stands for.

    Args:
        schema: of the whole config, from `config_schema`.
    """
    keys: list[str | int] = []
    siblings: tuple[str, ...] = ()
    for part in location:
        if schema is None:
            keys.append(part)
            continue
        mapping = schema.get("discriminator", {}).get("mapping", {})
        if part in mapping:  # the tag of a union, not a key
            schema = mapping[part]
        elif isinstance(part, int):
            keys.append(part)
            schema, siblings = _item(schema, part), ()
        elif "properties" in schema:
            keys.append(part)
            siblings = tuple(schema["properties"])
            schema = schema["properties"].get(part)
        elif values := _values_of(schema):
            keys.append(part)
            schema, siblings = values, ()
        # else: the name of a union's branch, `list[str]` say
    return Place(tuple(keys), schema, siblings)


def _values_of(schema: Schema) -> Schema | None:
    """What a mapping of names of the user's own holds."""
    named = schema.get("patternProperties", {})
    return next(iter(named.values()), None) if named else schema.get("additionalProperties") or None


def _item(schema: Schema, index: int) -> Schema | None:
    candidates = [schema, *schema.get("anyOf", ())]
    for candidate in candidates:
        if index < len(candidate.get("prefixItems", ())):
            return candidate["prefixItems"][index]
        if "items" in candidate:
            return candidate["items"]
    return None


def one_of(words: Iterable[str]) -> str:
    """`a, b or c`."""
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last


def describe(schema: Schema) -> str:
    """The allowed values in words, such as `a number from -1 to 1`."""
    match schema:
        case {"anyOf": branches}:
            words = " or ".join(describe(branch) for branch in branches)
        case {"discriminator": {"mapping": tags}}:
            words = f"a mapping with kind {one_of(tags)}"
        case {"enum": values}:
            words = f"one of {', '.join(map(shown, values))}"
        case {"const": value}:
            words = shown(value)
        case {"properties": keys}:
            words = f"a mapping with the keys {', '.join(keys)}"
            if SHORT_FOR in schema:
                words = f"{describe(_without_null(keys[schema[SHORT_FOR]]))} or {words}"
        case {"type": "array"}:
            words = _array(schema)
        case {"type": "integer" | "number" as kind}:
            words = f"{NUMBERS[kind]}{_range(schema)}"
        case _:
            words = PLAIN.get(schema.get("type", ""), "any value")
    return words


def _without_null(schema: Schema) -> Schema:
    """What a key may hold beside null, if one thing alone is left."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind.get("type") != "null"]
    return kinds[0] if len(kinds) == 1 else schema


def _array(schema: Schema) -> str:
    if "prefixItems" in schema:
        return f"a list of {len(schema['prefixItems'])} entries, each {describe(schema['prefixItems'][0])}"
    least = "at least one entry, each " if schema.get("minItems") else ""
    return f"a list of {least}{describe(schema.get('items', {}))}"


def _range(schema: Schema) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f" from {low:.10g} to {high:.10g}"
    words = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
    limits = [f"{word} {schema[name]:.10g}" for name, word in words.items() if name in schema]
    return f", {' and '.join(limits)}" if limits else ""


def shown(value: Any) -> str:
    """A value as it stands in a config, cut to a readable length."""
    text = json.dumps(value, ensure_ascii=False, default=str).encode(errors="backslashreplace").decode()
    return text if len(text) <= 80 else f"{text[:77]}..."
