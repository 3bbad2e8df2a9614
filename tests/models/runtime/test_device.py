from __future__ import annotations

import pytest
import torch
from accelerate import PartialState

from models.runtime.device import own_device, peak_memory
from pipeline.stages.distill.processes import environment_of


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOCAL_RANK", "ACCELERATE_USE_CPU"):
        monkeypatch.delenv(name, raising=False)


def machine(monkeypatch: pytest.MonkeyPatch, *, cuda: bool = False, mps: bool = False) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


def test_it_is_where_accelerate_trains():
    chosen = PartialState().device
    assert chosen is not None
    assert own_device().type == chosen.type


def test_a_process_alone_takes_the_first_gpu(monkeypatch: pytest.MonkeyPatch):
    machine(monkeypatch, cuda=True)
    assert own_device() == torch.device("cuda", 0)
    machine(monkeypatch, mps=True)
    assert own_device() == torch.device("mps")
    machine(monkeypatch)
    assert own_device() == torch.device("cpu")


@pytest.mark.parametrize(
    ("cuda", "mps", "found"), [(True, False, "cuda:1"), (False, True, "cpu"), (False, False, "cpu")]
)
def test_of_several_each_takes_its_own_gpu_or_all_the_cpu(
    monkeypatch: pytest.MonkeyPatch, cuda: bool, mps: bool, found: str
):
    machine(monkeypatch, cuda=cuda, mps=mps)
    for name, value in environment_of(1, 2).items():
        monkeypatch.setenv(name, value)
    assert own_device() == torch.device(found)


def test_the_peak_of_memory_holds_what_was_held() -> None:
    before = peak_memory()
    held = bytearray(300_000_000)
    held[::4096] = b"x" * len(held[::4096])
    assert peak_memory() >= max(before, 300_000_000) or torch.cuda.is_available()
