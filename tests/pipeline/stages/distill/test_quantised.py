"""A base in 8 or 4 bits: trained, exported, and read as it was trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bitsandbytes.nn.modules import Linear4bit, Linear8bitLt
from sentence_transformers import CrossEncoder, SentenceTransformer
from transformers import AutoModelForCausalLM

from data.errors import FlipkdError
from models.student.flipkd_student import FlipkdStudent
from models.student.folder import assemble, set_decision
from models.student.load import load_student
from models.student.reranker import write_reranker
from models.student.student import Student, load_base, restored
from models.student.trial import Trial, try_student
from pipeline.stages.distill.build import build
from pipeline.stages.distill.job import Job, train_job
from pipeline.stages.export.clean_process import check_in_clean_process
from tests.models.student.test_folder import FUSION
from tests.pipeline.stages.distill.jobs import job, probability_of_yes

PAIRS = [("the card a", "the card b"), ("a fever a", "the dose c"), ("my child", "lost h")]
LORA = {"rank": 8, "alpha": 16, "last_layers": 1}


@pytest.fixture(scope="module", params=["int8", "nf4"])
def trained(request: pytest.FixtureRequest, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The job, its summary and the folder `student/`."""
    folder = tmp_path_factory.mktemp(request.param)
    one = job(folder, base, base=request.param, lora=LORA)
    summary = train_job(one)
    student = folder / "student"
    assemble(student, one.out, base, base_name="tiny", revision=None, final=student)
    return one, summary, student


def as_trained(one: Job) -> Student:
    lm, tokenizer = load_base(one.base, base=one.config.base)
    student = build(lm, tokenizer, one.config).eval()
    student.load_adapter(restored(one.out))
    return student


def test_linear_layers_are_held_in_few_bits_and_a_and_b_in_full(trained: tuple[Job, dict[str, Any], Path]) -> None:
    one, summary, _ = trained
    layer = as_trained(one).lm.get_base_model().model.layers[0].self_attn.q_proj
    kind = {"int8": Linear8bitLt, "nf4": Linear4bit}[one.config.base]
    assert isinstance(layer.get_base_layer(), kind)
    assert layer.lora_A["default"].weight.dtype == layer.lora_B["default"].weight.dtype == torch.float32
    assert summary["dev_encoder_auroc"] > 0.9
    assert json.loads((one.out / "student.json").read_text("utf-8"))["base"] == one.config.base


def test_what_is_kept_of_it_is_not_taken_for_that_of_the_whole_base(
    trained: tuple[Job, dict[str, Any], Path], base: Path, tmp_path: Path
) -> None:
    one, *_ = trained
    whole = job(tmp_path, base, lora=LORA)
    train_job(whole)
    kept = [
        {path.name for path in folder.iterdir() if path.is_dir()}
        for folder in (one.activations, whole.activations)
    ]
    assert kept[0]
    assert not kept[0] & kept[1]


def test_it_is_tried_like_any_other(trained: tuple[Job, dict[str, Any], Path]) -> None:
    one, *_ = trained
    lm, tokenizer = load_base(one.base, base=one.config.base)
    assert try_student(build(lm, tokenizer, one.config)) == Trial()


def test_the_students_folder_is_loaded_as_it_was_trained(trained: tuple[Job, dict[str, Any], Path]) -> None:
    one, _, folder = trained
    student = load_student(folder)
    found = student.match(PAIRS)
    prompt, lm = student.prompt, as_trained(one).lm
    texts = [prompt.texts(list(pair)) for pair in PAIRS]
    # int8 takes columns with an outlier apart, and which these are is a matter of the batch.
    tolerance = 1e-5 if one.config.base == "nf4" else 0.01
    np.testing.assert_allclose(
        found["decoder"], [probability_of_yes(lm, prompt, *pair) for pair in texts], atol=tolerance
    )
    whole = FlipkdStudent.load(str(folder), model_kwargs={"quantization_config": None})
    assert np.abs(whole.match(PAIRS)["decoder"] - found["decoder"]).max() > 1e-5
    by_library = SentenceTransformer(str(folder), trust_remote_code=True, device="cpu")
    vectors = by_library.encode([a for a, _ in PAIRS])
    np.testing.assert_allclose(vectors, student.embed([a for a, _ in PAIRS]), atol=10 * tolerance)


def test_the_reranker_holds_the_rounded_weights_in_full(
    trained: tuple[Job, dict[str, Any], Path], tmp_path: Path
) -> None:
    one, _, folder = trained
    student = load_student(folder)
    write_reranker(student, folder, tmp_path / "reranker", "fp32")
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "reranker")
    assert not getattr(plain, "is_quantized", False)
    model = CrossEncoder(str(tmp_path / "reranker"), device="cpu")
    mean = (model.predict(PAIRS) + model.predict([(b, a) for a, b in PAIRS])) / 2
    # The product of int8 rounds the input too, which a plain model does not.
    tolerance = 1e-5 if one.config.base == "nf4" else 0.02
    np.testing.assert_allclose(mean, student.match(PAIRS)["decoder"], atol=tolerance)


def test_whoever_gets_it_is_told_what_it_needs(
    trained: tuple[Job, dict[str, Any], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _, folder = trained
    readme = (folder / "README.md").read_text("utf-8")
    assert f"The base was held in {one.config.base} (bitsandbytes)" in readme
    assert "`pip install bitsandbytes`" in readme
    for module in ("quantizer_bnb_4bit", "quantizer_bnb_8bit"):
        monkeypatch.setattr(f"transformers.quantizers.{module}.is_bitsandbytes_available", lambda *_: False)
    with pytest.raises(FlipkdError, match=r"the student cannot be loaded: .*bitsandbytes"):
        load_student(folder)


def test_a_clean_process_gives_the_same_numbers_by_peft_too(trained: tuple[Job, dict[str, Any], Path]) -> None:
    *_, folder = trained
    set_decision(folder, {"thresholds": {"fused": 0.5}, "fusion": FUSION})
    reported = load_student(folder).match(PAIRS)
    found = check_in_clean_process(folder, PAIRS, reported)
    assert found["peft"] <= (1e-4 if folder.parent.name.startswith("nf4") else 0.05)
