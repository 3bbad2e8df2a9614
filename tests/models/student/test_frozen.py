"""The kept activations give the same numbers and gradients as the whole model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoTokenizer, GPT2LMHeadModel, OPTForCausalLM

from models.student.flipkd_student import PairPrompt
from models.student.frozen import Activations, beginning_at, read_activations, write_activations
from models.student.student import Batch, Student, StudentSpec, build_student, load_base, pair_batch, text_batch
from tests.tiny import tiny_student

PAIRED = ["lost my card", "the card is frozen, what now", "fever", "what dose for a child of two", "same text"]
TEXTS = [*PAIRED, "stands in no pair"]
FIRST, SECOND = np.array([0, 2, 4, 1]), np.array([1, 3, 0, 3])


def student_of(
    folder: Path,
    pooling: str = "mean",
    last_layers: int | None = 2,
    dropout: float = 0.0,
    read: str = "lora_a",
    sites: tuple[str, ...] = ("q_proj", "down_proj"),
) -> Student:
    torch.manual_seed(1)
    lm, tokenizer = load_base(folder)
    spec = StudentSpec(
        template="one: {a} two: {b} same?",
        answers=(" no", " yes"),
        max_length=24,
        rank=4,
        alpha=8,
        dropout=dropout,
        modules="all-linear",
        adapted_last_layers=last_layers,
        site_modules=list(sites),
        site_last_layers=None,
        pooling=pooling,
        read=read,
    )
    return build_student(lm, tokenizer, spec)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_student(tmp_path_factory.mktemp("base") / "student", layers=4)


def kept_of(student: Student, folder: Path) -> tuple[list[list[int]], Activations]:
    base = student.lm.get_base_model()
    texts = student.prompt.texts(TEXTS)
    student_reads = (student.prompt, student.sites, student.blocks, student.cut, student.pooling)
    write_activations(base, *student_reads, texts, FIRST, SECOND, folder, batch_tokens=90)
    return texts, read_activations(base, student.sites, folder)


def with_kept(student: Student, batch: Batch, kept: Activations, prompts: list[int], texts: list[int]) -> Batch:
    hidden = kept.prompts(prompts, batch.mask.sum(1).tolist())
    below = kept.inputs(np.array(texts), kept.below(student.cut))
    return Batch(batch.ids, batch.mask, batch.lengths, hidden, below)


def outputs_and_gradients(student: Student, batch: Batch) -> list[torch.Tensor]:
    student.zero_grad()
    z, logits = student(batch)
    random = torch.Generator().manual_seed(3)
    loss = (z * torch.randn(z.shape, generator=random)).sum()
    (loss + (logits * torch.randn(logits.shape, generator=random)).sum()).backward()
    learnt = [p for p in student.parameters() if p.requires_grad]
    return [z.detach(), logits.detach(), *(torch.zeros(1) if p.grad is None else p.grad.clone() for p in learnt)]


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_pairs_give_the_same_outputs_and_gradients(base: Path, tmp_path: Path, pooling: str) -> None:
    student = student_of(base, pooling)
    assert student.cut == 2
    texts, kept = kept_of(student, tmp_path / "kept")
    for _ in range(2):  # with B at 0, and after it has moved
        rows = [3, 0, 1]
        first, second = [texts[FIRST[i]] for i in rows], [texts[SECOND[i]] for i in rows]
        batch = pair_batch(student.prompt, first, second)
        ids = [*FIRST[rows], *SECOND[rows]]
        given = with_kept(student, batch, kept, [*rows, *(len(FIRST) + i for i in rows)], ids)
        for whole, short in zip(
            outputs_and_gradients(student, batch), outputs_and_gradients(student, given), strict=True
        ):
            torch.testing.assert_close(short, whole, rtol=1e-4, atol=1e-6)
        with torch.no_grad():
            for parameter in student.parameters():
                if parameter.requires_grad:
                    parameter.add_(0.05 * torch.randn(parameter.shape))


@pytest.mark.parametrize(
    ("model", "settings", "site"),
    [
        (GPT2LMHeadModel, {"n_embd": 32, "n_layer": 3, "n_head": 4}, "c_attn"),
        (OPTForCausalLM, {"hidden_size": 32, "word_embed_proj_dim": 32, "num_hidden_layers": 3, "ffn_dim": 64,
                          "num_attention_heads": 4}, "q_proj"),
    ],
)  # fmt: skip
def test_models_that_add_positions_to_their_embeddings(
    base: Path, tmp_path: Path, model: Any, settings: dict[str, int], site: str
) -> None:
    """Positions are learned vectors here, added before the first block; nothing is added to what is kept.

    GPT-2's layers hold their weights the other way round, and OPT's blocks hang one level deeper.
    """
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokens = {"vocab_size": len(tokenizer), "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 1}
    model(model.config_class(**tokens, **settings)).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    student = student_of(tmp_path / "model", last_layers=1, sites=(site,)).eval()
    assert student.cut == 2
    texts, kept = kept_of(student, tmp_path / "kept")
    batch = pair_batch(student.prompt, [texts[0]], [texts[1]])
    given = with_kept(student, batch, kept, [0, len(FIRST)], [0, 1])
    for whole, short in zip(
        outputs_and_gradients(student, batch), outputs_and_gradients(student, given), strict=True
    ):
        torch.testing.assert_close(short, whole, rtol=1e-4, atol=1e-6)


def test_the_blocks_below_are_back_after_a_pass_that_failed() -> None:
    blocks = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2)])
    before, hidden = list(blocks), torch.ones(1, 2)

    def fails() -> None:
        with beginning_at(blocks, 2, hidden):
            assert blocks[0](torch.zeros(1, 2)) is blocks[1](torch.zeros(1, 2)) is hidden
            assert blocks[2] is before[2]
            raise ValueError("failed")

    with pytest.raises(ValueError, match="failed"):
        fails()
    assert list(blocks) == before


def test_texts_are_beginnings_of_prompts(base: Path, tmp_path: Path) -> None:
    student = student_of(base)
    texts, kept = kept_of(student, tmp_path / "kept")
    batch = text_batch(student.prompt, [texts[0], texts[3]])
    given = with_kept(student, batch, kept, [0, len(FIRST) + 1], [0, 3])  # 0 begins pair 0, 3 the turned pair 1
    torch.testing.assert_close(student(given)[0], student(batch)[0], rtol=1e-4, atol=1e-6)


def test_a_text_in_no_pair_is_a_prompt_of_its_own(base: Path, tmp_path: Path) -> None:
    student = student_of(base)
    texts, kept = kept_of(student, tmp_path / "kept")
    batch = text_batch(student.prompt, [texts[5], texts[2]])
    given = with_kept(student, batch, kept, [2 * len(FIRST), 1], [5, 2])
    torch.testing.assert_close(student(given)[0], student(batch)[0], rtol=1e-4, atol=1e-6)
    assert kept.starts[-1] - kept.starts[-2] == len(student.prompt.alone(texts[5]))


def test_pooled_inputs_times_a_are_the_encoder_while_b_is_zero(base: Path, tmp_path: Path) -> None:
    student = student_of(base)
    texts, kept = kept_of(student, tmp_path / "kept")
    parts = [
        kept.inputs(np.arange(len(texts)))[:, kept.columns[site]] @ a.T
        for site, a in zip(student.sites, student.encoders(), strict=True)
    ]
    z = torch.nn.functional.normalize(torch.cat(parts, dim=1), dim=1)
    torch.testing.assert_close(z, student(text_batch(student.prompt, texts))[0], rtol=1e-4, atol=1e-6)


def test_nothing_below_the_cut_keeps_no_hidden_states(base: Path, tmp_path: Path) -> None:
    student = student_of(base, last_layers=None)
    assert student.cut == 0
    _, kept = kept_of(student, tmp_path / "kept")
    assert kept.hidden is None
    assert kept.below(0) == 0
    with pytest.raises(ValueError, match="nothing is kept"):
        kept.prompts([0], [3])


def test_a_folder_is_whole_or_absent(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    student = student_of(base)

    def broken(self: PairPrompt, first: list[int], second: list[int]) -> list[int]:
        raise OSError("no space left")

    monkeypatch.setattr(PairPrompt, "pair", broken)
    with pytest.raises(OSError, match="no space"):
        kept_of(student, tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_hidden_states_as_the_vector_are_kept_too(base: Path, tmp_path: Path) -> None:
    student = student_of(base, read="hidden")
    assert student.sites == []
    texts, kept = kept_of(student, tmp_path / "kept")
    batch = pair_batch(student.prompt, [texts[0]], [texts[1]])
    given = with_kept(student, batch, kept, [0, len(FIRST)], [0, 1])
    for whole, short in zip(
        outputs_and_gradients(student, batch), outputs_and_gradients(student, given), strict=True
    ):
        torch.testing.assert_close(short, whole, rtol=1e-4, atol=1e-6)
    trunk = student.lm.get_base_model().base_model
    hidden = trunk(input_ids=torch.tensor([student.prompt.alone(texts[0])])).last_hidden_state[0]
    mean = hidden[len(student.prompt.head) :].mean(0)
    torch.testing.assert_close(student(batch)[0][0], mean / mean.norm(), rtol=1e-4, atol=1e-6)
