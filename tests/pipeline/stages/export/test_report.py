"""The report's parts that need no model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipeline.stages.export import figures
from pipeline.stages.export.report import disagreements, duration, number


def predictions(labels: list[int | None], fused: list[float]) -> pl.DataFrame:
    return pl.DataFrame(
        {"pair_id": [f"p{n}" for n in range(len(labels))], "label": labels, "fused": fused},
        schema_overrides={"label": pl.Int8, "fused": pl.Float32},
    )


def test_disagreements_are_farthest_from_the_label_first() -> None:
    rows = predictions([1, 0, 1, 0], [0.9, 0.8, 0.1, 0.3])
    found = disagreements(rows, np.zeros(4), 3)
    assert found["pair_id"].to_list() == ["p2", "p1", "p3"]
    assert found["difference"].to_list() == pytest.approx([0.9, 0.8, 0.3])


def test_without_a_label_the_teacher_says_what_was_expected() -> None:
    rows = predictions([None, 1, None], [0.9, 0.5, 0.5])
    found = disagreements(rows, np.array([0.1, 0.0, 0.6]), 10)
    assert found["pair_id"].to_list() == ["p0", "p1", "p2"]
    assert found["expected"].to_list() == pytest.approx([0.1, 1.0, 0.6])


def test_ties_go_by_pair_id() -> None:
    found = disagreements(predictions([1, 0, 1], [0.5, 0.5, 0.5]), np.zeros(3), 2)
    assert found["pair_id"].to_list() == ["p0", "p1"]


@pytest.mark.parametrize(
    ("value", "shown"), [(None, "–"), (0.12345, "0.123"), (1234567, "1\u202f234\u202f567"), ("<b>", "<b>")]
)
def test_numbers(value: object, shown: str) -> None:
    assert number(value) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.26, "0.3 s"), (59.96, "60.0 s"), (61, "1 min 1 s"), (7260, "2 h 1 min")]
)
def test_durations(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def test_a_histogram_shows_its_lines_in_the_page_s_own_colours(tmp_path: Path) -> None:
    path = tmp_path / "teacher.svg"
    values = np.linspace(-0.4, 0.9, 50)
    lines = {"threshold": 0.5, "tau_pos": 0.25, "tau_neg": None}
    figures.histogram(path, "teacher", values, [n % 2 for n in range(49)] + [None], lines)
    svg = path.read_text(encoding="utf-8")
    assert svg.startswith("<svg")
    for shown in ("threshold 0.500", "tau_pos 0.250", "no label", "currentColor"):
        assert shown in svg
    assert "tau_neg" not in svg
    assert figures.PLACEHOLDER not in svg
    assert "<metadata" not in svg
    first = svg
    figures.histogram(path, "teacher", values, [n % 2 for n in range(49)] + [None], lines)
    assert path.read_text(encoding="utf-8") == first


def test_every_id_of_a_figure_is_referred_to_and_its_own(tmp_path: Path) -> None:
    import re

    ids: list[str] = []
    for name in ("decoder", "fused"):
        figures.histogram(tmp_path / f"{name}.svg", name, np.linspace(0, 1, 9), [0, 1, 1] * 3, {"threshold": 0.5})
        svg = (tmp_path / f"{name}.svg").read_text(encoding="utf-8")
        here = re.findall(r' id="([^"]+)"', svg)
        assert all(f"#{one}" in svg for one in here)
        ids += here
    assert len(ids) == len(set(ids)) > 0


def test_a_term_that_is_off_leaves_no_line(tmp_path: Path) -> None:
    log = pl.DataFrame(
        {
            "step": [1, 2, 3],
            "loss": [0.7, 0.6, 0.5],
            "ce": [0.7, 0.6, 0.5],
            "mcl": pl.Series([None] * 3, dtype=pl.Float64),
            "dist": pl.Series([None] * 3, dtype=pl.Float64),
            "dev_decoder_auroc": [None, None, 0.6],
            "dev_encoder_auroc": [None, None, 0.7],
        }
    )
    figures.losses(tmp_path / "losses.svg", log)
    figures.dev_curve(tmp_path / "dev_auroc.svg", log)
    svg = (tmp_path / "losses.svg").read_text(encoding="utf-8")
    assert ">ce<" in svg
    assert ">mcl<" not in svg
