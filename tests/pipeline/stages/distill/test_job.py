"""One training job: what it writes, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from transformers import AutoTokenizer

from data.errors import FlipkdError
from data.schema import TRAINING_LOG
from pipeline.stages.distill.job import train_job
from tests.pipeline.stages.distill.jobs import adapter, job


def test_flip_teaches_the_encoder_and_writes_its_log(undisturbed: tuple[Path, dict[str, Any]]):
    folder, summary = undisturbed
    assert summary["dev_encoder_auroc"] > 0.9
    log = pl.read_parquet(folder / "out" / "training_log.parquet")
    assert log.columns == TRAINING_LOG.names
    assert log["step"].to_list() == list(range(1, summary["steps"] + 1))
    assert log["dev_encoder_auroc"].drop_nulls().len() == 3
    on_texts, on_pairs = log.filter(pl.col("ce").is_null()), log.filter(pl.col("ce").is_not_null())
    assert (on_texts.height, on_texts["step"].max()) == (8, 8)
    assert np.mean(on_pairs["dist"].to_numpy()[-10:]) < np.mean(on_pairs["dist"].to_numpy()[:10])
    terms = on_pairs.select(total=pl.col("ce") + 0.1 * pl.col("mcl") + pl.col("dist"))["total"]
    np.testing.assert_allclose(terms, on_pairs["loss"], rtol=1e-5)
    np.testing.assert_allclose(on_texts["dist"], on_texts["loss"], rtol=1e-5)
    assert log["learning_rate"].max() == pytest.approx(3e-3, rel=0.1)


@pytest.mark.parametrize("keep", [True, False])
def test_texts_of_dropped_pairs_teach_the_encoder_too(base: Path, tmp_path: Path, keep: bool):
    given: dict[str, Any] = {"lora": {"rank": 8, "alpha": 16, "last_layers": 1}, "keep_activations": keep}
    found = {}
    for texts in ("kept", "train"):
        one = job(tmp_path / texts, base, **given, epochs=1, texts=texts)
        frame = pl.read_parquet(one.filtered)
        few = frame.with_columns(kept=(pl.col("text_a_id") % 4 == 0) & (pl.col("text_b_id") % 4 == 0))
        few.write_parquet(one.filtered)
        summary = train_job(one)
        found[texts] = summary
        kept = few.filter("kept", split="train")
        read = few.filter(split="train") if texts == "train" else kept
        distinct = len({*read["text_a_id"], *read["text_b_id"]})
        log = pl.read_parquet(tmp_path / texts / "out" / "training_log.parquet")
        assert log["ce"].null_count() == 2 * -(-distinct // 16)
        assert summary["pairs"] == kept.height
    assert found["train"]["dev_encoder_auroc"] > found["kept"]["dev_encoder_auroc"]


def test_more_processes_than_batches_can_serve_are_refused_before_any_work(base: Path, tmp_path: Path) -> None:
    too_many = job(tmp_path, base, processes=8, batch_pairs=64)
    with pytest.raises(FlipkdError, match=r"distill\.processes is 8, and an epoch has 3 batches of pairs"):
        train_job(too_many)
    assert not (tmp_path / "activations").exists()


def test_what_a_reader_needs_stands_in_the_artifact(undisturbed: tuple[Path, dict[str, Any]], base: Path) -> None:
    folder, summary = undisturbed
    settings = json.loads((folder / "out" / "student.json").read_text("utf-8"))
    sites = [f"model.layers.{n}.self_attn.q_proj" for n in range(2)]
    assert settings["sites"] == sites
    assert settings["scaling"] == 16 / 8
    assert settings["answers"] == [" no", " yes"]
    assert summary["width"] == 2 * 8
    # Adapters of the last layer's seven modules, and the A alone of the site below them.
    weights = adapter(folder)
    below = [name for name in weights if "layers.0." in name]
    trained = sum(tensor.size for name, tensor in weights.items() if name not in below or "lora_A" in name)
    assert summary["trained_parameters"] == trained
    tokenizer = AutoTokenizer.from_pretrained(folder / "out" / "tokenizer")
    assert tokenizer("the card").input_ids == AutoTokenizer.from_pretrained(base)("the card").input_ids
