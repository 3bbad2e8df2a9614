"""Queries against a catalogue: entries stand in every split, queries in one."""

from __future__ import annotations

import logging
from collections import defaultdict
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from data.errors import FlipkdError
from tests.pipeline.stages.prepare.test_run import good, prepared, write

HEAD = "question,title,label"


def faq(entries: int = 8, queries: int = 20) -> list[list[object]]:
    """Each query beside its own title, and beside the next one as a negative."""
    rows: list[list[object]] = []
    for entry in range(entries):
        for n in range(queries):
            query = f"how do I {n} with {entry}"
            rows += [[query, f"Title {entry}", 1], [query, f"Title {(entry + 1) % entries}", 0]]
    return rows


def pairs_file(folder: Path, rows: list[list[object]], head: str = HEAD, **options: Any) -> dict[str, Any]:
    path = write(folder, rows, head=head)
    return {"path": path, "text_a": "question", "text_b": "title", "catalogue": "text_b"} | options


def splits_of(pairs: Any, column: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for text, split in zip(pairs[column], pairs["split"], strict=True):
        found[text].add(split)
    return found


@pytest.mark.parametrize("turned", [False, True])
def test_queries_are_held_out_and_entries_stand_everywhere(tmp_path: Path, turned: bool) -> None:
    file = pairs_file(tmp_path, faq())
    query, entry = "text_a", "text_b"
    if turned:
        file |= {"text_a": "title", "text_b": "question", "catalogue": "text_a"}
        query, entry = entry, query
    summary, pairs, rejects = prepared(tmp_path, file)
    assert len(pairs) == 320
    assert rejects.empty
    assert all(len(splits) == 1 for splits in splits_of(pairs, query).values())
    assert all(splits == {"train", "dev", "test"} for splits in splits_of(pairs, entry).values())
    shares = pairs["split"].value_counts(normalize=True)
    assert (abs(shares["dev"] - 0.15), abs(shares["test"] - 0.2)) < (0.05, 0.05)
    assert summary["catalogue"] == {
        "rows.csv": {
            "side": entry,
            "queries": 160,
            "entries": 8,
            "splits": {split: {"entries": 8, "unseen_entries": 0} for split in ("train", "dev", "test")},
        }
    }


def test_queries_of_one_group_stay_together(tmp_path: Path) -> None:
    rows = [[*row, f"customer {number // 10}"] for number, row in enumerate(faq())]
    _, pairs, _ = prepared(tmp_path, pairs_file(tmp_path, rows, "question,title,label,customer", group="customer"))
    assert all(len(splits) == 1 for splits in splits_of(pairs, "group").values())


def test_without_a_named_side_the_error_names_the_column_and_the_line(tmp_path: Path) -> None:
    with pytest.raises(FlipkdError) as caught:
        prepared(tmp_path, pairs_file(tmp_path, faq(), catalogue=None))
    assert "no pair is in dev" in str(caught.value)
    assert (
        "the column 'title' looks like a catalogue: 8 texts, each in 40 rows on average, beside 160 texts of "
        "'question'. If its texts may stand in every split, add this line to prepare.inputs.0:\n"
        "    catalogue: text_b"
    ) in str(caught.value)


def test_few_questions_a_title_are_enough_for_advice(tmp_path: Path, flipkd_log: pytest.LogCaptureFixture) -> None:
    """200 questions, each beside its own title of 77 and a wrong one: the rows of a small FAQ."""
    rows = [[f"question {n}", f"title {(n + m) % 77}", int(m == 0)] for n in range(200) for m in (0, 1)]
    with pytest.raises(FlipkdError, match=r"looks like a catalogue: 77 texts") as caught:
        prepared(tmp_path, pairs_file(tmp_path, rows, catalogue=None))
    assert "    catalogue: text_b" in str(caught.value)
    assert "400 of 400 rows are linked" in flipkd_log.text


def test_paraphrases_are_not_taken_for_a_catalogue(tmp_path: Path) -> None:
    rows = [[f"text {n}", f"text {n + 1}", n % 2] for n in range(60)]  # one chain
    with pytest.raises(FlipkdError) as caught:
        prepared(tmp_path, {"path": write(tmp_path, rows)})
    assert "catalogue" not in str(caught.value)


def test_where_splits_are_made_all_the_same_the_warning_names_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    other = {"path": write(tmp_path, good(200), "other.csv")}
    prepared(tmp_path, pairs_file(tmp_path, faq(), catalogue=None), other)
    assert "320 of 520 rows are linked" in caplog.text
    assert "catalogue: text_b" in caplog.text


def given(rows: list[list[object]], *, leak: bool) -> list[list[object]]:
    """A split for each query by its number; with a leak the first query's second row goes elsewhere."""
    names = ["train", "train", "dev", "test"]
    found = [[*row, names[number // 2 % 4]] for number, row in enumerate(rows)]
    if leak:
        assert found[0][0] == found[1][0]
        found[1][-1] = "test"
    return found


def test_given_splits_may_share_entries(tmp_path: Path) -> None:
    rows = given(faq(), leak=False)
    options = {"head": f"{HEAD},split", "split_column": "split"}
    _, pairs, _ = prepared(tmp_path, pairs_file(tmp_path, rows, **options))
    wanted = {(row[0], row[1]): row[-1] for row in rows}
    assert dict(zip(zip(pairs["text_a"], pairs["text_b"], strict=True), pairs["split"], strict=True)) == wanted
    with pytest.raises(FlipkdError, match=r"given splits leak(.|\n)*catalogue: text_b"):
        prepared(tmp_path, pairs_file(tmp_path, rows, **options, catalogue=None))


def test_a_query_in_two_given_splits_is_an_error_or_dropped_or_kept(tmp_path: Path) -> None:
    file = pairs_file(tmp_path, given(faq(), leak=True), head=f"{HEAD},split", split_column="split")
    with pytest.raises(FlipkdError, match=r"1 texts or groups stand in more than one(.|\n)*'how do I 0 with 0'"):
        prepared(tmp_path, file)

    summary, pairs, rejects = prepared(tmp_path, file, splitting={"leaks": "drop"})
    assert rejects[["source_row", "reason"]].to_dict("records") == [{"source_row": 1, "reason": "leak"}]
    assert summary["leaks"] == {"texts_or_groups": 1, "policy": "drop", "rows": 1}
    assert splits_of(pairs, "text_a")["how do I 0 with 0"] == {"test"}

    summary, pairs, rejects = prepared(tmp_path, file, splitting={"leaks": "keep"})
    assert rejects.empty
    assert summary["leaks"] == {"texts_or_groups": 1, "policy": "keep", "rows": 0}
    assert splits_of(pairs, "text_a")["how do I 0 with 0"] == {"train", "test"}


def test_dropped_leaks_do_not_count_against_the_limit_of_rejects(tmp_path: Path) -> None:
    rows = [[*row, "train"] for row in good(20)] + [[*row, "test"] for row in good(10, 10)]
    rows = [[f"{a} x" if split == "test" else a, b, label, split] for a, b, label, split in rows]
    rows += [[f"dev {a}", f"dev {b}", label, "dev"] for a, b, label in good(6)]
    file = {"path": write(tmp_path, rows, head="text_a,text_b,label,split"), "split_column": "split"}
    _, pairs, rejects = prepared(tmp_path, file, splitting={"leaks": "drop"}, max_rejected=0.0)
    assert rejects["reason"].value_counts().to_dict() == {"leak": 10}
    assert pairs["split"].value_counts().to_dict() == {"train": 10, "test": 10, "dev": 6}


def test_entries_that_are_held_out_are_never_trained_on(tmp_path: Path) -> None:
    file = pairs_file(tmp_path, faq(20, 10))
    summary, pairs, rejects = prepared(tmp_path, file, splitting={"entries": "held_out", "dev": 0.1, "test": 0.2})
    by_split = {split: set(rows["text_b"]) for split, rows in pairs.groupby("split")}
    trained = by_split["train"]
    assert len(trained) == 20 - 2 - 4
    counts = summary["catalogue"]["rows.csv"]["splits"]
    assert counts["train"] == {"entries": len(trained), "unseen_entries": 0}
    for split in ("dev", "test"):
        assert counts[split]["unseen_entries"] == len(by_split[split] - trained)
    # A query goes where its entry is; of train's queries only the negatives with such an entry are left out.
    own = pairs[pairs["label"] == 1]
    assert set(own[own["text_b"].isin(trained)]["split"]) == {"train", "dev", "test"}
    unseen = own[~own["text_b"].isin(trained)]
    assert set(unseen["split"]) == {"dev", "test"}
    assert len(unseen) == 6 * 10
    assert all(len(splits) == 1 for splits in splits_of(pairs, "text_a").values())
    assert set(rejects["reason"]) == {"held_out_entry"}
    assert len(pairs) + len(rejects) == 400
    again = prepared(tmp_path, file, splitting={"entries": "held_out", "dev": 0.1, "test": 0.2})[1]
    assert pl.DataFrame(again).equals(pl.DataFrame(pairs))
