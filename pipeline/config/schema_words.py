"""What a key of the config may hold, in words: out of the config's JSON schema, so that it never goes stale."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.config.config import Config

Schema = dict[str, Any]
NUMBERS = {"integer": "a whole number", "number": "a number"}
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
def config_schema() -> Schema:
    """JSON schema of the whole config."""
    return Config.model_json_schema()


def resolve(schema: Schema) -> Schema:
    """Follow a `$ref`; the key's own description and default stay."""
    if "$ref" not in schema:
        return schema
    target = config_schema()["$defs"][schema["$ref"].rpartition("/")[2]]
    return target | {name: value for name, value in schema.items() if name != "$ref"}


def locate(location: Sequence[str | int]) -> Place:
    """The key that pydantic's location of an error stands for."""
    keys: list[str | int] = []
    schema: Schema | None = config_schema()
    siblings: tuple[str, ...] = ()
    for part in location:
        if schema is None:
            keys.append(part)
            continue
        schema = resolve(schema)
        mapping = schema.get("discriminator", {}).get("mapping", {})
        if part in mapping:  # the tag of a union, not a key
            schema = {"$ref": mapping[part]}
        elif isinstance(part, int):
            keys.append(part)
            schema, siblings = _item(schema, part), ()
        elif "properties" in schema:
            keys.append(part)
            siblings = tuple(schema["properties"])
            schema = schema["properties"].get(part)
        # else: the name of a union's branch, `list[str]` say
    return Place(tuple(keys), schema, siblings)


def _item(schema: Schema, index: int) -> Schema | None:
    candidates = [schema, *schema.get("anyOf", ())]
    for candidate in candidates:
        if index < len(candidate.get("prefixItems", ())):
            return candidate["prefixItems"][index]
        if "items" in candidate:
            return candidate["items"]
    return None


def describe(schema: Schema) -> str:
    """The allowed values in words, such as `a number from -1 to 1`."""
    schema = resolve(schema)
    match schema:
        case {"anyOf": branches}:
            words = " or ".join(describe(branch) for branch in branches)
        case {"discriminator": {"mapping": tags}}:
            words = f"a mapping with kind {' or '.join(tags)}"
        case {"enum": values}:
            words = f"one of {', '.join(map(shown, values))}"
        case {"const": value}:
            words = shown(value)
        case {"properties": keys, "title": title}:
            words = f"{'a number or ' if title == 'Bound' else ''}a mapping with the keys {', '.join(keys)}"
        case {"type": "array"}:
            words = _array(schema)
        case {"type": "integer" | "number" as kind}:
            words = f"{NUMBERS[kind]}{_range(schema)}"
        case _:
            words = PLAIN.get(schema.get("type", ""), "any value")
    return words


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
