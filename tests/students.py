"""Runs made by hand: the artifacts that promotion reads, with scores that a test chooses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from data.schema import PAIRS, PREDICTIONS, write_table
from data.texts import pair_id
from pipeline.contract.keys import artifact_key
from pipeline.runner.execute import describe_files
from pipeline.store.manifest import MANIFEST, Manifest
from pipeline.store.store import Store

if TYPE_CHECKING:
    from pathlib import Path


def scored_pairs(count: int, seed: int, quality: float, start: int = 0, split: str = "test") -> pl.DataFrame:
    """Labelled pairs with the columns of `predictions.parquet`: texts from `start` on, scores better or worse.

    Args:
        quality: distance of the classes' mean scores, in standard deviations of the noise.
    """
    draw = np.random.default_rng([seed, start])
    labels = np.random.default_rng(start).integers(0, 2, count)
    noise = draw.normal(0, 1, (4, count))
    score = 1 / (1 + np.exp(-(quality * (labels - 0.5) + noise)))
    texts = [(f"Question {n}", f"Answer {n}") for n in range(start, start + count)]
    return pl.DataFrame(
        {
            "pair_id": [pair_id(*pair) for pair in texts],
            "text_a": [a for a, _ in texts],
            "text_b": [b for _, b in texts],
            "label": labels.astype(np.int8),
            "split": split,
            "group": pl.Series([None] * count, dtype=pl.String),
            "source": "made",
            "source_row": np.arange(1, count + 1),
            **{
                name: score[n].astype(np.float32)
                for n, name in enumerate(("teacher", "decoder", "encoder", "fused"))
            },
        }
    )


def add_run(
    store: Store,
    predictions: pl.DataFrame,
    *,
    name: str = "",
    train: pl.DataFrame | None = None,
    thresholds: Mapping[str, float] | None = None,
) -> str:
    """Write the artifacts `prepare` and `export` of a run; returns the export's key.

    Args:
        predictions: dev and test pairs, columns of `predictions.parquet`.
        name: makes exports of equal pairs differ.
        train: the train pairs, of the same columns; none by default.
    """
    rows = predictions if train is None else pl.concat([train, predictions])

    def prepare(folder: Path) -> None:
        write_table(rows.select(PAIRS.names).to_arrow(), folder / "pairs.parquet", PAIRS)

    def export(folder: Path) -> None:
        write_table(predictions.to_arrow(), folder / "predictions.parquet", PREDICTIONS)
        known = dict.fromkeys(("teacher", "decoder", "encoder", "fused"), 0.5) | dict(thresholds or {})
        (folder / "metrics.json").write_text(json.dumps({"thresholds": known}))
        (folder / "student").mkdir()
        (folder / "student" / "student.json").write_text(json.dumps({"name": name}))

    prepared = add_artifact(store, "prepare", {"rows": rows.drop("label").hash_rows(0).sum()}, {}, prepare)
    return add_artifact(store, "export", {"name": name}, {"prepare": prepared, "distill": "0" * 20}, export)


def add_artifact(store: Store, stage: str, config: dict[str, Any], inputs: dict[str, str], fill: Any) -> str:
    """Write an artifact with a manifest; `fill` gets its folder."""
    key = artifact_key(stage, 1, config, 0, inputs)
    with store.writing(stage, key) as folder:
        fill(folder)
        manifest = Manifest(
            stage=stage,
            stage_version=1,
            key=key,
            config=config,
            inputs=inputs,
            files=describe_files(folder),
            summary={},
            packages={},
            machine={},
            seed=0,
            started=datetime.now(UTC).isoformat(timespec="seconds"),
            duration_seconds=0.0,
        )
        (folder / MANIFEST).write_text(manifest.model_dump_json())
    return key
