"""The stage's key."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from pipeline.runner.plan import plan
from tests.tiny import tiny_config, tiny_cross_encoder


def test_the_key_knows_the_model_and_the_weight(tmp_path: Path) -> None:
    def key(**score: Any) -> str:
        return plan(tiny_config(tmp_path, score=score), "score")[-1].key

    plain = key()
    assert key(cross_encoder=None) == plain
    tiny_cross_encoder(tmp_path / "a")
    tiny_cross_encoder(tmp_path / "b", seed=1)
    keys = {name: key(cross_encoder={"model": str(tmp_path / name)}) for name in ("a", "b")}
    assert len({plain, *keys.values()}) == 3
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    assert key(cross_encoder={"model": str(tmp_path / "copy"), "batch_size": 3}) == keys["a"]
    assert key(cross_encoder={"model": str(tmp_path / "a"), "weight": 0.1}) != keys["a"]
