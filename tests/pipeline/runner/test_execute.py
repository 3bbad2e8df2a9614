"""What a manifest says of the machine."""

from __future__ import annotations

import pytest
import torch

from pipeline.runner.execute import machine


def test_the_manifest_names_the_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert machine().keys() == {"python", "processor", "cores"}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H100 80GB HBM3")
    assert machine()["gpu"] == "NVIDIA H100 80GB HBM3"
