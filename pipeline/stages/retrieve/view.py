"""Retrieval as people read it: a Markdown table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.terminal.markdown import markdown_table

TITLES = {
    "teacher": "teacher",
    "encoder_untrained": "student before training, encoder",
    "encoder": "student, encoder",
    "decoder": "student, first {candidates} by the decoder",
    "fused": "student, first {candidates} by the fused score",
}
CLUSTERING = {
    "v_measure": "v-measure",
    "adjusted_mutual_information": "adjusted mutual information",
    "adjusted_rand": "adjusted Rand index",
}
METRICS = {"recall@1": "recall@1", "recall@5": "recall@5", "mrr@10": "MRR@10", "ndcg@10": "nDCG@10"}


def markdown(result: Mapping[str, Any]) -> str:
    """A row for each ranking with 95 % intervals, and one for the clusters of each view of the questions.

    Args:
        result: what `retrieval.json` holds.
    """
    head = ["", *METRICS.values(), "nDCG@10 - teacher's"]
    lines = []
    for name, found in result["scores"].items():
        gap = result["against_teacher"].get(name)
        cells = [_value(found[metric]) for metric in METRICS]
        lines.append([TITLES[name].format(**result), *cells, _value(gap["ndcg@10"], "+.3f") if gap else ""])
    drawn = "" if result["queries"] == result["queries_there"] else f", drawn from {result['queries_there']}"
    return (
        f"{result['queries']} questions{drawn}, to {result['entries']} FAQ entries "
        f"({result['catalogue_questions']} catalogue questions); 95 % intervals in brackets\n\n"
        + markdown_table(head, lines)
        + _clusters(result.get("clustering", {}))
    )


def _clusters(found: Mapping[str, Any]) -> str:
    if not found:
        return ""
    lines = [
        [TITLES[name], *(f"{own[metric]['value']:.3f} ± {own[metric]['deviation']:.3f}" for metric in CLUSTERING)]
        for name, own in found["scores"].items()
    ]
    return (
        f"\n{found['questions']} questions in {found['clusters']} clusters by k-means, mean and deviation over "
        "ten beginnings\n\n" + markdown_table(["", *CLUSTERING.values()], lines)
    )


def _value(found: Mapping[str, float], form: str = ".3f") -> str:
    return f"{found['value']:{form}} ({found['low']:{form}} to {found['high']:{form}})"
