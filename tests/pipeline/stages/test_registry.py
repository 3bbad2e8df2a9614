from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config.location import store_of
from pipeline.runner.plan import plan
from pipeline.stages.registry import ALL_STAGES, STAGES, sentence
from tests.tiny import tiny_config


def test_every_stage_of_a_run_says_its_numbers(tiny_run: Path):
    config = tiny_config(tiny_run)
    store = store_of(config)
    told = {step.stage: sentence(store.manifest(step.stage, step.key)) for step in plan(config)}
    summaries = {step.stage: store.manifest(step.stage, step.key).summary for step in plan(config)}
    assert told.keys() == STAGES.keys()
    assert f"{summaries['score']['pairs']} pairs of {summaries['score']['texts']} texts" in told["score"]
    assert f"{summaries['filter']['train_kept']['positive']} positive" in told["filter"]
    assert f"encoder {summaries['distill']['dev_encoder_auroc']:.3f}" in told["distill"]
    assert f"fused {summaries['export']['metrics']['fused']['auroc']:.3f}" in told["export"]
    assert f"untouched {summaries['teach']['dev_untouched']['auroc']:.3f}" in told["teach"]


@pytest.mark.parametrize(
    ("stage", "summary", "expected"),
    [
        ("teach", {"dev_untouched": None, "dev_tuned": None, "kept": "untouched"}, "taken as it is"),
        ("score", {"pairs": 3, "texts": 5, "auroc": {"test": None}}, "3 pairs of 5 texts"),
        (
            "filter",
            {"enabled": False, "train_kept": {"positive": 1, "negative": 2}, "bounds": {}},
            "train keeps 1 positive, 2 negative; bounds not applied",
        ),
        (
            "measure",
            {"test": {"encoder": {"auroc": 0.75}, "fused": {"brier": 0.1}}},
            "test AUROC encoder 0.750",
        ),
        (
            "retrieve",
            {"queries": 3, "entries": 5, "metrics": {"teacher": {"ndcg@10": 0.5}, "fused": {"ndcg@10": 0.25}}},
            "3 questions to 5 FAQ entries, nDCG@10: teacher 0.500, fused 0.250",
        ),
        (
            "attribution",
            {
                "best_input": {"auroc": 0.5, "layer": 1, "module": "q_proj"},
                "best_adapter": {"auroc": 0.75, "layer": 2, "module": "k_proj"},
            },
            "best dev AUROC of one site: A's output 0.750 (layer 2, k_proj), "
            "its plain input 0.500 (layer 1, q_proj)",
        ),
    ],
)
def test_what_is_not_measured_is_not_told(stage: str, summary: dict[str, object], expected: str):
    assert ALL_STAGES[stage].sentence(summary) == expected
