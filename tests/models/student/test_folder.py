"""The folder that people load: what stands in it, and that both libraries give the trained numbers from it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import AutoPeftModelForCausalLM
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer

from models.student.folder import assemble, set_decision
from models.student.student import Student, pair_batch
from tests.models.student.test_student import PAIRS, SPEC, new_student, token_ids
from tests.tiny import tiny_student

FUSION = {"intercept": 0.1, "decoder": 1.0, "encoder": 2.0}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_student(tmp_path_factory.mktemp("models") / "student")


def distilled_folder(student: Student, folder: Path) -> Path:
    """What the stage `distill` leaves of a student."""
    student.lm.save_pretrained(folder / "adapter")
    student.prompt.tokenizer.save_pretrained(folder / "tokenizer")
    settings = {"template": SPEC.template, "answers": list(SPEC.answers), "max_length": SPEC.max_length}
    settings |= {"sites": student.sites, "pooling": SPEC.pooling, "scaling": SPEC.alpha / SPEC.rank}
    (folder / "student.json").write_text(json.dumps(settings), "utf-8")
    return folder


def trained_scores(student: Student) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of a match and cosines of `PAIRS`, (n,) each, by the student in memory."""
    z, logits = student(pair_batch(student.prompt, *token_ids(student)))
    cosines = (z[:3] * z[3:]).sum(1).detach().numpy()
    return logits.softmax(1)[:, 1].view(2, -1).mean(0).detach().numpy(), cosines


def test_the_folder_gives_the_trained_numbers_in_both_libraries(base: Path, tmp_path: Path):
    """sentence-transformers and peft, each from the saved folder, against the student in memory."""
    base = shutil.copytree(base, tmp_path / "base")
    (base / "rng_state.pth").write_bytes(b"what a trainer leaves beside a model")
    student = new_student(base)
    distilled = distilled_folder(student, tmp_path / "distilled")
    folder = tmp_path / "student"
    assemble(folder, distilled, base, base_name="tiny", revision=None, final=folder)
    assert not (folder / "base" / "rng_state.pth").exists()
    set_decision(folder, {"thresholds": {}, "fusion": FUSION})
    probabilities, cosines = trained_scores(student)

    loaded = SentenceTransformer(str(folder), trust_remote_code=True, device="cpu")
    vectors = loaded.encode([text for pair in PAIRS for text in pair]).reshape(len(PAIRS), 2, -1)
    np.testing.assert_allclose((vectors[:, 0] * vectors[:, 1]).sum(1), cosines, atol=1e-5)
    scores = loaded[0].match(PAIRS, batch_size=2)  # type: ignore[operator]
    np.testing.assert_allclose(scores["encoder"], cosines, atol=1e-5)
    np.testing.assert_allclose(scores["decoder"], probabilities, atol=1e-5)

    peft_model = AutoPeftModelForCausalLM.from_pretrained(folder).eval()
    first, second = token_ids(student)
    for row, (a, b) in enumerate(zip(first, second, strict=True)):
        both = []
        for ids in (student.prompt.pair(a, b), student.prompt.pair(b, a)):
            answer = peft_model(input_ids=torch.tensor([ids])).logits[0, -1, student.prompt.answers]
            both.append(answer.softmax(0)[1].item())
        assert np.mean(both) == pytest.approx(probabilities[row], abs=1e-5)
    assert load_file(folder / "adapter_model.safetensors").keys() == student.adapter().keys()


def test_a_model_of_the_hub_is_named_with_its_commit_and_not_copied(base: Path, tmp_path: Path):
    distilled = distilled_folder(new_student(base), tmp_path / "distilled")
    folder = tmp_path / "student"
    assemble(folder, distilled, base, base_name="org/tiny@main", revision="c0ffee", final=tmp_path / "final")
    adapter = json.loads((folder / "adapter_config.json").read_text("utf-8"))
    assert (adapter["base_model_name_or_path"], adapter["revision"]) == ("org/tiny", "c0ffee")
    assert not (folder / "base").exists()
    card = (folder / "README.md").read_text("utf-8")
    assert "LoRA adapter of `org/tiny@main`" in card
    assert "fetched from the hub at commit `c0ffee`" in card


@pytest.mark.parametrize("ours", [False, True])
def test_a_local_base_travels_and_only_our_own_conversion_is_linked(base: Path, tmp_path: Path, ours: bool):
    distilled = distilled_folder(new_student(base), tmp_path / "distilled")
    folder, final = tmp_path / "writing", tmp_path / "final"
    assemble(folder, distilled, base, base_name="tiny", revision=None, final=final, base_is_ours=ours)
    weights = folder / "base" / "model.safetensors"
    assert weights.samefile(base / "model.safetensors") == ours
    assert weights.read_bytes() == (base / "model.safetensors").read_bytes()
    adapter = json.loads((folder / "adapter_config.json").read_text("utf-8"))
    assert (adapter["base_model_name_or_path"], adapter["revision"]) == (str(final / "base"), None)
