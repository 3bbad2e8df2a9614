"""Whether a new student takes the place of the one in use: compare, decide, move the link, say why.

The student in use stays unless a comparison shows that the new one is not worse.
"""

from __future__ import annotations

import html
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from data.errors import FlipkdError
from pipeline.config.config import Config
from pipeline.config.nightly import PromoteConfig
from pipeline.promotion.history import history, rolled_back
from pipeline.promotion.link import LinkMoved, damage, in_use, linked_key, move, refuse
from pipeline.runner.plan import Step
from pipeline.store.store import Store

if TYPE_CHECKING:
    from pipeline.promotion.paired import Comparison

log = logging.getLogger("flipkd.promote")
SHOWN_METRICS = {"auroc": "AUROC", "f1": "F1", "accuracy": "accuracy", "average_precision": "average precision"}
ROUNDING = 1e-9  # 0.87 - 0.88 is a little below -0.01

Verdict = Literal["promoted", "accepted", "unchanged", "refused"]


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

    def sentence(self) -> str:
        """The verdict and its reason, for the log and the terminal."""
        return f"{self.name}: {_TITLES[self.verdict]}: {self.reason}"

    def markdown(self) -> str:
        """For Prefect's page."""
        rows = {"student": f"`{self.key}`", "in use before": f"`{self.previous}`" if self.previous else "none"}
        found = self.comparison
        if found is not None and found.problem is None:
            metric = f"{found.score} {SHOWN_METRICS[found.metric]}"
            rows[f"{metric}, new"] = _number(found.new)
            rows[f"{metric}, in use"] = _number(found.current)
            rows["difference"] = f"{_signed(found.difference)} ({_signed(found.low)} to {_signed(found.high)})"
        if found is not None:
            rows["pairs compared"] = f"{found.pairs}, of which {found.positives} match"
            rows["pairs left out"] = f"{found.left_out}, on which the student in use was trained or tuned"
            rows["pairs scored for this"] = str(found.scored_again)
        table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
        reason = html.escape(self.reason, quote=False)
        return f"## {self.name}: {_TITLES[self.verdict]}\n\n{reason}.\n\n| | |\n| --- | --- |\n{table}\n"


_TITLES: dict[Verdict, str] = {
    "promoted": "promoted",
    "accepted": "fit for promotion (`flipkd promote`)",
    "unchanged": "nothing to do",
    "refused": "not promoted",
}


def promote_run(config: Config, store: Store, steps: Sequence[Step]) -> Outcome:
    """Compare the student that a run exported with the one in use, and promote it under `promote.mode: auto`.

    Args:
        steps: of the run, `export` among them.

    Raises:
        FlipkdError: the link or the history is broken, or cannot be written. A refusal raises nothing.
    """
    key = next((step.key for step in steps if step.stage == "export"), None)
    if key is None:
        raise FlipkdError("only a run that ends with `export` has a student to promote")
    outcome = promote(config, store, key, change=config.promote.mode == "auto")
    log.info("promote: %s", outcome.sentence())
    return outcome


def promote(config: Config, store: Store, key: str, *, change: bool = True) -> Outcome:
    """Compare an export with the one in use, and put it in its place unless it is worse beyond the tolerance.

    The comparison takes its time and holds no lock; if the link has moved meanwhile, it is made again.

    Args:
        change: False moves and records nothing.

    Raises:
        FlipkdError: the link or the history is broken, or cannot be written. A refusal raises nothing.
    """
    name = config.promote.name
    while True:
        outcome = decide(config, store, key)
        numbers = None if outcome.comparison is None else asdict(outcome.comparison)
        try:
            if change and outcome.verdict == "accepted":
                move(store, name, key, outcome.reason, expected=outcome.previous, comparison=numbers)
                outcome = Outcome("promoted", name, key, outcome.previous, outcome.reason, outcome.comparison)
            elif change and outcome.refused:
                refuse(store, name, key, outcome.previous, outcome.reason, numbers)
        except LinkMoved:
            log.info("promote: the student in use has changed meanwhile: comparing again")
            continue
        return outcome


def force(store: Store, name: str, key: str, reason: str) -> Outcome:
    """Put an export into use without a comparison; a damaged one is refused all the same.

    Raises:
        FlipkdError: what stands in the link's place is not flipkd's, or the store cannot be written.
    """
    while True:
        previous = linked_key(store, name)
        if problem := damage(store, key):
            return Outcome("refused", name, key, previous, problem)
        if previous == key:
            return Outcome("unchanged", name, key, previous, "it is in use already")
        try:
            move(store, name, key, reason, expected=previous, forced=True)
        except LinkMoved:
            continue
        return Outcome("promoted", name, key, previous, f"forced: {reason}")


def decide(config: Config, store: Store, key: str) -> Outcome:
    """What should become of an export; changes nothing. The verdict is never `promoted`.

    Raises:
        FlipkdError: the link or the history is broken.
    """
    name = config.promote.name
    previous = in_use(store, name)
    known = _known_beforehand(store, name, key, previous)
    if known is not None:
        return Outcome(known[0], name, key, previous, known[1])
    from pipeline.promotion.paired import compare

    try:
        found = compare(config, store, key, previous or "")
    except FlipkdError as error:
        reason = f"it cannot be compared with the student in use: {error}; {_FORCE}"
        return Outcome("refused", name, key, previous, reason)
    if found.problem:
        return Outcome("refused", name, key, previous, f"no verdict: {found.problem}; {_FORCE}", found)
    fit, reason = judge(found, config.promote)
    return Outcome("accepted" if fit else "refused", name, key, previous, reason, found)


def _known_beforehand(store: Store, name: str, key: str, previous: str | None) -> tuple[Verdict, str] | None:
    """Verdict and reason where nothing needs to be compared."""
    if problem := damage(store, key):
        return "refused", problem
    if previous == key:
        return "unchanged", "it is in use already"
    if taken_back := rolled_back(history(store, name), previous, key):
        return "refused", f"it was rolled back on {taken_back.time[:10]} ({taken_back.reason}); {_FORCE}"
    if previous is None:
        return "accepted", "no student was in use before"
    return None


_FORCE = "`flipkd promote --force` promotes it all the same"


def judge(found: Comparison, settings: PromoteConfig) -> tuple[bool, str]:
    """Whether a comparison's numbers let the new student take over, and why, in one sentence."""
    numbers = (found.new, found.current, found.difference, found.low, found.high)
    new, current, difference, low, high = (0.0 if number is None else number for number in numbers)
    by_interval = settings.evidence == "interval"
    fit = (low if by_interval else difference) >= -settings.tolerance - ROUNDING
    verdict = f"{'within' if fit else 'worse by more than'} the tolerance of {settings.tolerance:g}"
    if by_interval:
        verdict = f"the interval's low end is {verdict}"
    seen = f" ({found.left_out} more left out, which the latter has seen)" if found.left_out else ""
    return fit, (
        f"{found.score} {SHOWN_METRICS[found.metric]} {_number(new)} against {_number(current)} of the student in "
        f"use on {found.pairs} pairs that neither was trained on{seen}: {_signed(difference)} (95 % interval "
        f"{_signed(low)} to {_signed(high)}), {verdict}"
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _signed(value: float | None) -> str:
    """`+0.006`; what rounds to nothing is `+0.000`, not `-0.000`."""
    return "–" if value is None else f"{round(value, 3) + 0.0:+.3f}"
