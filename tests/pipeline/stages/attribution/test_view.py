"""Where the signal is: the table and the figure of its sites."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from matplotlib.image import imread

from pipeline.stages.attribution.view import draw, grid, markdown

TABLE = pl.DataFrame(
    {
        "layer": [0, 0, 1, 1, 1],
        "module": ["q_proj", "up", "q_proj", "up", "up"],  # two experts bear one name
        "site": [False, False, True, False, False],
        "auroc_input": [0.6, 0.7, 0.8, 0.5, 0.9],
        "auroc_adapter": [None, None, 0.85, None, None],
    }
)


def test_the_table_has_means_and_the_best_layer_of_each_module() -> None:
    rows = markdown(TABLE).splitlines()[2:]
    assert rows[0] == "| `q_proj` | 0.700 | 1: 0.800 | 0.850 | 1: 0.850 |"
    assert rows[1].startswith("| `up` | 0.700 | 1: 0.900 |")


def test_the_best_of_one_name_counts_and_what_is_not_there_is_nan() -> None:
    np.testing.assert_array_equal(grid(TABLE, "auroc_input"), [[0.6, 0.7], [0.8, 0.9]])
    np.testing.assert_array_equal(grid(TABLE, "auroc_adapter"), [[np.nan, np.nan], [0.85, np.nan]])


def test_the_figure_is_a_picture_with_something_in_it(tmp_path: Path) -> None:
    draw(TABLE, 0.9, tmp_path / "a.png")
    picture = imread(tmp_path / "a.png")
    assert min(picture.shape[:2]) > 100
    assert len(np.unique(picture.reshape(-1, picture.shape[2]), axis=0)) > 20
