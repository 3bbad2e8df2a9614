"""The file that travels with a student: prompts, pooling, adapter and scores, each computed a second way."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from safetensors.numpy import load_file
from sentence_transformers import SentenceTransformer
from tokenizers.processors import TemplateProcessing
from torch.nn import functional
from transformers import AutoModelForCausalLM, AutoTokenizer

from models.student.flipkd_student import FlipkdStudent, PairPrompt, add_lora, answer_head, fused, pool
from models.student.student import load_base
from tests.models.student.test_student import PAIRS, SPEC
from tests.tiny import tiny_student


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_student(tmp_path_factory.mktemp("models") / "student")


@pytest.mark.parametrize("template", [SPEC.template, "{a}|{b}", "Is {a}\nthe same as {b}? Say:"])
def test_a_prompt_says_what_the_filled_in_template_says(base: Path, template: str):
    tokenizer = AutoTokenizer.from_pretrained(base)
    prompt = PairPrompt(tokenizer, template, SPEC.answers, 64)
    for a, b in PAIRS:
        first, second = prompt.texts([a, b])
        ids = prompt.pair(first, second)
        assert tokenizer.decode(ids) == template.format(a=a, b=b)
        assert ids[len(prompt.head) :][: len(first)] == first
    assert [tokenizer.decode([answer]) for answer in prompt.answers] == [" no", " yes"]


def test_prompt_is_cut_at_the_text_and_keeps_its_parts(base: Path):
    tokenizer = AutoTokenizer.from_pretrained(base)
    prompt = PairPrompt(tokenizer, SPEC.template, SPEC.answers, 5)
    text = prompt.texts(["a very long text that goes on and on"])[0]
    assert len(text) == 5
    whole = prompt.pair(text, prompt.texts(["b"])[0])
    assert whole[: len(prompt.alone(text))] == prompt.alone(text)
    assert tokenizer.decode(whole).endswith("Do the two texts ask the same thing?")
    with pytest.raises(ValueError, match="same token"):
        PairPrompt(tokenizer, SPEC.template, (" yes", " yes"), 5)


def test_a_tokenizers_first_token_begins_the_prompt_and_its_last_does_not_end_it(base: Path):
    tokenizer = AutoTokenizer.from_pretrained(base)
    plain = PairPrompt(tokenizer, SPEC.template, SPEC.answers, 5)
    ends = [("<s>", tokenizer.bos_token_id), ("</s>", tokenizer.eos_token_id)]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing("<s> $A </s>", special_tokens=ends)
    assert tokenizer("").input_ids == [number for _, number in ends]
    prompt = PairPrompt(tokenizer, SPEC.template, SPEC.answers, 5)
    assert prompt.head == [tokenizer.bos_token_id, *plain.head]
    assert prompt.pair([5], [6])[1:] == plain.pair([5], [6])


TURNED = "Text 1: {b}\nstands in the FAQ. {a}\nis asked. Does it answer?"


def test_sides_with_wordings_of_their_own(base: Path):
    tokenizer = AutoTokenizer.from_pretrained(base)
    template = "Text 1: {a}\nis asked. {b}\nstands in the FAQ. Does it answer?"
    prompt = PairPrompt(tokenizer, template, SPEC.answers, 64, TURNED)
    firsts, seconds = (prompt.texts([pair[side] for pair in PAIRS]) for side in (0, 1))
    found = [tokenizer.decode(ids) for ids in prompt.prompts(firsts, seconds)]
    assert found == [text.format(a=a, b=b) for text in (template, TURNED) for a, b in PAIRS]
    assert prompt.overhead == max(len(ids) for ids in prompt.prompts([[]], [[]]))
    plain = PairPrompt(tokenizer, template, SPEC.answers, 64)
    assert [tokenizer.decode(ids) for ids in plain.prompts(firsts, seconds)] == [
        *found[: len(PAIRS)],
        *(template.format(a=b, b=a) for a, b in PAIRS),
    ]


def test_asked_in_one_order_the_second_text_stands_alone(base: Path):
    prompt = PairPrompt(AutoTokenizer.from_pretrained(base), SPEC.template, SPEC.answers, 64, orders="one")
    firsts, seconds = (prompt.texts([pair[side] for pair in PAIRS]) for side in (0, 1))
    prompts = prompt.prompts(firsts, seconds)
    assert prompts == [*map(prompt.pair, firsts, seconds), *map(prompt.alone, seconds)]
    logits = torch.arange(4.0 * len(PAIRS)).sin().view(-1, 2)
    assert prompt.answered(logits).tolist() == logits[: len(PAIRS)].tolist()
    expected = [(yes.exp() / (no.exp() + yes.exp())).item() for no, yes in logits[: len(PAIRS)]]
    assert prompt.probability(prompt.answered(logits)).tolist() == pytest.approx(expected)


def test_prompts_are_padded_on_the_right(base: Path):
    prompt = PairPrompt(AutoTokenizer.from_pretrained(base), SPEC.template, SPEC.answers, 5)
    ids, mask = prompt.pad([[5, 6, 7], [8]])
    assert ids.tolist() == [[5, 6, 7], [8, prompt.pad_id, prompt.pad_id]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]
    assert prompt.texts([]) == []


def test_pool_by_hand():
    outputs = [torch.tensor([[[1.0, 0.0], [3.0, 0.0], [0.0, 4.0], [9.0, 9.0]]])]
    mean = pool(outputs, 1, torch.tensor([2]), "mean")
    np.testing.assert_allclose(mean.numpy(), [[1.5 / 2.5, 2 / 2.5]], rtol=1e-6)
    np.testing.assert_allclose(pool(outputs, 1, torch.tensor([2]), "last").numpy(), [[0.0, 1.0]], rtol=1e-6)


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_pool_equals_numpy_text_by_text(pooling: str):
    draw = np.random.default_rng(0)
    outputs, start, lengths = draw.normal(size=(3, 4, 9, 5)), 2, [1, 4, 7, 2]
    found = pool(list(torch.from_numpy(outputs)), start, torch.tensor(lengths), pooling)
    for row, length in enumerate(lengths):
        texts = outputs[:, row, start : start + length]
        expected = np.concatenate(texts.mean(1) if pooling == "mean" else texts[:, -1])
        np.testing.assert_allclose(found[row], expected / np.linalg.norm(expected), rtol=1e-5)
    assert found.dtype == torch.float32


def test_add_lora_is_pefts_own_layer(base: Path):
    """Logits of the same adapter by peft, and A x of the sites from what goes into peft's layers."""
    ids = torch.tensor([[5, 6, 7, 8], [9, 10, 11, 12]])
    torch.manual_seed(0)
    config = LoraConfig(r=4, lora_alpha=12, target_modules=["q_proj", "down_proj"], lora_dropout=0.0)
    of_peft: Any = get_peft_model(AutoModelForCausalLM.from_pretrained(base), config).eval()
    for name, parameter in of_peft.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    sites = ["model.layers.0.self_attn.q_proj", "model.layers.1.mlp.down_proj"]
    expected: dict[str, torch.Tensor] = {}
    for site in sites:
        layer = of_peft.get_base_model().get_submodule(site)
        layer.register_forward_pre_hook(
            lambda module, args, site=site: expected.update({site: args[0] @ module.lora_A["default"].weight.T})
        )
    lm = AutoModelForCausalLM.from_pretrained(base).eval()
    with torch.inference_mode():
        untouched = lm(input_ids=ids).logits
        own = add_lora(lm, get_peft_model_state_dict(of_peft), 12 / 4, sites)
        logits = lm(input_ids=ids).logits
        torch.testing.assert_close(logits, of_peft(input_ids=ids).logits, atol=1e-5, rtol=1e-5)
    assert (logits - untouched).abs().max() > 0.01
    assert own.kept.keys() == set(sites)
    for site in sites:
        torch.testing.assert_close(own.kept[site], expected[site], atol=1e-5, rtol=1e-5)


