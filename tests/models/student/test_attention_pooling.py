"""Attention pooling: begins as the mean, learns its queries, and is the same wherever a student is loaded."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer

from models.student.checkpoint import load_checkpoint, save_checkpoint
from models.student.flipkd_student import QUERIES, FlipkdStudent, attention, pool
from models.student.folder import assemble
from models.student.frozen import read_activations, write_activations
from models.student.student import Batch, Student, divided, load_base, pair_batch, restored, text_batch
from tests.models.student.test_student import PAIRS, SPEC, new_student, token_ids
from tests.tiny import tiny_student


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_student(tmp_path_factory.mktemp("models") / "student")


def attending(base: Path, **changes: object) -> Student:
    """A student whose queries have moved far from 0."""
    student = new_student(base, pooling="attention", **changes)
    assert student.queries is not None
    torch.nn.init.normal_(student.queries, std=20.0)
    return student


def by_numpy(output: np.ndarray, start: int, length: int, query: np.ndarray) -> np.ndarray:
    text = output[start : start + length].astype(np.float64)
    scores = np.exp(text @ query / np.sqrt(len(query)))
    return (scores / scores.sum()) @ text


def test_it_equals_numpy():
    random = np.random.default_rng(0)
    outputs, queries = random.normal(size=(2, 3, 7, 4)), random.normal(size=(2, 4))
    lengths = [1, 3, 5]
    found = pool(list(torch.from_numpy(outputs)), 2, torch.tensor(lengths), "attention", torch.from_numpy(queries))
    for row, length in enumerate(lengths):
        parts = [by_numpy(out[row], 2, length, query) for out, query in zip(outputs, queries, strict=True)]
        expected = np.concatenate(parts)
        np.testing.assert_allclose(found[row], expected / np.linalg.norm(expected), rtol=1e-5)


def test_a_query_of_zero_is_the_mean():
    outputs, lengths = [torch.randn(3, 7, 4), torch.randn(3, 7, 4)], torch.tensor([1, 3, 5])
    mean = pool(outputs, 2, lengths, "mean")
    torch.testing.assert_close(pool(outputs, 2, lengths, "attention", torch.zeros(2, 4)), mean)
    assert (pool(outputs, 2, lengths, "attention", torch.randn(2, 4)) - mean).abs().max() > 0.01


def test_its_gradients():
    inside = torch.tensor([[False, True, True, True, False], [False, True, False, False, False]])
    output = torch.randn(2, 5, 3, dtype=torch.double, requires_grad=True)
    query = torch.randn(3, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda out, q: attention(out, inside, q), (output, query))
    extreme = attention(1e4 * output, inside, query)
    assert extreme.isfinite().all()
    assert attention(output, torch.zeros_like(inside), query).abs().max() == 0


def test_a_student_begins_as_the_mean_and_learns_its_queries(base: Path):
    mean, student = new_student(base), new_student(base, pooling="attention")
    batch = pair_batch(student.prompt, *token_ids(student))
    z, _ = student(batch)
    torch.testing.assert_close(z, mean(batch)[0], atol=1e-6, rtol=1e-5)
    assert student.queries is not None
    assert student.queries.shape == (len(student.sites), SPEC.rank)
    assert any(parameter is student.queries for parameter in student.parameters())
    (z[:3] * z[3:]).sum().backward()
    assert student.queries.grad is not None
    assert (student.queries.grad.abs().sum(1) > 0).all()
    assert mean.queries is None
    assert sum(p.numel() for p in student.parameters()) - sum(p.numel() for p in mean.parameters()) == (
        len(student.sites) * SPEC.rank
    )


def test_a_text_is_encoded_the_same_in_every_pair_and_alone(base: Path):
    student = attending(base)
    first, second = token_ids(student)
    _, z_b = student(pair_batch(student.prompt, first, second))[0].chunk(2)
    torch.testing.assert_close(z_b, student(text_batch(student.prompt, second))[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("read", ["lora_a", "hidden"])
def test_the_folder_gives_the_same_numbers(base: Path, tmp_path: Path, read: str):
    student = attending(base, read=read)
    distilled = tmp_path / "distilled"
    student.lm.save_pretrained(distilled / "adapter")
    student.prompt.tokenizer.save_pretrained(distilled / "tokenizer")
    of_peft, queries = divided(student.adapter())
    assert queries.keys() == ({"hidden"} if read == "hidden" else set(student.sites))
    assert load_file(distilled / "adapter/adapter_model.safetensors").keys() == of_peft.keys()
    save_file(queries, distilled / QUERIES)
    settings = {"template": SPEC.template, "answers": list(SPEC.answers), "max_length": SPEC.max_length}
    settings |= {"sites": student.sites, "pooling": "attention", "read": read, "scaling": SPEC.alpha / SPEC.rank}
    (distilled / "student.json").write_text(json.dumps(settings), "utf-8")
    folder = tmp_path / "student"
    assemble(folder, distilled, base, base_name="tiny", revision=None, final=folder)

    z, _ = student(pair_batch(student.prompt, *token_ids(student)))
    cosines = (z[:3] * z[3:]).sum(1).detach().numpy()
    loaded = SentenceTransformer(str(folder), trust_remote_code=True, device="cpu")
    vectors = loaded.encode([text for pair in PAIRS for text in pair]).reshape(len(PAIRS), 2, -1)
    np.testing.assert_allclose((vectors[:, 0] * vectors[:, 1]).sum(1), cosines, atol=1e-5)
    scores = FlipkdStudent.load(str(folder)).match(PAIRS, batch_size=2)
    np.testing.assert_allclose(scores["encoder"], cosines, atol=1e-5)

    other = new_student(base, pooling="attention", read=read)
    other.load_adapter(restored(distilled))
    torch.testing.assert_close(other(pair_batch(other.prompt, *token_ids(other)))[0], z, atol=1e-6, rtol=1e-5)

    (folder / QUERIES).unlink()
    with pytest.raises(OSError, match=QUERIES):
        FlipkdStudent.load(str(folder))
    with pytest.raises(ValueError, match="its queries"):
        FlipkdStudent(*load_base(base), of_peft, settings)


def test_a_checkpoint_holds_the_queries_and_their_optimiser(base: Path, tmp_path: Path):
    def step(student: Student, optimizer: torch.optim.Optimizer) -> None:
        z, _ = student(text_batch(student.prompt, token_ids(student)[0]))
        optimizer.zero_grad()
        z.sum().backward()
        optimizer.step()

    def begin() -> tuple[Student, torch.optim.Optimizer]:
        student = new_student(base, pooling="attention")
        return student, torch.optim.AdamW([p for p in student.parameters() if p.requires_grad], lr=0.1)

    run, resumed = begin(), begin()
    for _ in range(3):
        step(*run)
    save_checkpoint(tmp_path / "c.safetensors", *run, {"step": 3}, run[0].adapter())
    loaded = load_checkpoint(tmp_path / "c.safetensors", *resumed)
    assert loaded is not None
    for student, optimizer in (run, resumed):
        step(student, optimizer)
    assert run[0].queries is not None and resumed[0].queries is not None  # noqa: PT018  # for the type checker
    assert run[0].queries.abs().max() > 0.1
    assert torch.equal(run[0].queries, resumed[0].queries)
    resumed[0].load_adapter(loaded[1])  # the best adapter is kept whole, too
    assert not torch.equal(run[0].queries, resumed[0].queries)


def test_sites_below_the_adapters_are_read_token_by_token(base: Path, tmp_path: Path):
    below, above = (
        attending(base, adapted_last_layers=1),
        attending(base, adapted_last_layers=1, site_last_layers=1),
    )
    assert not below.may_begin_at_cut
    assert above.may_begin_at_cut
    assert new_student(base, adapted_last_layers=1).may_begin_at_cut
    texts = above.prompt.texts([text for pair in PAIRS for text in pair])
    first, second = np.array([0, 2, 4]), np.array([1, 3, 5])
    for student in (above, below):
        lm, kept = student.lm.get_base_model(), tmp_path / str(len(student.sites))
        write_activations(
            lm, student.prompt, student.sites, student.blocks, student.cut, "mean", texts, first, second, kept
        )
        found = read_activations(lm, student.sites, kept)
        batch = pair_batch(student.prompt, [texts[i] for i in first], [texts[i] for i in second])
        hidden = found.prompts(range(6), batch.mask.sum(1).tolist())
        pooled = found.inputs(np.concatenate([first, second]), found.below(student.cut))
        given = Batch(batch.ids, batch.mask, batch.lengths, hidden, pooled)
        if student is above:
            torch.testing.assert_close(student(given)[0], student(batch)[0], atol=1e-5, rtol=1e-4)
        else:
            with pytest.raises(RuntimeError, match="below the cut"):
                student(given)
