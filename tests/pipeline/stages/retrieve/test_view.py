"""Retrieval as a Markdown table."""

from __future__ import annotations

from pipeline.stages.retrieve.view import markdown


def numbers(value: float) -> dict[str, dict[str, float]]:
    metrics = ("recall@1", "recall@5", "mrr@10", "ndcg@10")
    return {name: {"value": value, "low": value - 0.1, "high": value + 0.1} for name in metrics}


def test_a_row_for_each_ranking_and_its_gap_to_the_teacher() -> None:
    result = {
        "entries": 77, "catalogue_questions": 80, "queries": 20, "queries_there": 50, "candidates": 10,
        "scores": {"teacher": numbers(0.8), "decoder": numbers(0.75)},
        "against_teacher": {"decoder": numbers(-0.05)},
    }  # fmt: skip
    first, _, *table = markdown(result).splitlines()
    assert first.startswith("20 questions, drawn from 50, to 77 FAQ entries (80 catalogue questions)")
    assert "| teacher | 0.800 (0.700 to 0.900) |" in table[2]
    assert table[3].startswith("| student, first 10 by the decoder | 0.750 (0.650 to 0.850) |")
    assert table[3].rstrip(" |").endswith("-0.050 (-0.150 to +0.050)")
    assert ", drawn from" not in markdown(result | {"queries_there": 20})
