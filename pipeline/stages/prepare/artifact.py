"""The reading side of `prepare`: what a later stage may ask of its artifact."""

from __future__ import annotations

from pathlib import Path

from pipeline.store.manifest import read_manifest


def catalogue_columns(prepared: Path) -> dict[str, str]:
    """By a file's name in `source`, the column (`text_a`, `text_b`) of the pairs with a catalogue's entries."""
    catalogues = read_manifest(prepared).summary.get("catalogue", {})
    return {source: found["side"] for source, found in catalogues.items()}
