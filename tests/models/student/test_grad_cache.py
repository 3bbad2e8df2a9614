"""Divided or not: the same loss, the same gradients; and the memory of one part."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from models.student.grad_cache import backward_in_parts, forward_in_parts, parts
from models.student.student import Batch, Student, pair_batch
from tests.models.student.test_frozen import student_of
from tests.tiny import tiny_student

TEXTS = [
    "lost my card",
    "the card is frozen, what now",
    "fever",
    "what dose for a child of two",
    "same text",
    "no",
]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_student(tmp_path_factory.mktemp("base") / "student", layers=3)


def batch_of(student: Student) -> Batch:
    texts = student.prompt.texts(TEXTS)
    return pair_batch(student.prompt, texts[:3], texts[3:])


def loss_of(z: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    a, b = z.chunk(2)
    target = torch.arange(len(a))
    return torch.nn.functional.cross_entropy(a @ b.T / 0.05, target) + logits.logsumexp(1).mean()


@pytest.mark.parametrize("tokens", [1, 60, 100_000])
def test_gradients_are_those_of_the_undivided_batch(base: Path, tokens: int) -> None:
    student = student_of(base, last_layers=None)
    with torch.no_grad():
        for name, parameter in student.named_parameters():
            if "lora_B" in name:
                parameter.add_(0.1 * torch.randn(parameter.shape))
    batch = batch_of(student)
    loss = loss_of(*student(batch))
    loss.backward()
    whole = {name: p.grad.clone() for name, p in student.named_parameters() if p.grad is not None}
    student.zero_grad()
    rows = parts(batch, tokens)
    assert len(rows) == {1: 6, 100_000: 1}.get(tokens, len(rows))
    z, logits = forward_in_parts(student, batch, rows, seed=1)
    divided = loss_of(z, logits)
    divided.backward()
    backward_in_parts(student, batch, rows, z, logits, seed=1)
    torch.testing.assert_close(divided, loss, rtol=1e-5, atol=1e-6)
    found = {name: p.grad for name, p in student.named_parameters() if p.grad is not None}
    assert found.keys() == whole.keys()
    for name, gradient in whole.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-6, msg=name)


def test_a_loss_without_the_answer_needs_no_gradient_of_it(base: Path) -> None:
    student = student_of(base, last_layers=None)
    batch = batch_of(student)
    rows = parts(batch, 60)
    z, logits = forward_in_parts(student, batch, rows, seed=1)
    (z[0] @ z[3]).backward()
    assert logits.grad is None
    backward_in_parts(student, batch, rows, z, logits, seed=1)
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in student.parameters())


def test_a_part_is_cut_to_its_longest_prompt(base: Path) -> None:
    student = student_of(base)
    batch = batch_of(student)
    shortest = batch.mask.sum(1).argmin().reshape(1)
    part = batch.part(shortest)
    assert part.ids.shape == (1, int(batch.mask.sum(1).min()))
    assert part.mask.all()


def test_both_passes_drop_the_same(base: Path) -> None:
    student = student_of(base, dropout=0.5)
    student.train()
    batch = batch_of(student)
    rows = parts(batch, 60)
    z, logits = forward_in_parts(student, batch, rows, seed=1)
    seen = []

    def forward(part: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        seen.append(student(part))
        return seen[-1]

    z.sum().backward()
    backward_in_parts(forward, batch, rows, z, logits, seed=1)
    order = torch.cat(rows).argsort()
    torch.testing.assert_close(torch.cat([again for again, _ in seen])[order], z)
    other, _ = forward_in_parts(student, batch, rows, seed=2)
    assert not torch.allclose(other, z)
