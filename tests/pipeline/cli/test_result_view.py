"""What a run ends with, on a narrow terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.cli import result_view
from pipeline.cli.result_view import examples_table, headline_table, readable_path, show_result
from pipeline.evaluation.headline import example_pairs, read_metrics
from pipeline.store.store import Store
from tests.terminal import cells, shown, terminal


@pytest.fixture(scope="session")
def export(tiny_run: Path) -> Path:
    return next((tiny_run / "store/artifacts/export").glob("*/student")).parent


def test_the_numbers_are_those_of_the_metrics(export: Path) -> None:
    rows = {row[0]: row[1:] for row in cells(headline_table(export), 100)}
    told = read_metrics(export)["splits"]["test"]
    assert list(rows) == ["teacher", "decoder", "encoder", "fused"]
    for name, (f1, _, auroc) in rows.items():
        assert f1.startswith(f"{told[name]['f1']['value']:.3f} (")
        assert auroc.startswith(f"{told[name]['auroc']['value']:.3f} (")


def test_examples_and_their_scores_fit_80_columns(export: Path) -> None:
    text = shown(examples_table(export), 80)
    assert max(map(len, text.splitlines())) <= 80
    assert text.count("├") == 4  # five pairs


def test_of_a_document_the_beginning_is_shown(export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = example_pairs(export)[0] | {"text_b": "word " * 400}
    monkeypatch.setattr(result_view, "example_pairs", lambda _: [pair])
    text = shown(examples_table(export), 80)
    assert text.count("word") == 40
    assert "…" in text


def test_a_run_that_ends_early_shows_what_there_is(tiny_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = next((tiny_run / "store/artifacts/filter").glob("*/manifest.json")).parent
    console = terminal(200)
    show_result(console, Store(tiny_run / "store"), {"filter": {"key": folder.name}})
    text = console.export_text()
    assert "filtered scores" in text
    assert "AUROC" not in text
    monkeypatch.chdir(tiny_run)
    assert readable_path(folder) == f"store/artifacts/filter/{folder.name}"
    assert readable_path(Path("/elsewhere")) == "/elsewhere"
