"""What a step takes by the shapes alone, against the same step with numbers."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from models.student.live_memory import LiveMemory, step_takes
from models.student.student import Batch, Student, load_base
from pipeline.stages.distill.build import build
from pipeline.stages.distill.config import DistillConfig
from tests.tiny import tiny_student
from tests.waiting import size, waiting

PROMPTS, TOKENS = 8, 40


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_student(tmp_path_factory.mktemp("models") / "student", layers=6)


def student(base: Path, *, again: bool = False, last_layers: int | None = None) -> Student:
    lora = {"rank": 4, "alpha": 8, "last_layers": last_layers}
    config = DistillConfig.model_validate({"model": str(base), "gradient_checkpointing": again, "lora": lora})
    return build(*load_base(base), config).train()


def test_tensors_count_as_long_as_they_live() -> None:
    with LiveMemory() as live:
        one = torch.zeros(1000)
        two = one + 1
        view = two[:10]
        assert (live.now, live.peak) == (8000, 8000)
        del two
        gc.collect()
        assert live.now == 8000  # the view holds it
        del view
        gc.collect()
        three = torch.zeros(2, 500) @ torch.zeros(500, 3)
    assert live.operations == 2 * 2 * 500 * 3
    assert live.now == 4000 + three.nbytes
    assert live.peak == 4000 + three.nbytes + 4 * (2 * 500 + 500 * 3)


@pytest.mark.parametrize("last_layers", [None, 2])
def test_shapes_alone_say_what_the_numbers_take(base: Path, last_layers: int | None) -> None:
    real = student(base, last_layers=last_layers)
    meta = student(base, last_layers=last_layers).to("meta")
    peak, operations = step_takes(meta, PROMPTS, TOKENS, torch.float32, kept=False)
    batch = Batch(
        torch.zeros(PROMPTS, TOKENS, dtype=torch.long),
        torch.ones(PROMPTS, TOKENS, dtype=torch.long),
        torch.full((PROMPTS,), 9),
    )
    with FlopCounterMode(display=False) as counted, waiting(real) as saved:
        z, logits = real(batch)
        (z.sum() + logits.sum()).backward()
    waits = size(saved)
    assert operations == counted.get_total_flops() > 0
    assert waits <= peak <= 1.2 * waits + sum(p.nbytes for p in real.parameters() if p.requires_grad)


def test_what_lies_below_the_cut_takes_nothing_where_it_is_kept(base: Path) -> None:
    meta = student(base, last_layers=2).to("meta")
    whole, kept = (step_takes(meta, PROMPTS, TOKENS, torch.float32, kept=kept) for kept in (False, True))
    assert kept[1] < 0.6 * whole[1]
    assert kept[0] <= whole[0]


def test_layers_computed_again_take_less_memory_and_more_operations(base: Path) -> None:
    plain, again = (
        step_takes(student(base, again=again).to("meta"), PROMPTS, TOKENS, torch.float32, kept=False)
        for again in (False, True)
    )
    assert again[0] < 0.5 * plain[0]
    assert 1.3 * plain[1] < again[1] < 1.6 * plain[1]
