"""The stage's key, and what it refuses before it runs."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from data.errors import FlipkdError
from pipeline.runner.plan import plan
from tests.tiny import tiny_config, tiny_teacher


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    tiny_config(tmp_path)
    (tmp_path / "pickled").mkdir()
    (tmp_path / "pickled" / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(FlipkdError, match=r"teach\.others\.0\.model: .*only pickled weights"):
        plan(tiny_config(tmp_path, teach={"others": [{"model": str(tmp_path / "pickled")}]}), "teach")


def test_the_key_goes_by_what_the_models_are(tmp_path: Path) -> None:
    def key(**teach: Any) -> str:
        return plan(tiny_config(tmp_path, teach=teach), "teach")[-1].key

    plain = key()
    assert key(others=[], combine="mean") == plain
    first = tiny_teacher(tmp_path / "a", seed=1)
    with_other = key(others=[{"model": str(first)}])
    assert with_other != plain
    shutil.copytree(first, tmp_path / "copy")
    assert key(others=[{"model": str(tmp_path / "copy")}]) == with_other
    tiny_teacher(tmp_path / "b", seed=2)
    assert len({key(others=[{"model": str(tmp_path / name)}]) for name in ("a", "b", "teacher")}) == 3
    assert key(others=[{"model": str(first), "weight": 2}]) != with_other
    assert key(others=[{"model": str(first)}], combine="auroc") != with_other


def test_learning_from_all_has_a_key_of_its_own_where_it_makes_a_difference(tmp_path: Path) -> None:
    """What a store holds from before this setting is found: pairs that were given, and `pairs` for the others."""
    tiny_config(tmp_path)
    catalogue = {"inputs": [{"kind": "pairs", "path": str(tmp_path / "pairs.csv"), "catalogue": "text_b"}]}

    def key(learns_from: str, **prepare: Any) -> str:
        asked = {"learns_from": learns_from, "epochs": 1}
        return plan(tiny_config(tmp_path, teach=asked, prepare=prepare), "teach")[-1].key

    assert key("all") == key("pairs")
    assert key("all", **catalogue) != key("pairs", **catalogue)
    assert key("all", label_noise=0.2, **catalogue) == key("pairs", label_noise=0.2, **catalogue)