def test_answers_equal_the_full_vocabularys(base: Path):
    lm, _ = load_base(base)
    ids = torch.tensor([[5, 6, 7, 1], [8, 9, 10, 11]])
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]])
    full = lm(input_ids=ids, attention_mask=mask)
    hidden = lm.base_model(input_ids=ids, attention_mask=mask).last_hidden_state
    expected = torch.stack([full.logits[0, 2, [3, 4]], full.logits[1, 3, [3, 4]]])
    torch.testing.assert_close(answer_head(lm, [3, 4])(hidden, mask), expected)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("Granite", {"logits_scaling": 8.0}),
        ("Cohere", {"logit_scale": 0.0625}),
        ("Gemma2", {"final_logit_softcapping": 0.1, "head_dim": 8}),
        ("Llama", {}),
    ],
)
def test_a_head_that_scales_or_caps_decides_by_itself(name: str, settings: dict[str, Any]) -> None:
    import transformers

    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
    config = getattr(transformers, f"{name}Config")(
        vocab_size=50, num_key_value_heads=2, pad_token_id=0, **sizes, **settings
    )
    lm = getattr(transformers, f"{name}ForCausalLM")(config).eval()
    ids, mask = torch.tensor([[5, 6, 7, 0], [8, 9, 10, 11]]), torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]])
    with torch.no_grad():
        hidden = lm.base_model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        full = lm(input_ids=ids, attention_mask=mask, use_cache=False).logits
    expected = torch.stack([full[0, 2, [7, 2]], full[1, 3, [7, 2]]])
    hidden.requires_grad_()
    found = answer_head(lm, [7, 2])(hidden, mask)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)
    found.sum().backward()
    assert hidden.grad is not None
    assert hidden.grad[0, 2].any()
    assert not hidden.grad[0, 3].any()


