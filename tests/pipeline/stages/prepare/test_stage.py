"""What of prepare's config and files enters its key."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipeline.config.config import Config
from pipeline.stages.prepare.stage import STAGE
from tests.checkout import SAMPLE


def config_of(path: Path, kind: str = "pairs") -> Config:
    return Config.model_validate({"prepare": {"inputs": [{"kind": kind, "path": str(path)}]}})


def test_a_file_enters_by_its_content_and_its_name(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv", "sub/a.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(SAMPLE, tmp_path / name)
    first, other, moved = (
        STAGE.raw_inputs(config_of(tmp_path / name), False) for name in ("a.csv", "b.csv", "sub/a.csv")
    )
    assert first == moved != other
    assert set(first) == {"file 0"}


@pytest.mark.real
def test_an_encoder_enters_where_pairs_are_built_alone() -> None:
    pairs, utterances = (config_of(SAMPLE, kind) for kind in ("pairs", "utterances"))
    assert "encoder" in STAGE.raw_inputs(utterances, False)
    assert "encoder" not in STAGE.raw_inputs(pairs, False)
    assert "pairs" in STAGE.keyed(utterances.prepare)
    assert "pairs" not in STAGE.keyed(pairs.prepare)


def test_the_sentence_counts_pairs_and_rejects() -> None:
    splits = {split: {"pairs": count} for split, count in (("train", 7), ("dev", 2), ("test", 1))}
    summary = {"splits": splits, "rows": {"rejected": 3, "read": 13}}
    assert STAGE.sentence(summary) == "pairs: train 7, dev 2, test 1; 3 of 13 rows rejected"
