"""Identities go by content, and name the config's key where something is wrong."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from data.errors import FlipkdError
from pipeline.contract.identity import file_identity, model_identity
from tests.tiny import tiny_teacher


def test_a_file_is_its_bytes_whatever_it_is_called(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_bytes(b"text\nx\n")
    assert file_identity("prepare.inputs.0", tmp_path / "a.csv") == file_identity("other", tmp_path / "b.csv")
    expected = hashlib.sha256((tmp_path / "a.csv").read_bytes()).hexdigest()
    assert file_identity("x", tmp_path / "a.csv") == f"sha256:{expected}"


def test_a_model_is_its_files(tmp_path: Path) -> None:
    first, second = (tiny_teacher(tmp_path / name) for name in ("one", "two"))
    other = tiny_teacher(tmp_path / "three", seed=1)
    names = [model_identity("teach.model", str(folder), False) for folder in (first, second, other)]
    assert names[0] == names[1] != names[2]
    assert names[0].startswith("sha256:")


def test_what_cannot_be_read_is_told_with_the_key(tmp_path: Path) -> None:
    with pytest.raises(FlipkdError, match=r"prepare\.inputs\.0: .*none\.csv cannot be read: No such file"):
        file_identity("prepare.inputs.0", tmp_path / "none.csv")
    with pytest.raises(FlipkdError, match=r"teach\.model: \./none: no such"):
        model_identity("teach.model", "./none", False)
