"""The decoder as a plain folder: the student's own numbers, by libraries that know nothing of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sentence_transformers import CrossEncoder
from transformers import AutoModelForCausalLM, AutoTokenizer

from data.errors import FlipkdError
from models.student.flipkd_student import FlipkdStudent, PairPrompt
from models.student.folder import assemble, set_decision
from models.student.load import load_student
from models.student.reranker import pair_tokenizer, write_reranker, wrongly_read
from tests.models.student.test_folder import FUSION, distilled_folder
from tests.models.student.test_student import new_student
from tests.tiny import tiny_student

PAIRS = [("lost my card", "the card is lost"), ("fever in a child", "dose for a child"), ("卡丢了", "same text")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student's folder, with a decision."""
    place = tmp_path_factory.mktemp("reranker")
    trained = new_student(tiny_student(place / "base"))
    distilled = distilled_folder(trained, place / "distilled")
    student = place / "student"
    assemble(student, distilled, place / "base", base_name="tiny", revision=None, final=student)
    set_decision(student, {"thresholds": {"decoder": 0.375, "fused": 0.5}, "fusion": FUSION})
    return student


@pytest.fixture(scope="module")
def student(folder: Path) -> FlipkdStudent:
    return load_student(folder)


@pytest.fixture(scope="module")
def written(folder: Path, student: FlipkdStudent, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("written") / "reranker"
    write_reranker(student, folder, out, "fp32")
    return out


def test_it_gives_the_decoders_scores(student: FlipkdStudent, written: Path) -> None:
    model = CrossEncoder(str(written), device="cpu")
    mean = (model.predict(PAIRS) + model.predict([(b, a) for a, b in PAIRS])) / 2
    np.testing.assert_allclose(mean, student.match(PAIRS)["decoder"], atol=1e-6)
    assert np.ptp(mean) > 1e-4
    ranked = model.rank(PAIRS[0][0], [b for _, b in PAIRS])
    assert ranked[0]["score"] == pytest.approx(max(model.predict([(PAIRS[0][0], b) for _, b in PAIRS])), abs=1e-6)


def test_transformers_alone_reads_it(student: FlipkdStudent, written: Path) -> None:
    tokenizer, lm = AutoTokenizer.from_pretrained(written), AutoModelForCausalLM.from_pretrained(written)
    a, b = PAIRS[0]
    with torch.inference_mode():
        logits = [lm(**tokenizer(*texts, return_tensors="pt")).logits[0, -1] for texts in ((a, b), (b, a))]
    found = [row[student.prompt.answers].softmax(0)[1].item() for row in logits]
    assert np.mean(found) == pytest.approx(student.match([(a, b)])["decoder"][0], abs=1e-6)


def test_no_pickles_no_code_no_secrets(written: Path) -> None:
    names = {str(path.relative_to(written)) for path in written.rglob("*") if path.is_file()}
    assert "model.safetensors" in names
    assert not [name for name in names if name.endswith((".py", ".bin", ".pt"))]
    assert json.loads((written / "config.json").read_text()).get("auto_map") is None
    assert not [name for name in names if str(written.parent) in (written / name).read_bytes().decode("latin-1")]
    assert {path.stat().st_mode & 0o777 for path in written.rglob("*") if path.is_file()} == {0o644}


def test_the_card_says_how_it_is_used(written: Path) -> None:
    card = (written / "README.md").read_text()
    assert "A pair is called a match from 0.375 on" in card
    assert "(model.predict(pairs) + model.predict([(b, a) for a, b in pairs])) / 2" in card
    assert "$" not in card


def test_bf16_halves_the_folder(folder: Path, student: FlipkdStudent, written: Path, tmp_path: Path) -> None:
    write_reranker(student, folder, tmp_path / "half", "bf16")
    model = CrossEncoder(str(tmp_path / "half"), device="cpu")
    assert next(model.parameters()).dtype == torch.bfloat16
    whole, half = ((place / "model.safetensors").stat().st_size for place in (written, tmp_path / "half"))
    assert half < 0.55 * whole
    full = CrossEncoder(str(written), device="cpu").predict(PAIRS)
    np.testing.assert_allclose(model.predict(PAIRS), full, atol=0.05)


@settings(max_examples=200, deadline=None)
@given(a=st.text(max_size=30), b=st.text(max_size=30))
def test_every_pair_becomes_the_students_prompt(student: FlipkdStudent, a: str, b: str) -> None:
    """But for an empty text, which no pair holds."""
    if a and b:
        assert wrongly_read(student.prompt, [(a, b)]) is None


@pytest.mark.parametrize(
    ("template", "turned"),
    [("{a} {b}", None), ("Q: {a}\nA: {b}\n?", "Q: {b}\nB: {a}\n?"), ("{a}{b} same?", None)],
)
def test_other_templates(student: FlipkdStudent, template: str, turned: str | None) -> None:
    prompt = PairPrompt(student.tokenizer, template, [" no", " yes"], 16, turned)
    assert wrongly_read(prompt, [(a, b) for a, b in PAIRS if a and b]) is None


def test_long_texts_are_cut(student: FlipkdStudent) -> None:
    tokenizer: Any = pair_tokenizer(student.prompt)
    ids = tokenizer("card " * 500, "card " * 500, truncation=True).input_ids
    assert len(ids) == tokenizer.model_max_length == 2 * student.prompt.max_length + student.prompt.overhead
    assert ids[-len(student.prompt.tail) :] == student.prompt.tail


def test_a_wrong_reading_is_noticed(student: FlipkdStudent, monkeypatch: pytest.MonkeyPatch) -> None:
    other = PairPrompt(student.tokenizer, "{a} or {b}", [" no", " yes"], 16)
    monkeypatch.setattr("models.student.reranker.pair_tokenizer", lambda _: pair_tokenizer(other))
    assert wrongly_read(student.prompt, [("my card", "your card")]) == ("my card", "your card")


def test_a_slow_tokenizer_is_refused(student: FlipkdStudent, monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow:
        """A tokenizer written in Python."""

    prompt = PairPrompt(student.tokenizer, "{a} {b}", [" no", " yes"], 16)
    monkeypatch.setattr(prompt, "tokenizer", Slow())
    with pytest.raises(FlipkdError, match=r"tokenizer \(Slow\) is not one of the `tokenizers` library"):
        pair_tokenizer(prompt)
