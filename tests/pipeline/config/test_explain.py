"""The line that each wrong key of a config gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from data.errors import FlipkdError
from pipeline.comparison.config import load_comparison
from tests.pipeline.config.test_load import GOOD, message, write

# Each: what is written, and how the line begins that the user reads.
WRONG = [
    ("filter: {tau_pos: 1.4}", "filter.tau_pos: 1.4 is not allowed; it must be a number from -1 to 1"),
    ("filter: {tau_pos: {quantile: 2}}", "filter.tau_pos.quantile: 2 is not allowed; it must be a number from 0"),
    ("filter: {tau_pos: {}}", "filter.tau_pos: give a number, or exactly one of value, quantile, precision"),
    ("fliter: {}", "fliter: unknown key; did you mean filter? Known here: preset, store, seed, prepare"),
    ("distill: {lora: {rnak: 3}}", "distill.lora.rnak: unknown key; did you mean rank? Known here: rank, alpha"),
    ("distill: {lora: {rank: many}}", 'distill.lora.rank: "many" is not allowed; it must be a whole number'),
    ("distill: {lora: {rank: 0}}", "distill.lora.rank: 0 is not allowed; it must be a whole number from 1 to"),
    ("distill: {lora: {modules: 3}}", 'distill.lora.modules: 3 is not allowed; it must be a list of text or "all'),
    ("distill: {objective: flop}", 'distill.objective: "flop" is not allowed; it must be one of "flip", "sft"'),
    ("distill: {prompt: {answers: [no, '1']}}", "distill.prompt.answers.0: false is not allowed; it must be text"),
    ("distill: {prompt: {template: x}}", "distill.prompt: template must hold {a} and {b} once each"),
    ("distill: {max_grad_norm: .inf}", "distill.max_grad_norm: Infinity is not allowed; it must be a number, a"),
    ("teach: 3", "teach: 3 is not allowed; it must be a mapping with the keys model, trust_remote_code"),
    ("seed: true", "seed: true is not allowed; it must be a whole number, at least 0 and below 2147483648"),
    ("teach: {max_length: no}", "teach.max_length: false is not allowed; it must be a whole number, at least 8"),
    ("filter: {tau_pos: {value: yes}}", "filter.tau_pos.value: true is not allowed; it must be a number from -1"),
    ("filter: {tau_accept: 0.2, tau_reject: 0.9}", "filter: tau_reject must not lie above tau_accept"),
    ("distill: {weights: {ce: 0, mcl: 0, dist: 0}}", "distill.weights: at least one weight must be above 0"),
    ("distill: {prompt: {answers: [' yes']}}", "distill.prompt.answers.1: missing; it must be text"),
    ("seed: a", 'seed: "a" is not allowed; it must be a whole number, at least 0 and below 2147483648'),
]  # fmt: skip


@pytest.mark.parametrize(("written", "line"), WRONG)
def test_wrong_values_name_the_key_and_what_is_allowed(tmp_path: Path, written: str, line: str) -> None:
    said = message(write(tmp_path, f"{GOOD}{written}\n")).splitlines()
    assert said[0].endswith("1 problem in the config")
    assert said[1].startswith(f"  {line}")
    assert len(said) == 2


@pytest.mark.parametrize(
    ("inputs", "line"),
    [
        ("[{kind: pairs, path: x, labl: y}]", "prepare.inputs.0.labl: unknown key; did you mean label?"),
        (
            "[{kind: pears, path: x}]",
            'prepare.inputs.0.kind: "pears" is not allowed; it must be catalogue, pairs, retrieval, texts or '
            "utterances",
        ),
        (
            "[{path: x}]",
            "prepare.inputs.0.kind: missing; it must be catalogue, pairs, retrieval, texts or utterances",
        ),
        ("[{kind: utterances}]", "prepare.inputs.0.path: missing; it must be text"),
        ("[]", "prepare.inputs: [] is not allowed; it must be a list of at least one entry"),
    ],
)
def test_wrong_inputs(tmp_path: Path, inputs: str, line: str) -> None:
    assert line in message(write(tmp_path, f"prepare: {{inputs: {inputs}}}\n"))


# Where a plain value is short for a section, a message names both notations.
SHORT = [
    (
        "drift: {label_rate: abc}",
        'drift.label_rate: "abc" is not allowed; it must be a number from 0 to 1 or a mapping',
    ),
    (
        "drift: {rejected: {warn: x}}",
        'drift.rejected.warn: "x" is not allowed; it must be a number from 0 to 1 or null',
    ),
    (
        "filter: {tau_pos: wide}",
        'filter.tau_pos: "wide" is not allowed; it must be a number from -1 to 1 or a mapping',
    ),
    (
        "filter: {tau_pos: [0.1]}",
        "filter.tau_pos: [0.1] is not allowed; it must be a number from -1 to 1 or a mapping",
    ),
    (
        "filter: {tau_pos: true}",
        "filter.tau_pos: true is not allowed; it must be a number from -1 to 1 or a mapping",
    ),
    ("promote: 3", "promote: 3 is not allowed; it must be one of "),
    ("preset: big", 'preset: "big" is not allowed; it must be "small_student" or null'),
]


@pytest.mark.parametrize(("written", "line"), SHORT)
def test_short_forms(tmp_path: Path, written: str, line: str) -> None:
    said = message(write(tmp_path, f"{GOOD}{written}\n")).splitlines()
    assert said[1].startswith(f"  {line}")
    assert len(said) == 2


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("datasets: {Demo: demo}\nvariants: {sft: {}}", 'datasets.Demo: "Demo" cannot be a name here'),
        (
            "datasets: {demo: 3}\nvariants: {sft: {}}",
            "datasets.demo: 3 is not allowed; it must be text or a mapping",
        ),
        (
            "datasets: {demo: {confg: demo}}\nvariants: {sft: {}}",
            "datasets.demo.confg: unknown key; did you mean config?",
        ),
        (
            "datasets: {demo: demo}\npreset: papr",
            'preset: "papr" is not allowed; it must be one of "paper", "readings"',
        ),
        (
            "datasets: {demo: demo}\nseeds: [x]\npreset: paper",
            'seeds.0: "x" is not allowed; it must be a whole number',
        ),
        (
            "datasets: {demo: demo}\nresamples: 3\npreset: paper",
            "resamples: 3 is not allowed; it must be a whole number",
        ),
        ("datasets: {demo: demo}", "config: give a preset or variants"),
    ],
)
def test_the_config_of_a_comparison_is_explained_alike(tmp_path: Path, text: str, line: str) -> None:
    with pytest.raises(FlipkdError) as caught:
        load_comparison(write(tmp_path, text))
    assert f"\n  {line}" in str(caught.value)
