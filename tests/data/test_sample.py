"""The promises that `data/sample/README.md` makes."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict

import pytest

from data.texts import fold
from tests.checkout import SAMPLE


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    with SAMPLE.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_size(rows: list[dict[str, str]]) -> None:
    assert len(rows) >= 800
    entries = defaultdict(set)
    for row in rows:
        entries[row["domain"]].add(row["faq_id"])
    assert set(entries) == {"finance", "health"}
    assert all(len(ids) >= 36 for ids in entries.values())
    assert not entries["finance"] & entries["health"]


def test_phrasings_per_entry(rows: list[dict[str, str]]) -> None:
    assert min(Counter(row["faq_id"] for row in rows).values()) >= 10


def test_no_text_twice(rows: list[dict[str, str]]) -> None:
    folded = Counter(fold(row["text"]) for row in rows)
    assert not [text for text, count in folded.items() if count > 1]
    assert all(folded)


def test_entries_have_siblings(rows: list[dict[str, str]]) -> None:
    families = defaultdict(set)
    for row in rows:
        families[row["domain"], row["faq_id"].split("_")[0]].add(row["faq_id"])
    assert {len(ids) for ids in families.values()} <= {2, 3, 4, 5}


def test_terse_and_rambling_texts(rows: list[dict[str, str]]) -> None:
    lengths = [len(row["text"].split()) for row in rows]
    assert sum(n <= 5 for n in lengths) >= 150
    assert sum(n >= 30 for n in lengths) >= 80


def test_readme_gives_the_true_counts(rows: list[dict[str, str]]) -> None:
    page = (SAMPLE.parent / "README.md").read_text(encoding="utf-8")
    assert f"{len(rows):,} questions" in page
    for domain, count in Counter(row["domain"] for row in rows).items():
        line = next(line for line in page.splitlines() if line.startswith(f"| {domain} "))
        assert f"| {count} |" in line


def test_every_entry_has_one_title_that_is_none_of_its_phrasings(rows: list[dict[str, str]]) -> None:
    with (SAMPLE.parent / "titles.csv").open(encoding="utf-8", newline="") as file:
        titles = list(csv.DictReader(file))
    ids = [row["faq_id"] for row in titles]
    assert len(set(ids)) == len(ids)
    assert set(ids) == {row["faq_id"] for row in rows}
    folded = [fold(row["title"]) for row in titles]
    assert len(set(folded)) == len(folded)
    assert not set(folded) & {fold(row["text"]) for row in rows}
