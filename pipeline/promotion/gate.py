"""Whether a new student takes the place of the one in use: compare, decide, move the link, say why.

The student in use stays unless a comparison shows that the new one is not worse.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from data.errors import FlipkdError
from pipeline.config.config import Config
from pipeline.config.nightly import PromoteConfig
from pipeline.evaluation.headline import read_metrics
from pipeline.promotion.history import history, rolled_back
from pipeline.promotion.link import LinkMoved, damage, in_use, linked_key, move, refuse
from pipeline.promotion.outcome import SHOWN_METRICS, Outcome, Verdict, number, sentence, signed
from pipeline.runner.plan import Step
from pipeline.store.store import Store

if TYPE_CHECKING:
    from pipeline.promotion.paired import Comparison

log = logging.getLogger("flipkd.promote")
ROUNDING = 1e-9  # 0.87 - 0.88 is a little below -0.01


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
    log.info("promote: %s", sentence(outcome))
    return outcome


def promote(config: Config, store: Store, key: str, *, change: bool = True) -> Outcome:
    """Compare an export with the one in use, and put it in its place unless it is worse beyond the tolerance.

    The comparison takes its time and holds no lock; if the link has moved meanwhile, it is made again.

    Args:
        change: False moves and records nothing.

    Raises:
        FlipkdError: the link or the history is broken, or cannot be written. A refusal raises nothing.
    """
    name = config.promote.called
    while True:
        outcome = verdict_on(config, store, key)
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


def verdict_on(config: Config, store: Store, key: str) -> Outcome:
    """What should become of an export; changes nothing. The verdict is never `promoted`.

    Raises:
        FlipkdError: the link or the history is broken.
    """
    name = config.promote.called
    previous = in_use(store, name)
    known = _known_beforehand(config.promote, store, key, previous)
    if known is not None:
        return Outcome(known[0], name, key, previous, known[1])
    from pipeline.promotion.paired import compare
    from pipeline.promotion.searches import METRIC, compare_searches

    measured = compare_searches if config.promote.metric == METRIC else compare
    try:
        found = measured(config, store, key, previous or "")
    except FlipkdError as error:
        reason = f"it cannot be compared with the student in use: {error}; {_FORCE}"
        return Outcome("refused", name, key, previous, reason)
    if found.problem:
        return Outcome("refused", name, key, previous, f"no verdict: {found.problem}; {_FORCE}", found)
    fit, reason = judge(found, config.promote)
    return Outcome("accepted" if fit else "refused", name, key, previous, reason, found)


def _known_beforehand(
    settings: PromoteConfig, store: Store, key: str, previous: str | None
) -> tuple[Verdict, str] | None:
    """Verdict and reason where nothing needs to be compared."""
    if problem := damage(store, key):
        return "refused", problem
    if previous == key:
        return "unchanged", "it is in use already"
    if taken_back := rolled_back(history(store, settings.called), previous, key):
        return "refused", f"it was rolled back on {taken_back.time[:10]} ({taken_back.reason}); {_FORCE}"
    if too_low := below_floor(settings, read_metrics(store.path("export", key))):
        return "refused", f"{too_low}; {_FORCE}"
    if previous is None:
        return "accepted", "no student was in use before"
    return None


def below_floor(settings: PromoteConfig, metrics: Mapping[str, Any]) -> str | None:
    """Why a student is too weak to be used at all (`promote.at_least`); None if it is not, or nothing tells.

    Args:
        metrics: `metrics.json` of its export.
    """
    test = metrics.get("splits", {}).get("test", {})
    value, teacher = (test.get(name, {}).get("auroc", {}).get("value") for name in (settings.score, "teacher"))
    floor = settings.at_least
    if value is None:
        return None
    if floor.auroc is not None and value < floor.auroc:
        return f"its {settings.score} AUROC on test, {value:.3f}, is below promote.at_least.auroc, {floor.auroc:g}"
    if (
        floor.below_teacher is not None
        and teacher is not None
        and value < teacher - floor.below_teacher - ROUNDING
    ):
        return (
            f"its {settings.score} AUROC on test, {value:.3f}, lies more than {floor.below_teacher:g} below the "
            f"teacher's, {teacher:.3f} (promote.at_least.below_teacher)"
        )
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
        f"{found.score} {SHOWN_METRICS[found.metric]} {number(new)} against {number(current)} of the student in "
        f"use on {found.pairs} {found.unit} that neither was trained on{seen}: {signed(difference)} (95 % "
        f"interval {signed(low)} to {signed(high)}), {verdict}"
    )
