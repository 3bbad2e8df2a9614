"""What a training will take: against the training itself."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from models.student.flipkd_student import PairPrompt
from models.student.student import load_base
from pipeline.stages.distill import estimate, loop
from pipeline.stages.distill.activations import make_batch
from pipeline.stages.distill.build import build
from pipeline.stages.distill.config import DistillConfig
from pipeline.stages.distill.estimate import Need, base_bytes, is_scarce, needed, tell_need
from pipeline.stages.distill.job import Job, train_job
from pipeline.stages.distill.pair_data import PairData, read_pairs
from pipeline.stages.distill.schedule import steps
from tests.models.student.architectures import WORKS, tiny_lm
from tests.pipeline.stages.distill.jobs import job


def read(one: Job) -> tuple[PairPrompt, PairData, tuple[int, int]]:
    """The student's prompt, the pairs of train as the training reads them, and its steps."""
    prompt = build(*load_base(one.base), one.config).prompt
    data, _ = read_pairs(one.filtered, one.embeddings, prompt)
    return prompt, data, steps(data, one.config)


@pytest.mark.parametrize("held", ["fp32", "bf16", "int8", "nf4"])
def test_the_base_takes_what_transformers_says(base: Path, held: str, tmp_path: Path) -> None:
    settings, _ = WORKS["Llama"]
    wide = settings | {"hidden_size": 256, "intermediate_size": 512}
    lm = tiny_lm("Llama", wide, 400)
    lm.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(base).save_pretrained(tmp_path)
    config = DistillConfig.model_validate({"model": str(tmp_path), "base": held})
    loaded, _ = load_base(tmp_path, dtype="bfloat16" if held == "bf16" else "float32", base=held)
    assert base_bytes(config, lm) == pytest.approx(loaded.get_memory_footprint(), rel=0.05)


def test_of_a_cut_model_its_first_layers_count() -> None:
    lm = tiny_lm("Llama", WORKS["Llama"][0] | {"num_hidden_layers": 4}, 400)
    whole, cut, other = (
        base_bytes(DistillConfig.model_validate({"model": "m", "first_layers": layers}), lm)
        for layers in (None, 1, 3)
    )
    assert other - cut == 2 * (whole - other)


def test_shape_adapter_and_operations_are_the_trainings(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flipkd_log: pytest.LogCaptureFixture
) -> None:
    one = job(tmp_path, base)
    seen: list[tuple[int, int]] = []

    def look(*args: Any, **kwargs: Any) -> Any:
        batch = make_batch(*args, **kwargs)
        seen.append((batch.ids.shape[0], batch.ids.shape[1]))
        return batch

    monkeypatch.setattr(loop, "make_batch", look)
    summary = train_job(one)
    need = needed(one.config, base, *read(one), kept=False)
    assert need.adapter == 16 * summary["trained_parameters"]
    assert need.shape in seen
    assert need.shape[0] * need.shape[1] == max(a * b for a, b in seen)
    # Two additions and multiplications a weight and token, forward and for what a layer gets back, at least.
    inside = sum(p.numel() for n, p in load_base(base)[0].named_parameters() if ".layers." in n and p.dim() == 2)
    tokens = sum(a * b for a, b in seen)
    assert 2 * inside * tokens < need.operations < 8 * inside * tokens
    assert "distill: takes about 0.0 GB of memory (base 0.00, adapter and Adam 0.00, a step of " in flipkd_log.text


def test_a_machine_without_room_is_told_what_to_do(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flipkd_log: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(estimate, "free_memory", lambda: 1000)
    train_job(job(tmp_path, base, epochs=1, text_epochs=0))
    said = [record.getMessage() for record in flipkd_log.records if record.levelno == logging.WARNING]
    assert len(said) == 1
    assert said[0].startswith("distill: a step takes about 0.0 GB beside the base, and 0.0 GB are free: set ")
    assert "distill.gradient_checkpointing: true, or lower distill.max_tokens (now 16384)" in said[0]
    assert is_scarce(Need(0, 0, 501, (1, 1), 1.0))
    assert not is_scarce(Need(0, 0, 499, (1, 1), 1.0))
    assert not is_scarce(None)


def test_a_model_whose_way_hangs_on_its_numbers_is_trained_all_the_same(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flipkd_log: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise NotImplementedError("Cannot copy out of meta tensor; no data!")

    monkeypatch.setattr(estimate, "step_takes", refuse)
    one = job(tmp_path, base, epochs=1, text_epochs=0)
    assert tell_need(one.config, base, *read(one), "fp32", kept=False) is None
    assert "cannot be told beforehand: NotImplementedError: Cannot copy out of meta tensor" in flipkd_log.text
    assert train_job(one)["steps"] > 0
