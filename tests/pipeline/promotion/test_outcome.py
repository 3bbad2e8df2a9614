"""A promotion's outcome as people read it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.promotion.gate import force, promote
from pipeline.promotion.outcome import markdown
from pipeline.store.store import Store
from tests.pipeline.promotion.test_gate import config_with, student


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_markdown(store: Store) -> None:
    old, new = student(store, 1.0), student(store, 3.0)
    assert "| in use before | none |" in markdown(promote(config_with(), store, old))
    text = markdown(promote(config_with(), store, new))
    assert text.startswith("## default: promoted\n\nfused AUROC 0.9")
    for line in (
        f"| student | `{new}` |",
        f"| in use before | `{old}` |",
        "| pairs left out | 0, on which the student in use was trained or tuned |",
    ):
        assert line in text.splitlines()
    assert "## default: not promoted" in markdown(promote(config_with(), store, student(store, 1.2)))
    text = markdown(force(store, "default", old, "<script>alert(1)</script>"))
    assert "<script" not in text