def test_a_head_with_a_bias(base: Path):
    lm, _ = load_base(base)
    hidden, mask = torch.randn(2, 3, 32), torch.tensor([[1, 1, 0], [1, 1, 1]])
    head = torch.nn.Linear(32, lm.config.vocab_size)
    lm.set_output_embeddings(head)
    logits = functional.linear(torch.stack([hidden[0, 1], hidden[1, 2]]), head.weight, head.bias)[:, [7, 2]]
    torch.testing.assert_close(answer_head(lm, [7, 2])(hidden, mask), logits)


def test_fused_is_a_sigmoid_and_survives_certainty():
    decoder, encoder = np.array([0.0, 0.5, 1.0], np.float32), np.array([-1.0, 0.0, 1.0], np.float32)
    found = fused(decoder, encoder, {"intercept": 0.5, "decoder": 2.0, "encoder": 3.0})
    logit = np.log(np.array([1e-6, 0.5, 1 - 1e-6]) / np.array([1 - 1e-6, 0.5, 1e-6]))
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-(0.5 + 2 * logit + 3 * encoder))), rtol=1e-5)


ENTRIES = [
    "freeze a card", "lost card", "fever of a child", "dose of a pill", "pay a loan", "open an account",
    "close an account",
]  # fmt: skip
QUERIES = ["how do i freeze my card", "what dose for my child"]


def new_student(base: Path, decision: dict[str, Any] | None = None, seed: int = 0) -> Any:
    """A student with a random adapter on the query projections of both layers."""
    draw = torch.Generator().manual_seed(seed)
    sites = [f"model.layers.{layer}.self_attn.q_proj" for layer in range(2)]
    weights = {
        f"base_model.model.{site}.lora_{part}.weight": torch.randn(shape, generator=draw) * 0.3
        for site in sites
        for part, shape in (("A", (4, 32)), ("B", (32, 4)))
    }
    settings = {
        "template": SPEC.template, "answers": SPEC.answers, "max_length": 16, "sites": sites, "pooling": "mean",
        "scaling": 2.0,
    }  # fmt: skip
    lm, tokenizer = AutoModelForCausalLM.from_pretrained(base), AutoTokenizer.from_pretrained(base)
    return FlipkdStudent(lm, tokenizer, weights, settings, decision).eval()


@pytest.fixture(scope="module")
def student(base: Path) -> Any:
    return new_student(base)


def test_search_ranks_by_the_encoder_and_its_first_by_the_decoder(student: Any) -> None:
    found = student.search(QUERIES, ENTRIES, k=2, candidates=4)
    for query, best in zip(QUERIES, found, strict=True):
        every = student.match([(query, entry) for entry in ENTRIES])
        first = sorted(range(len(ENTRIES)), key=lambda n: -every["encoder"][n])[:4]
        expected = sorted(first, key=lambda n: -every["decoder"][n])[:2]
        assert [row["entry"] for row in best] == expected
        for row in best:
            assert row["decoder"] == pytest.approx(every["decoder"][row["entry"]], abs=1e-5)
            assert row["encoder"] == pytest.approx(every["encoder"][row["entry"]], abs=1e-5)


def test_with_a_decision_the_fused_score_decides(base: Path) -> None:
    decision = {"thresholds": {"fused": 0.5}, "fusion": {"intercept": 0.0, "decoder": 0.0, "encoder": -1.0}}
    best = new_student(base, decision).search(QUERIES[:1], ENTRIES, k=len(ENTRIES) + 3)[0]
    assert len(best) == len(ENTRIES)
    assert [row["encoder"] for row in best] == sorted(row["encoder"] for row in best)  # the farthest first
    assert all(row["fused"] >= after["fused"] for row, after in itertools.pairwise(best))


def test_vectors_are_those_of_sentence_transformers(student: Any) -> None:
    expected = SentenceTransformer(modules=[student], device="cpu").encode(
        [*QUERIES, *ENTRIES], normalize_embeddings=True
    )
    np.testing.assert_allclose(student.embed([*QUERIES, *ENTRIES], batch_size=3), expected, atol=1e-6)


def test_an_index_is_kept_and_made_anew_for_other_entries_or_another_student(
    base: Path, student: Any, tmp_path: Path
) -> None:
    path = tmp_path / "faq.safetensors"
    vectors = student.index(ENTRIES, path)
    np.testing.assert_array_equal(load_file(path)["entries"], vectors)
    before = path.stat().st_mtime_ns
    np.testing.assert_array_equal(student.index(ENTRIES, path), vectors)
    assert path.stat().st_mtime_ns == before
    assert student.index(ENTRIES[::-1], path).shape == vectors.shape
    np.testing.assert_allclose(load_file(path)["entries"], vectors[::-1], atol=1e-6)
    other = new_student(base, seed=1)
    assert np.abs(other.index(ENTRIES[::-1], path) - vectors[::-1]).max() > 1e-3
    assert [file.name for file in tmp_path.iterdir()] == ["faq.safetensors"]
