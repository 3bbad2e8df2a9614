"""What a teacher learns from: every label of train once, none of dev or test, none that an experiment hides."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from pipeline.stages.teach.labels import all_labels, labelled
from tests.teacher_half import write_pairs, write_utterances

UTTERANCES = [
    {"text": f"{id_} {n}", "id": id_, "split": split}
    for id_ in ("card", "loan", "bill")
    for n, split in enumerate(("train", "train", "train", "dev", "test"))
]


def _pair(a: str, b: str, label: int | None, split: str = "train", source: str = "made") -> dict[str, Any]:
    return {"text_a": a, "text_b": b, "label": label, "split": split, "source": source}


BUILT = [_pair("card 0", "card 1", 1), _pair("card 0", "loan 1", 0)]
GIVEN = [_pair("a", "b", 1, source="given"), _pair("c", "d", 0, source="given")]


def _learnt(folder: Path, loss: str = "CoSENTLoss") -> tuple[list[str], dict[str, str] | None]:
    """First texts of the pairs, and the texts with their ids."""
    found = all_labels(folder, labelled(folder / "pairs.parquet", "train"), loss)
    return list(found.pairs.text_a), dict(zip(*found.texts, strict=True)) if found.texts else None


def test_all_utterances_of_train_and_the_pairs_that_were_not_built_of_them(tmp_path: Path) -> None:
    write_pairs(tmp_path, [*BUILT, *GIVEN, _pair("e", "f", None, source="given")])
    write_utterances(tmp_path, UTTERANCES)
    trained = {row["text"]: row["id"] for row in UTTERANCES if row["split"] == "train"}
    assert _learnt(tmp_path) == (["a", "c"], trained)


def test_pairs_alone_where_there_are_no_ids(tmp_path: Path) -> None:
    write_pairs(tmp_path, GIVEN)
    assert _learnt(tmp_path) == (["a", "c"], None)


@pytest.mark.parametrize("ids", [["card"], ["card", "loan"]])
def test_ids_with_one_text_each_leave_the_pairs(tmp_path: Path, ids: list[str]) -> None:
    write_pairs(tmp_path, BUILT)
    write_utterances(tmp_path, [{"text": f"only {id_}", "id": id_, "split": "train"} for id_ in ids])
    assert _learnt(tmp_path) == (["card 0", "card 0"], None)


@pytest.mark.parametrize("hidden", ["label_share", "label_noise"])
def test_what_an_experiment_hides_stays_hidden(tmp_path: Path, hidden: str) -> None:
    """An id would give away the labels that were taken off or turned round."""
    write_pairs(tmp_path, [*BUILT, _pair("bill 0", "bill 1", None)], {hidden: {"share": 0.5}})
    write_utterances(tmp_path, UTTERANCES)
    assert _learnt(tmp_path) == (["card 0", "card 0"], None)


def test_queries_stand_with_the_one_entry_that_answers_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [
        _pair("where is my card", "Card arrival", 1, source="faq.csv"),
        _pair("card is late", "Card arrival", 1, source="faq.csv"),
        _pair("pin forgotten", "PIN", 1, source="faq.csv"),
        _pair("card or pin", "PIN", 1, source="faq.csv"),
        _pair("card or pin", "Card arrival", 1, source="faq.csv"),  # two entries: no id is its own
        _pair("pin forgotten", "Loan", 0, source="faq.csv"),
        _pair("of dev", "PIN", 1, "dev", source="faq.csv"),
    ]
    write_pairs(tmp_path, rows, {"catalogue": {"faq.csv": {"side": "text_b"}}})
    pairs, texts = _learnt(tmp_path)
    assert len(pairs) == 6
    assert texts == {
        "Card arrival": "faq.csv Card arrival",
        "where is my card": "faq.csv Card arrival",
        "card is late": "faq.csv Card arrival",
        "PIN": "faq.csv PIN",
        "pin forgotten": "faq.csv PIN",
    }
    # Matches alone: the texts hold them, and the loss of pairs has nothing to learn.
    write_pairs(tmp_path / "matches", rows[:3], {"catalogue": {"faq.csv": {"side": "text_b"}}})
    with caplog.at_level(logging.INFO, logger="flipkd"):
        assert _learnt(tmp_path / "matches")[0] == []
    assert "3 positive and 0 negative labelled pairs, so the texts alone are learnt from" in caplog.text
