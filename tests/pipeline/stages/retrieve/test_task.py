"""The retrieval task: catalogue questions and questions asked, by one rule for both ways of splitting."""

from __future__ import annotations

import polars as pl
import pytest

from data.errors import FlipkdError
from pipeline.stages.retrieve.task import Task, build_task


def utterances(*rows: tuple[str, str, str]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=["text", "id", "split"], orient="row")


BY_TEXT = utterances(
    ("b test", "b", "test"), ("b train", "b", "train"), ("b later", "b", "train"),
    ("a dev", "a", "dev"), ("a test", "a", "test"), ("a train", "a", "train"), ("a other", "a", "test"),
)  # fmt: skip
BY_GROUP = utterances(
    ("a 1", "a", "train"), ("a 2", "a", "train"), ("b 1", "b", "test"), ("b 2", "b", "test"), ("b 3", "b", "test")
)


def asked(task: Task) -> dict[str, list[str]]:
    return {
        text: [task.entries[n] for n in right] for text, right in zip(task.queries, task.relevant, strict=True)
    }


def test_known_entries_show_a_question_of_train_and_are_asked_by_all_of_test() -> None:
    task = build_task(BY_TEXT, phrasings=1, queries=99, seed=0)
    assert (task.entries, task.documents, task.starts.tolist()) == (["a", "b"], ["a train", "b train"], [0, 1])
    assert asked(task) == {"b test": ["b"], "a test": ["a"], "a other": ["a"]}


def test_unseen_entries_show_their_first_and_are_asked_by_the_others() -> None:
    task = build_task(BY_GROUP, phrasings=1, queries=99, seed=0)
    assert task.documents == ["a 1", "b 1"]
    assert asked(task) == {"b 2": ["b"], "b 3": ["b"]}


def test_several_catalogue_questions() -> None:
    task = build_task(BY_TEXT, phrasings=2, queries=99, seed=0)
    assert (task.documents, task.starts.tolist()) == (["a train", "a dev", "b train", "b later"], [0, 2])


def test_questions_are_drawn_by_seed() -> None:
    many = utterances(*((f"{entry} {n}", entry, "test") for entry in "ab" for n in range(50)))
    first, again, other = (build_task(many, phrasings=1, queries=10, seed=seed) for seed in (1, 1, 2))
    assert first.queries == again.queries != other.queries
    assert (len(set(first.queries)), first.there) == (10, 98)


def test_a_text_of_two_entries_has_two_answers_and_no_question_is_in_the_catalogue() -> None:
    rows = utterances(
        ("a 1", "a", "train"), ("b 1", "b", "train"),
        ("both", "a", "test"), ("Both ", "b", "test"), ("A 1", "b", "test"),
    )  # fmt: skip
    assert asked(build_task(rows, phrasings=1, queries=9, seed=0)) == {"both": ["a", "b"]}


@pytest.mark.parametrize(
    ("rows", "phrasings", "said"),
    [
        (BY_TEXT.filter(pl.col("id") == "a"), 1, "1 FAQ entries are too few"),
        (BY_TEXT.filter(pl.col("split") != "test"), 1, "no phrasing besides the catalogue questions"),
        (BY_GROUP, 3, "lower retrieve.phrasings"),
    ],
)
def test_what_makes_no_task_is_said(rows: pl.DataFrame, phrasings: int, said: str) -> None:
    with pytest.raises(FlipkdError, match=said):
        build_task(rows, phrasings=phrasings, queries=9, seed=0)
