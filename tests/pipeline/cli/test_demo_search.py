"""The questions that the demo asks."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from pipeline.cli.demo_search import questions, show_search
from tests.terminal import terminal


def utterances(folder: Path) -> Path:
    ids = [f"entry {n // 2}" for n in range(20)]
    split = ["test" if n < 14 else "train" for n in range(20)]
    texts = [f"how do I {n}" + " please" * (n % 2) for n in range(20)]
    pl.DataFrame({"text": texts, "id": ids, "split": split}).write_parquet(folder / "utterances.parquet")
    return folder / "utterances.parquet"


def test_they_are_of_test_and_of_different_entries(tmp_path: Path) -> None:
    assert questions(utterances(tmp_path)) == ["how do I 1 please", "how do I 5 please", "how do I 9 please"]
    assert len(questions(tmp_path / "utterances.parquet", 100)) == 7


def test_their_answers_are_shown(tmp_path: Path, tiny_run: Path) -> None:
    export = next((tiny_run / "store/artifacts/export").glob("*/student")).parent
    utterances(tmp_path)
    console = terminal()
    show_search(console, tmp_path, export)
    shown = console.export_text()
    assert [line for line in shown.splitlines() if line.endswith(" please")] == questions(
        tmp_path / "utterances.parquet"
    )
    assert shown.count("│ 3 │") == 3
    assert "among 84 titles" in shown
