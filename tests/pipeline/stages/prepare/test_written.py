"""What waits between reading and writing, and what is written of the rows that are not taken."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipeline.stages.prepare.config import PrepareConfig
from pipeline.stages.prepare.run import prepare

ROWS = [
    *(
        {"text_a": f"first {n}", "text_b": f"second {n}", "label": str(n % 2), "ticket": f"T{n}"}
        for n in range(60)
    ),
    {"text_a": "second 3", "text_b": "First 3", "label": "1", "ticket": "a duplicate"},
    {"text_a": "first 4", "text_b": "second 4", "label": "1", "ticket": "another label"},
    {"text_a": "", "text_b": "tea", "label": "1", "ticket": "no text"},
    {"text_a": "milk", "text_b": "tea", "label": "maybe", "ticket": "no label"},
    {"text_a": "tea", "text_b": "Tea", "label": "1", "ticket": "one text"},
    {"text_a": "tea" * 900, "text_b": "milk", "label": "1", "ticket": "too long"},
]


@pytest.mark.parametrize("ending", ["csv", "jsonl", "json", "parquet", "arrow"])
def test_every_reject_keeps_every_column_of_its_row(tmp_path: Path, ending: str) -> None:
    """Also those that the config does not name, whatever the reason and the format."""
    path = tmp_path / f"rows.{ending}"
    frame = pl.DataFrame(ROWS)
    write = {
        "csv": frame.write_csv, "jsonl": frame.write_ndjson, "json": frame.write_json,
        "parquet": frame.write_parquet, "arrow": frame.write_ipc,
    }  # fmt: skip
    write[ending](path)
    config = PrepareConfig.model_validate(
        {"inputs": [{"kind": "pairs", "path": str(path)}], "max_rejected": 0.5, "contradictions": "majority"}
    )
    (tmp_path / "out").mkdir()
    prepare(config, tmp_path / "out", 13, lambda texts: np.ones((len(texts), 1)), tmp_path / "scratch")
    rejects = pl.read_parquet(tmp_path / "out" / "rejects.parquet")
    assert rejects["source_row"].to_list() == sorted(rejects["source_row"])
    assert set(rejects["reason"]) == {
        "duplicate", "contradictory_label", "missing_text", "bad_label", "same_text", "too_long",
    }  # fmt: skip
    for number, raw in rejects.select("source_row", "raw").iter_rows():
        assert json.loads(raw) == ROWS[number - 1]
