"""Modes by the umask, whatever a library gave the file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from data.modes import obey_umask


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_every_file_below_gets_the_mode_of_a_new_one(tmp_path: Path, umask: int, mode: int) -> None:
    (tmp_path / "inner").mkdir()
    secret = tmp_path.with_name("elsewhere.safetensors")
    for path in (tmp_path / "inner/weights.safetensors", secret):
        save_file({"a": np.zeros(3)}, path)
    (tmp_path / "link").symlink_to(secret)
    before = secret.stat().st_mode
    old = os.umask(umask)
    try:
        obey_umask(tmp_path)
    finally:
        os.umask(old)
    assert (tmp_path / "inner/weights.safetensors").stat().st_mode & 0o777 == mode
    assert secret.stat().st_mode == before
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["inner", "link", "weights.safetensors"]
