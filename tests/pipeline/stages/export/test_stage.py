"""The export in one line."""

from __future__ import annotations

from pipeline.stages.export.stage import STAGE


def test_the_sentence_says_the_aurocs_and_for_a_catalogue_the_ranking() -> None:
    summary = {"split": "test", "metrics": {"teacher": {"auroc": 0.91239}, "decoder": {"auroc": None}}}
    assert STAGE.sentence(summary) == "test AUROC teacher 0.912"
    ranked = summary | {"ndcg@10": {"teacher": 0.8, "encoder": 0.7123}}
    assert STAGE.sentence(ranked) == "test AUROC teacher 0.912; nDCG@10 teacher 0.800, encoder 0.712"
