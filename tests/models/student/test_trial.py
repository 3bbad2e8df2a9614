"""What two pairs show of a student before it is trained: over architectures, and with each fault planted."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoTokenizer

from models.student.sites import linear_layers, module_name
from models.student.student import Student, build_student, load_base
from models.student.trial import Trial, try_student
from tests.checkout import ROOT
from tests.models.student.architectures import UNKEPT, WORKS, tiny_lm
from tests.models.student.test_student import SPEC
from tests.tiny import tiny_student

CASES = ROOT.parent / "shared" / "cases" / "architectures.json"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_student(tmp_path_factory.mktemp("models") / "student")


@pytest.fixture(scope="module")
def tokenizer(base: Path) -> Any:
    return AutoTokenizer.from_pretrained(base)


def built(lm: Any, tokenizer: Any, site: str, **changes: Any) -> Student:
    own = {"modules": [site], "adapted_last_layers": 1, "site_modules": [site], "site_last_layers": None}
    return build_student(lm, tokenizer, dataclasses.replace(SPEC, **(own | changes)))


@pytest.mark.parametrize("read", ["lora_a", "hidden"])
@pytest.mark.parametrize("name", WORKS)
def test_architectures_with_equal_numbers_in_every_way(tokenizer: Any, name: str, read: str) -> None:
    settings, site = WORKS[name]
    lm = tiny_lm(name, settings, len(tokenizer))
    assert try_student(built(lm, tokenizer, site, read=read)) == Trial()


@pytest.mark.parametrize("name", UNKEPT)
def test_architectures_whose_activations_are_not_kept(tokenizer: Any, name: str) -> None:
    settings, site = UNKEPT[name]
    trial = try_student(built(tiny_lm(name, settings, len(tokenizer)), tokenizer, site))
    assert trial.problem is None
    assert trial.kept is not None
    assert "below the adapters cannot be kept" in trial.kept


@pytest.mark.skipif(not CASES.is_file(), reason="the list of architectures is not here")
def test_every_architecture_that_people_met_works_or_says_why_not(tokenizer: Any) -> None:
    """No traceback: numbers that agree, or a refusal in words."""
    for case in json.loads(CASES.read_text("utf-8")):
        try:
            config = getattr(transformers, case["config"])(vocab_size=len(tokenizer), **case["settings"])
            torch.manual_seed(0)
            lm = getattr(transformers, case["model"])(config).eval()
        except ValueError:
            continue  # transformers itself does not build it
        layers = linear_layers(lm)
        modules = sorted({module_name(layer) for layer in layers})
        site = next((name for name in ("q_proj", "query_key_value", "c_attn") if name in modules), modules[0])
        said: str | None
        try:
            said = try_student(built(lm, tokenizer, site, modules="all-linear")).problem
        except ValueError as error:  # peft's or ours, from building
            said = str(error)
        assert said is None or len(said.split()) > 5, case["name"]


def test_a_student_stays_as_it_was(base: Path) -> None:
    lm, tokenizer = load_base(base)
    torch.manual_seed(3)
    student = built(lm, tokenizer, "q_proj", dropout=0.1).train()
    before, drawn = student.adapter(), torch.get_rng_state()
    assert try_student(student) == Trial()
    after = student.adapter()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(torch.get_rng_state(), drawn)
    assert student.training
    assert all(parameter.grad is None for parameter in student.parameters())


def test_a_model_that_sees_what_comes_later_is_refused(base: Path) -> None:
    lm, tokenizer = load_base(base)
    student = built(lm, tokenizer, "q_proj")

    def looks_ahead(_module: Any, _args: Any, output: torch.Tensor) -> torch.Tensor:
        return output + 0.5 * output.roll(-1, dims=1)

    lm.model.embed_tokens.register_forward_hook(looks_ahead)
    problem = try_student(student).problem
    assert problem is not None
    assert "beside padding and alone" in problem or "of the text alone" in problem or "text alone" in problem


def test_a_head_that_is_read_wrongly_is_refused(base: Path) -> None:
    lm, tokenizer = load_base(base)
    student = built(lm, tokenizer, "q_proj")
    plain = student._answers
    student._answers = lambda hidden, mask: 8 * plain(hidden, mask)
    problem = try_student(student).problem
    assert problem is not None
    assert problem.startswith("its numbers by its own head and by flipkd's reading of it differ by")


def test_adapters_that_learn_nothing_are_refused(base: Path) -> None:
    lm, tokenizer = load_base(base)
    student = built(lm, tokenizer, "q_proj")
    lm.model.layers[1].register_forward_hook(
        lambda _m, _a, out: tuple(o.detach() for o in out) if isinstance(out, tuple) else out.detach()
    )
    for site in student.sites:
        student.lm.get_base_model().get_submodule(site).lora_A["default"].register_forward_hook(
            lambda _m, _a, out: out.detach()
        )
    problem = try_student(student).problem
    assert problem is not None
    assert "grad" in problem


def test_kept_activations_that_differ_are_not_used(base: Path) -> None:
    """A block that adds to its input what depends on nothing kept: whoever begins behind it misses that."""
    lm, tokenizer = load_base(base)
    student = built(lm, tokenizer, "q_proj")
    calls: list[int] = []

    def another_every_time(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        calls.append(1)
        return (args[0] + 0.3 * (len(calls) % 5 > 0), *args[1:]), kwargs

    lm.model.layers[0].register_forward_pre_hook(another_every_time, with_kwargs=True)
    trial = try_student(student)
    assert trial.problem or trial.kept


def test_layers_that_peft_gives_no_adapter_are_named(tokenizer: Any) -> None:
    settings = {
        **WORKS["Llama"][0], "num_key_value_heads": 4, "n_routed_experts": 4, "n_shared_experts": 1, "n_group": 1,
        "topk_group": 1, "first_k_dense_replace": 1, "num_experts_per_tok": 2, "moe_intermediate_size": 32,
        "kv_lora_rank": 8, "q_lora_rank": 16, "qk_rope_head_dim": 4, "qk_nope_head_dim": 4, "v_head_dim": 8,
    }  # fmt: skip
    lm = tiny_lm("DeepseekV3", settings, len(tokenizer))
    with pytest.raises(ValueError, match=r"peft gives .*shared_experts.* no adapter of its own"):
        built(lm, tokenizer, "down_proj", site_last_layers=1)
