"""The student in training: its two readings, and what trains which of its parts."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import get_peft_model

from models.objectives.answer import answer_loss
from models.student.student import Student, StudentSpec, build_student, load_base, pair_batch, text_batch
from tests.tiny import tiny_student

PAIRS = [
    ("lost my card", "the card is lost"),
    ("fever in a child", "dose for a child with a fever that will not go down"),
    ("卡丢了", "same text"),
]
SPEC = StudentSpec(
    template="Text 1: {a}\nText 2: {b}\nDo the two texts ask the same thing?",
    answers=(" no", " yes"),
    max_length=24,
    rank=4,
    alpha=8,
    dropout=0.0,
    modules="all-linear",
    adapted_last_layers=None,
    site_modules=["q_proj", "down_proj"],
    site_last_layers=None,
    pooling="mean",
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_student(tmp_path_factory.mktemp("models") / "student")


def new_student(base: Path, **changes: object) -> Student:
    torch.manual_seed(0)
    student = build_student(*load_base(base), StudentSpec(**{**vars(SPEC), **changes}))  # type: ignore[arg-type]
    for name, parameter in student.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return student.eval()


def token_ids(student: Student) -> tuple[list[list[int]], list[list[int]]]:
    return student.prompt.texts([a for a, _ in PAIRS]), student.prompt.texts([b for _, b in PAIRS])


def test_of_pefts_warnings_one_is_not_shown(base: Path, monkeypatch: pytest.MonkeyPatch):
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        new_student(base)

    def warning(*given: Any) -> Any:
        warnings.warn("another one", FutureWarning, stacklevel=1)
        return get_peft_model(*given)

    monkeypatch.setattr("models.student.student.get_peft_model", warning)
    with pytest.warns(FutureWarning) as shown:
        new_student(base)
    assert [str(one.message) for one in shown] == ["another one"]


def test_a_text_is_encoded_the_same_in_every_pair_and_alone(base: Path):
    student = new_student(base)
    first, second = token_ids(student)
    z_a, z_b = student(pair_batch(student.prompt, first, second))[0].chunk(2)
    _, swapped_a = student(pair_batch(student.prompt, second, first))[0].chunk(2)
    other, _ = student(pair_batch(student.prompt, first[:1], second[2:]))[0].chunk(2)
    alone, _ = student(text_batch(student.prompt, second))
    torch.testing.assert_close(z_b, alone, atol=1e-5, rtol=0)
    torch.testing.assert_close(z_a, swapped_a, atol=1e-5, rtol=0)
    torch.testing.assert_close(z_a[:1], other, atol=1e-5, rtol=0)
    torch.testing.assert_close(z_a.norm(dim=1), torch.ones(3))


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_the_encoding_equals_a_computation_from_the_weights(base: Path, pooling: str):
    """z by hand: LoRA's A times the input of each site, pooled over the text's tokens, with no padding."""
    student = new_student(base, pooling=pooling)
    first, second = token_ids(student)
    z_a = student(pair_batch(student.prompt, first, second))[0][: len(first)]
    lm = student.lm.get_base_model()
    seen: dict[str, torch.Tensor] = {}
    for site in student.sites:
        lm.get_submodule(site).register_forward_pre_hook(lambda _m, args, site=site: seen.update({site: args[0]}))
    for row, text in enumerate(first):
        lm(input_ids=torch.tensor([student.prompt.alone(text)]))
        start = len(student.prompt.head)
        parts = []
        for site in student.sites:
            a = lm.get_submodule(site).lora_A["default"].weight
            outputs = seen[site][0, start : start + len(text)] @ a.T
            parts.append(outputs.mean(0) if pooling == "mean" else outputs[-1])
        expected = torch.cat(parts)
        torch.testing.assert_close(z_a[row], expected / expected.norm(), atol=1e-5, rtol=1e-4)


def test_padding_changes_nothing(base: Path):
    student = new_student(base)
    first, second = token_ids(student)
    _, together = student(pair_batch(student.prompt, first, second))
    apart = [student(pair_batch(student.prompt, [a], [b]))[1] for a, b in zip(first, second, strict=True)]
    torch.testing.assert_close(together[:3], torch.stack([pair[0] for pair in apart]), atol=1e-5, rtol=0)
    torch.testing.assert_close(together[3:], torch.stack([pair[1] for pair in apart]), atol=1e-5, rtol=0)


def test_at_the_start_the_answer_gives_a_no_gradient_and_the_encoder_does(base: Path):
    """B = 0 at the start, so the answer cannot reach A; the encoder's own loss can."""
    torch.manual_seed(0)
    student = build_student(*load_base(base), SPEC).train()
    parameters = {n: p for n, p in student.named_parameters() if "lora_A" in n}
    sited = [n for n in parameters if "q_proj" in n or "down_proj" in n]
    z, logits = student(pair_batch(student.prompt, *token_ids(student)))
    answer_loss(logits, torch.tensor([1, 0, 1])).backward(retain_graph=True)
    assert all(p.grad is None or p.grad.abs().max() == 0 for p in parameters.values())
    (z[:3] * z[3:]).sum().backward()
    gradients = [parameters[n].grad for n in sited]
    assert all(g is not None and g.abs().max() > 0 for g in gradients)


