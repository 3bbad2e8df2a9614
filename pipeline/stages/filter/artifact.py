"""The reading side of `filter`: what a later stage may ask of its artifact."""

from __future__ import annotations

from pathlib import Path

from pipeline.store.manifest import Manifest, read_manifest


def pair_bounds(filtered: Path) -> tuple[float, float]:
    """tau_pos and tau_neg as the filter found them."""
    bounds = bounds_in_force(read_manifest(filtered))
    return bounds["tau_pos"], bounds["tau_neg"]


def bounds_in_force(manifest: Manifest) -> dict[str, float]:
    """The bounds that the filter found, by name; those of unlabelled pairs only if there are such pairs."""
    return {name: found["bound"] for name, found in manifest.summary["bounds"].items()}
