"""What became of a student that was to be promoted, and how it is told: to the log, and to Prefect's page."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pipeline.terminal.markdown import markdown_table

if TYPE_CHECKING:
    from pipeline.promotion.paired import Comparison

SHOWN_METRICS = {
    "auroc": "AUROC",
    "f1": "F1",
    "accuracy": "accuracy",
    "average_precision": "average precision",
    "ndcg@10": "nDCG@10",
}

Verdict = Literal["promoted", "accepted", "unchanged", "refused"]
_TITLES: dict[Verdict, str] = {
    "promoted": "promoted",
    "accepted": "fit for promotion (`flipkd promote`)",
    "unchanged": "nothing to do",
    "refused": "not promoted",
}


@dataclass(frozen=True)
class Outcome:
    """What became of a student.

    Attributes:
        verdict: `promoted`; `accepted`: would have been, but nothing was to be moved; `unchanged`: it is the one
            in use; `refused`.
        name: of the link `current/<name>`. key: of the new export. previous: of the one in use before.
        reason: one English sentence, without its final stop.
        comparison: None where there was nothing to compare.
    """

    verdict: Verdict
    name: str
    key: str
    previous: str | None
    reason: str
    comparison: Comparison | None = None

    @property
    def promoted(self) -> bool:
        return self.verdict == "promoted"

    @property
    def refused(self) -> bool:
        return self.verdict == "refused"


def sentence(outcome: Outcome) -> str:
    """The verdict and its reason, for the log and the terminal."""
    return f"{outcome.name}: {_TITLES[outcome.verdict]}: {outcome.reason}"


def markdown(outcome: Outcome) -> str:
    """For Prefect's page."""
    previous, found = outcome.previous, outcome.comparison
    rows = {"student": f"`{outcome.key}`", "in use before": f"`{previous}`" if previous else "none"}
    if found is not None and found.problem is None:
        metric = f"{found.score} {SHOWN_METRICS[found.metric]}"
        rows[f"{metric}, new"] = number(found.new)
        rows[f"{metric}, in use"] = number(found.current)
        rows["difference"] = f"{signed(found.difference)} ({signed(found.low)} to {signed(found.high)})"
    if found is not None:
        matching = f", of which {found.positives} match" if found.unit == "pairs" else ""
        rows[f"{found.unit} compared"] = f"{found.pairs}{matching}"
        rows[f"{found.unit} left out"] = f"{found.left_out}, on which the student in use was trained or tuned"
        rows[f"{found.unit} scored for this"] = str(found.scored_again)
    table, reason = markdown_table(["", ""], rows.items()), html.escape(outcome.reason, quote=False)
    return f"## {outcome.name}: {_TITLES[outcome.verdict]}\n\n{reason}.\n\n{table}"


def number(value: float | None) -> str:
    """`0.812`; a dash where there is none."""
    return "–" if value is None else f"{value:.3f}"


def signed(value: float | None) -> str:
    """`+0.006`; what rounds to nothing is `+0.000`, not `-0.000`."""
    return "–" if value is None else f"{round(value, 3) + 0.0:+.3f}"
