"""The report's figures: what they show, and that a page of several keeps their ids apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from pipeline.stages.export import figures


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
