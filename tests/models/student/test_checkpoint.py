"""A checkpoint holds all that the next step depends on, and is there whole or not at all."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import models.student.checkpoint
from models.student.checkpoint import load_checkpoint, save_checkpoint, seed_everything
from models.student.student import Student, StudentSpec, build_student, load_base, pair_batch
from tests.tiny import tiny_student

SPEC = StudentSpec(
    template="{a} or {b}?",
    answers=(" no", " yes"),
    max_length=8,
    rank=4,
    alpha=8,
    dropout=0.3,
    modules="all-linear",
    adapted_last_layers=None,
    site_modules=["q_proj"],
    site_last_layers=None,
    pooling="mean",
)
Run = tuple[Student, torch.optim.Optimizer]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_student(tmp_path_factory.mktemp("models") / "student")


def begin(base: Path) -> Run:
    seed_everything(3)
    student = build_student(*load_base(base), SPEC)
    trained = [parameter for parameter in student.parameters() if parameter.requires_grad]
    return student, torch.optim.AdamW(trained, lr=1e-2)


def steps(run: Run, count: int) -> list[float]:
    """Losses of some steps with dropout, so that each depends on the random state."""
    student, optimizer = run
    student.train()
    first, second = student.prompt.texts(["lost my card"] * 3), student.prompt.texts(["a fever"] * 3)
    losses = []
    for _ in range(count):
        z, logits = student(pair_batch(student.prompt, first, second))
        loss = logits.logsumexp(1).mean() + (z[:3] * z[3:]).sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_so_many_steps_a_checkpoint_and_as_many_more_equal_all_at_once(base: Path, tmp_path: Path) -> None:
    whole = begin(base)
    expected = steps(whole, 8)
    assert len(set(expected)) == 8
    cut_off = begin(base)
    before = steps(cut_off, 4)
    best = {"best": torch.arange(3.0)}
    save_checkpoint(tmp_path / "c.safetensors", *cut_off, {"step": 4, "rows": [{"loss": before[0]}]}, best)
    resumed = begin(base)
    torch.manual_seed(99)  # as if another process had come here by another way
    loaded = load_checkpoint(tmp_path / "c.safetensors", *resumed)
    assert loaded is not None
    assert loaded[0] == {"step": 4, "rows": [{"loss": before[0]}]}
    assert torch.equal(loaded[1]["best"], best["best"])
    assert before + steps(resumed, 4) == expected
    for name, tensor in whole[0].adapter().items():
        assert torch.equal(tensor, resumed[0].adapter()[name]), name


def test_no_checkpoint(base: Path, tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path / "none.safetensors", *begin(base)) is None


@pytest.mark.parametrize("keep", [0.0, 0.001, 0.5, 0.999])
def test_one_that_cannot_be_read_is_left_alone(
    base: Path, tmp_path: Path, keep: float, caplog: pytest.LogCaptureFixture
) -> None:
    run, path = begin(base), tmp_path / "c.safetensors"
    save_checkpoint(path, *run, {"step": 1}, {})
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    before = run[0].adapter()
    with caplog.at_level(logging.WARNING, logger="flipkd"):
        assert load_checkpoint(path, *run) is None
    assert "beginning anew" in caplog.text
    assert all(torch.equal(tensor, before[name]) for name, tensor in run[0].adapter().items())


def test_a_save_that_is_cut_off_leaves_the_former_one(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, path = begin(base), tmp_path / "c.safetensors"
    save_checkpoint(path, *run, {"step": 1}, {})

    def cut_off(_: Any, file: Path, **__: Any) -> None:
        file.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(models.student.checkpoint, "save_file", cut_off)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(path, *run, {"step": 2}, {})
    loaded = load_checkpoint(path, *run)
    assert loaded is not None
    assert loaded[0] == {"step": 1}


def test_a_log_of_more_than_100_mb_comes_back(base: Path, tmp_path: Path) -> None:
    run, progress = begin(base), {"step": 1, "rows": ["é" * 17_000_000]}
    save_checkpoint(tmp_path / "c.safetensors", *run, progress, {})
    loaded = load_checkpoint(tmp_path / "c.safetensors", *run)
    assert loaded is not None
    assert loaded[0] == progress


def test_one_of_an_earlier_version_is_read(base: Path, tmp_path: Path) -> None:
    """Its progress stands in the file's header, not in a tensor."""
    run, path = begin(base), tmp_path / "c.safetensors"
    steps(run, 2)
    save_checkpoint(path, *run, {}, {"best": torch.arange(3.0)})
    tensors = {name: tensor for name, tensor in load_file(path).items() if name != "progress"}
    save_file(tensors, path, metadata={"progress": json.dumps({"step": 2, "rows": [{"loss": 0.5}]})})
    expected = steps(run, 2)
    resumed = begin(base)
    loaded = load_checkpoint(path, *resumed)
    assert loaded is not None
    assert loaded[0] == {"step": 2, "rows": [{"loss": 0.5}]}
    assert torch.equal(loaded[1]["best"], torch.arange(3.0))
    assert steps(resumed, 2) == expected
