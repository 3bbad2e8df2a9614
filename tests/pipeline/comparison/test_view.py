"""A comparison as people read it."""

from __future__ import annotations

from pathlib import Path


def test_the_tables_name_every_variant_and_the_figure_is_one(compared: Path) -> None:
    text = (compared / "out/comparison.md").read_text("utf-8")
    assert text.startswith("## tiny\n")
    assert all(f"| `{variant}` |" in text for variant in ("flip", "sft", "zero_shot", "flip_hidden"))
    assert (compared / "out/comparison.png").read_bytes().startswith(b"\x89PNG")
