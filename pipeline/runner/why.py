"""Why an artifact is not there: what differs between a step and the latest artifact of its stage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from data.errors import FlipkdError
from pipeline.runner.latest import latest_key
from pipeline.runner.plan import ALL_STAGES, Step
from pipeline.store.manifest import Manifest
from pipeline.store.store import Store

SHOWN = 3  # differences that are spelled out
LONGEST = 60


def why_missing(step: Step, store: Store, name: str) -> str:
    """What changed since the latest artifact of a stage, in a few words.

    Args:
        name: of the config in the store (`promote.name`).
    """
    key = latest_key(store, name, step.stage)
    if key is None:
        return "not run yet"
    try:
        changes = differences(step, store.manifest(step.stage, key))
    except FlipkdError:
        return ""
    more = f" and {len(changes) - SHOWN} more" if len(changes) > SHOWN else ""
    return ("; ".join(changes[:SHOWN]) + more) if changes else "its artifact was removed"


def differences(step: Step, manifest: Manifest) -> list[str]:
    """What differs between a step and an earlier artifact of its stage, a line for each difference."""
    stage = ALL_STAGES[step.stage]
    found = []
    if stage.version != manifest.stage_version:
        found.append(f"flipkd computes it in another way (version {manifest.stage_version} -> {stage.version})")
    if step.seed != manifest.seed:
        found.append(f"seed {manifest.seed} -> {step.seed}")
    section = stage.section_name or stage.name
    found += changed_settings({section: manifest.config}, {section: step.config})
    for name in dict.fromkeys([*step.inputs, *manifest.inputs]):
        old, new = manifest.inputs.get(name), step.inputs.get(name)
        if old != new:
            found.append(f"another {name}" if name in stage.reads else f"{_file(new or old or name)} changed")
    return found


def _file(identity: str) -> str:
    """The name in the identity of a raw file, `NAME sha256:...`; of a model there is none."""
    return identity.rpartition(" ")[0] or "the model"


def changed_settings(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """`filter.tau_pos 0.6 -> 0.7` for each setting that differs between two configs as plain data."""
    old, new = _flat(before), _flat(now)
    keys = [key for key in dict.fromkeys([*old, *new]) if old.get(key, _UNSET) != new.get(key, _UNSET)]
    return [f"{key} {_shown(old.get(key, _UNSET))} -> {_shown(new.get(key, _UNSET))}" for key in keys]


_UNSET = object()


def _shown(value: Any) -> str:
    if value is _UNSET:
        return "(not set)"
    if isinstance(value, Mapping):  # one setting in several notations: the one that is used
        ((notation, value),) = _given(value)
        return _shown(value) if notation == "value" else f"{notation} {_shown(value)}"
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def _given(values: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [(name, value) for name, value in values.items() if value is not None]


def _flat(values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested settings by dotted key; of a list by place."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        inner = {str(n): item for n, item in enumerate(value)} if isinstance(value, list) else value
        deeper = isinstance(inner, Mapping) and inner and not (None in inner.values() and len(_given(inner)) == 1)
        found |= _flat(inner, f"{before}{key}.") if deeper else {before + key: value}
    return found