def test_last_layers_limit_adapters_and_sites(base: Path):
    student = new_student(base, adapted_last_layers=1, site_modules=["q_proj"], site_last_layers=1)
    assert student.sites == ["model.layers.1.self_attn.q_proj"]
    assert all("layers.1." in name for name in student.adapter())
    with pytest.raises(ValueError, match="there are 2"):
        new_student(base, adapted_last_layers=3)
    with pytest.raises(ValueError, match="no linear layer is called c_attn"):
        new_student(base, site_modules=["c_attn"])


def test_a_site_below_the_adapters_reads_and_writes_nothing(base: Path):
    """Its A learns from the encoder's loss, its B stays 0, and no layer below the adapters is passed backwards."""
    torch.manual_seed(0)
    student = build_student(*load_base(base), StudentSpec(**{**vars(SPEC), "adapted_last_layers": 1})).train()
    below = [site for site in student.sites if "layers.0." in site]
    assert below
    base_model = student.lm.get_base_model()
    norm = base_model.model.layers[0].post_attention_layernorm
    norm.register_forward_hook(lambda _m, _a, output: reached.append(output.requires_grad))
    reached: list[bool] = []
    z, logits = student(pair_batch(student.prompt, *token_ids(student)))
    (answer_loss(logits, torch.tensor([1, 0, 1])) + (z[:3] * z[3:]).sum()).backward()
    assert reached == [False]
    for site in below:
        layer = base_model.get_submodule(site)
        assert layer.lora_A["default"].weight.grad.abs().max() > 0
        assert not layer.lora_B["default"].weight.requires_grad
        assert layer.lora_B["default"].weight.abs().max() == 0


def test_gradient_checkpointing_that_cuts_a_off_is_refused(base: Path):
    student = new_student(base).train()
    student.lm.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": True})
    with pytest.raises(RuntimeError, match="non-reentrant"):
        student(pair_batch(student.prompt, *token_ids(student)))


def test_apart_the_similarities_train_a_of_the_sites_alone_with_the_same_numbers(base: Path):
    student = new_student(base)
    batch = pair_batch(student.prompt, *token_ids(student))
    vectors, trained = {}, {}
    for apart in (False, True):
        student.similarity_trains_encoder_alone = apart
        student.zero_grad()
        z, _ = student(batch)
        (z[:3] * z[3:]).sum().backward()
        vectors[apart] = z.detach()
        trained[apart] = {n for n, p in student.named_parameters() if p.grad is not None and p.grad.any()}
    assert torch.allclose(vectors[False], vectors[True], atol=1e-6)
    sites = {f"lm.base_model.model.{site}.lora_A.default.weight" for site in student.sites}
    assert trained[True] == sites
    assert trained[False] > sites  # the adapters below the sites too
