"""Training jobs on a tiny student and made-up texts, and what they have written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.numpy import load_file

from models.student.flipkd_student import PairPrompt
from pipeline.stages.distill.config import DistillConfig
from pipeline.stages.distill.job import Job

THINGS = ["the card", "my child", "a fever", "the dose", "same text", "lost", "no frozen", "yes yes"]
ONE_GPU = pytest.mark.skipif(torch.cuda.device_count() == 1, reason="each process takes a GPU")


def job(folder: Path, base: Path, /, **changes: Any) -> Job:
    """A training job on 64 texts of 8 things: two texts match iff they name one thing; the teacher knows it."""
    folder.mkdir(exist_ok=True)
    random = np.random.default_rng(0)
    thing = np.arange(64) % 8
    texts = [f"{THINGS[t]} {'abcdefgh'[n // 8]}" for n, t in enumerate(thing)]
    vectors = np.eye(8)[thing] + random.normal(scale=0.15, size=(64, 8))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    schema = {"text_id": pl.Int64, "text": pl.String, "embedding": pl.Array(pl.Float32, 8)}
    table = pl.DataFrame({"text_id": range(64), "text": texts, "embedding": list(vectors)}, schema=schema)
    table.write_parquet(folder / "embeddings.parquet")
    first = random.integers(64, size=200)
    label = random.integers(2, size=200)
    second = [
        random.choice([m for m in range(64) if (thing[m] == thing[n]) == y and m != n])
        for n, y in zip(first, label, strict=True)
    ]
    columns = {"label": label, "target": label, "text_a_id": first, "text_b_id": second}
    columns["teacher_score"] = (vectors[first] * vectors[second]).sum(1)
    frame = pl.DataFrame(columns).with_columns(
        split=pl.Series(["train"] * 140 + ["dev"] * 60), kept=pl.lit(value=True)
    )
    frame.write_parquet(folder / "filtered.parquet")
    settings = {"model": str(base), "epochs": 3, "batch_pairs": 8, "learning_rate": 3e-3, "precision": "fp32"}
    settings |= {
        "text_epochs": 2,
        "batch_texts": 16,
        "lora": {"rank": 8, "alpha": 16, "dropout": 0.1, "last_layers": 1},
    }
    for name in ("work", "out"):
        (folder / name).mkdir(exist_ok=True)
    return Job(
        config=DistillConfig(**(settings | changes)),
        base=base,
        identity="sha256:tiny",
        activations=folder / "activations",
        text_passes=folder / "text_passes",
        filtered=folder / "filtered.parquet",
        embeddings=folder / "embeddings.parquet",
        bounds=(0.3, 0.7),
        work=folder / "work",
        out=folder / "out",
        seed=5,
    )


def adapter(folder: Path) -> dict[str, np.ndarray]:
    return load_file(folder / "out" / "adapter" / "adapter_model.safetensors")


def training_log(folder: Path) -> pl.DataFrame:
    return pl.read_parquet(folder / "out" / "training_log.parquet").drop("tokens_per_second")


def probability_of_yes(lm: Any, prompt: PairPrompt, a: list[int], b: list[int]) -> float:
    """The decoder's probability of two texts by the causal LM alone: no padding, and the whole vocabulary."""
    with torch.no_grad():
        orders = prompt.prompts([a], [b])[: 1 if prompt.orders == "one" else 2]
        logits = [lm(input_ids=torch.tensor([ids])).logits[0, -1] for ids in orders]
    return float(np.mean([row[prompt.answers].softmax(0)[1].item() for row in logits]))
