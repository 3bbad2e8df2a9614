"""Settings that suit a kind of student, by name: they go under what a config says itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

# SmolLM2-135M, flipkd's default student, has 30 layers. From 20 of them the answer is learnt better, and sooner;
# the backward pass ends where the adapters do; docs/RESULTS.md has the figures. 16 passes over the texts alone,
# the default, are better still, and take four times as long as these 4.
SMALL_STUDENT: dict[str, Any] = {
    "distill": {"first_layers": 20, "lora": {"last_layers": 10}, "learning_rate": 1e-3, "text_epochs": 4}
}
PRESETS: dict[str, dict[str, Any]] = {"small_student": SMALL_STUDENT}


def under(values: Mapping[str, Any], preset: Mapping[str, Any]) -> dict[str, Any]:
    """The values, and of the preset what they do not say; mappings are merged key by key."""
    merged = {**preset, **values}
    for name, inner in preset.items():
        given = values.get(name)
        if isinstance(inner, dict) and isinstance(given, dict):
            merged[name] = under(given, inner)
    return merged


def dotted(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The values of a nested mapping by their dotted keys."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from dotted(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
