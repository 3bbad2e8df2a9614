"""Which student is promoted: verdicts, sentences, races, and the record of it all."""

from __future__ import annotations

import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import pipeline.promotion.gate as module
from data.errors import FlipkdError
from pipeline.config.config import Config
from pipeline.config.location import store_of
from pipeline.config.nightly import PromoteConfig
from pipeline.promotion.gate import below_floor, force, judge, promote, promote_run, verdict_on
from pipeline.promotion.history import history
from pipeline.promotion.link import in_use, link_of, move, roll_back
from pipeline.promotion.paired import Comparison
from pipeline.runner.plan import plan
from pipeline.store.store import Store
from tests.students import add_run, scored_pairs
from tests.tiny import tiny_config


def config_with(**promote: Any) -> Config:
    return Config.model_validate(
        {
            "prepare": {"inputs": [{"kind": "pairs", "path": "unused.csv"}]},
            "export": {"bootstrap": 100},
            "promote": promote,
        }
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def student(store: Store, quality: float, name: str = "") -> str:
    """An export of which `quality` decides how good it is, all on the same 200 pairs."""
    return add_run(store, scored_pairs(200, 1, quality), name=name or str(quality))


def compared(difference: float, low: float) -> Comparison:
    numbers = {"new": 0.887 + difference, "current": 0.887, "difference": difference, "low": low, "high": 0.0214}
    return replace(Comparison("a", "b", "fused", "auroc", pairs=610, positives=300), **numbers)


# ------------------------------------------------------------------------------------------------- judging


def test_the_sentence() -> None:
    assert judge(compared(0.006, -0.01), PromoteConfig())[1] == (
        "fused AUROC 0.893 against 0.887 of the student in use on 610 pairs that neither was trained on: +0.006 "
        "(95 % interval -0.010 to +0.021), within the tolerance of 0.01"
    )
    by_interval = PromoteConfig(evidence="interval", tolerance=0.005)
    sentence = judge(compared(-0.0001, -0.01), by_interval)[1]
    assert "trained on: +0.000 (95 % interval -0.010 to +0.021), " in sentence
    assert sentence.endswith("the interval's low end is worse by more than the tolerance of 0.005")


@pytest.mark.parametrize(
    ("difference", "low", "settings", "fit"),
    [
        (0.02, 0.01, {}, True),
        (0.0, -0.05, {}, True),
        (-0.0099, -0.05, {}, True),
        (0.87 - 0.88, -0.05, {}, True),  # a hair below -0.01
        (-0.0101, -0.05, {}, False),
        (-0.0001, -0.05, {"tolerance": 0}, False),
        (0.02, -0.005, {"evidence": "interval"}, True),
        (0.02, -0.011, {"evidence": "interval"}, False),
        (0.02, -0.011, {"evidence": "interval", "tolerance": 0.02}, True),
        (0.02, 0.001, {"evidence": "interval", "tolerance": 0}, True),
    ],
)
def test_tolerance_and_evidence(difference: float, low: float, settings: dict[str, Any], fit: bool) -> None:
    assert judge(compared(difference, low), PromoteConfig(**settings))[0] is fit


# ------------------------------------------------------------------------------------------------ verdicts


def test_first_then_better_then_worse(store: Store) -> None:
    bad, good = student(store, 1.0), student(store, 3.0)
    first = promote(config_with(), store, bad)
    assert (first.verdict, first.previous, first.reason) == ("promoted", None, "no student was in use before")
    second = promote(config_with(), store, good)
    assert (second.verdict, second.previous, in_use(store)) == ("promoted", bad, good)
    assert "within the tolerance of 0.01" in second.reason
    third = promote(config_with(), store, student(store, 2.0))
    assert third.refused
    assert not third.promoted
    assert third.reason.endswith("worse by more than the tolerance of 0.01")
    assert in_use(store) == good
    records = history(store)
    assert [record.action for record in records] == ["promote", "promote", "refused"]
    assert records[2].reason == third.reason
    assert third.comparison is not None
    assert records[2].comparison == asdict(third.comparison)
    assert records[1].comparison is not None
    assert records[1].comparison["difference"] > 0


def test_the_same_student_is_left_where_it_is(store: Store) -> None:
    key = student(store, 2.0)
    promote(config_with(), store, key)
    assert promote(config_with(), store, key).verdict == "unchanged"
    assert len(history(store)) == 1


def test_looking_changes_nothing(store: Store) -> None:
    good, bad = student(store, 3.0), student(store, 1.0)
    assert promote(config_with(), store, good, change=False).verdict == "accepted"
    assert in_use(store) is None
    promote(config_with(), store, good)
    assert promote(config_with(), store, bad, change=False).refused
    assert len(history(store)) == 1


def test_what_was_rolled_back_is_not_promoted_again(store: Store) -> None:
    """With no new rows the next night makes the same student, which a person has just taken out of use."""
    old, new = student(store, 2.0), student(store, 3.0)
    promote(config_with(), store, old)
    promote(config_with(), store, new)
    roll_back(store, reason="customers complain")
    again = promote(config_with(), store, new)
    assert again.refused
    assert "it was rolled back on 20" in again.reason
    assert "(customers complain); `flipkd promote --force` promotes it all the same" in again.reason
    assert force(store, "default", new, "they do not").promoted
    assert in_use(store) == new


def test_no_verdict_is_a_refusal(store: Store) -> None:
    promote(config_with(), store, student(store, 1.0))
    few = add_run(store, scored_pairs(20, 1, 3.0))
    outcome = promote(config_with(), store, few)
    assert outcome.refused
    assert outcome.reason == (
        "no verdict: 20 labelled test pairs are left to compare on, fewer than 30; `flipkd promote --force` "
        "promotes it all the same"
    )


def test_what_cannot_be_compared_is_a_refusal(store: Store) -> None:
    old, new = student(store, 1.0), add_run(store, scored_pairs(60, 1, 3.0), name="n")
    promote(config_with(), store, old)
    shutil.rmtree(store.path("prepare", store.manifest("export", old).inputs["prepare"]))
    outcome = promote(config_with(), store, new)
    assert outcome.refused
    assert outcome.reason.startswith("it cannot be compared with the student in use: it is not known which pairs")


def test_a_student_in_use_that_does_not_load_is_a_refusal(store: Store) -> None:
    """The made-up student is no model, and the pairs from 100 on were not measured with it."""
    promote(config_with(), store, student(store, 1.0))
    later = add_run(store, scored_pairs(200, 1, 3.0, start=100), name="later")
    outcome = promote(config_with(), store, later)
    assert outcome.refused
    assert "the student cannot be loaded" in outcome.reason


def test_a_damaged_export_is_refused_even_by_force(store: Store) -> None:
    old, new = student(store, 1.0), student(store, 3.0)
    promote(config_with(), store, old)
    (store.path("export", new) / "student" / "student.json").write_text("{}")
    for outcome in (promote(config_with(), store, new), force(store, "default", new, "please")):
        assert outcome.refused
        assert outcome.reason == (
            f"the export {new} is damaged (student/student.json has 2 bytes instead of 15); run its config again"
        )
    assert in_use(store) == old


def test_force_compares_nothing_and_says_so(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = student(store, 3.0), student(store, 1.0)
    promote(config_with(), store, old)
    monkeypatch.setattr(module, "verdict_on", lambda *_: pytest.fail("something was compared"))
    outcome = force(store, "default", new, "the test pairs are wrong")
    assert (outcome.promoted, outcome.reason) == (True, "forced: the test pairs are wrong")
    assert (history(store)[-1].forced, history(store)[-1].reason) == (True, "the test pairs are wrong")
    assert force(store, "default", new, "again").verdict == "unchanged"


def test_force_mends_a_dangling_link(store: Store) -> None:
    old, new = student(store, 3.0), student(store, 1.0)
    promote(config_with(), store, old)
    shutil.rmtree(store.path("export", old))
    with pytest.raises(FlipkdError, match="which is not in the store"):
        promote(config_with(), store, new)
    assert force(store, "default", new, "the other one is gone").promoted
    assert in_use(store) == new


def test_a_move_meanwhile_is_compared_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """While tonight's is compared with a weak student, somebody puts a strong one into use."""
    weak, middle, strong = (student(store, quality) for quality in (1.0, 2.0, 3.0))
    promote(config_with(), store, weak)

    def slow(*args: Any) -> Any:
        found = verdict_on(*args)
        if in_use(store) == weak:
            move(store, "default", strong, "by hand", expected=weak)
        return found

    monkeypatch.setattr(module, "verdict_on", slow)
    outcome = promote(config_with(), store, middle)
    assert (outcome.refused, outcome.previous, in_use(store)) == (True, strong, strong)


# ------------------------------------------------------------------------------------------- for the flow


@pytest.mark.parametrize(("mode", "verdict"), [("manual", "accepted"), ("auto", "promoted")])
def test_the_flow_promotes_only_by_itself_if_told(tiny_run: Path, tmp_path: Path, mode: str, verdict: str) -> None:
    config = tiny_config(shutil.copytree(tiny_run, tmp_path / "copy"), promote={"mode": mode, "name": "nightly"})
    store, steps = store_of(config), plan(config)
    outcome = promote_run(config, store, steps)
    assert (outcome.verdict, outcome.key, outcome.previous) == (verdict, steps[-1].key, None)
    assert link_of(store, "nightly").is_symlink() is (mode == "auto")
    assert (link_of(store, "nightly") / "student" / "student.json").is_file() is (mode == "auto")
    with pytest.raises(FlipkdError, match="ends with `export`"):
        promote_run(config, store, steps[:-1])


def test_scores_and_metrics_are_the_configs(store: Store) -> None:
    """The new student is worse by its fused score, and better by its encoder's accuracy."""
    old, better = scored_pairs(200, 1, 2.0), scored_pairs(200, 3, 4.0)
    mixed = scored_pairs(200, 2, 1.0).with_columns(pl.Series("encoder", better["encoder"]))
    old_key, new_key = add_run(store, old, name="old"), add_run(store, mixed, name="new")
    promote(config_with(), store, old_key)
    assert verdict_on(config_with(), store, new_key).refused
    outcome = verdict_on(config_with(score="encoder", metric="accuracy"), store, new_key)
    assert outcome.verdict == "accepted"
    assert outcome.reason.startswith("encoder accuracy 0.9")


@pytest.mark.parametrize(
    ("auroc", "teacher", "at_least", "said"),
    [
        (0.57, 0.6, {}, "its fused AUROC on test, 0.570, is below promote.at_least.auroc, 0.6"),
        (0.8, 0.95, {}, "lies more than 0.1 below the teacher's, 0.950"),
        (0.85, 0.95, {}, None),
        (0.8, 0.95, 0.85, "is below promote.at_least.auroc, 0.85"),
        (0.3, 0.95, {"auroc": None, "below_teacher": None}, None),
        (None, None, {}, None),
    ],
)
def test_the_floor(auroc: float | None, teacher: float | None, at_least: object, said: str | None) -> None:
    settings = PromoteConfig.model_validate({"at_least": at_least})
    scores = {"fused": {"auroc": {"value": auroc}}, "teacher": {"auroc": {"value": teacher}}}
    told = below_floor(settings, {"splits": {"test": scores}})
    assert (told is None) == (said is None)
    assert said is None or said in str(told)
