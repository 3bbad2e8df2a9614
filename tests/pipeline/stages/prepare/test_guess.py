"""What a file holds, guessed from its header and first rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from data.errors import FlipkdError
from pipeline.stages.prepare.config import PrepareConfig
from pipeline.stages.prepare.guess import guess_input
from pipeline.stages.prepare.inputs import check_inputs
from tests.checkout import REAL_DATA

PAIRS = {"kind": "pairs", "text_a": "text_a", "text_b": "text_b", "label": "label"}


def guess(folder: Path, text: str, name: str = "a.csv") -> dict[str, Any]:
    (folder / name).write_text(text, encoding="utf-8")
    found = guess_input(str(folder / name))
    check_inputs(PrepareConfig.model_validate({"inputs": [found]}))  # the config that it makes is a good one
    assert found.pop("path") == str(folder / name)
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("text_a,text_b,label\na b,c d,1\n", PAIRS),
        ("id,qid1,qid2,question1,question2,is_duplicate\n0,1,2,a b?,c d?,0\n1,3,4,e f,g h,1\n",
         {"kind": "pairs", "text_a": "question1", "text_b": "question2", "label": "is_duplicate"}),
        ("sentence2,sentence1,score\na b,c d,\ne f,g h,1.0\n",
         {"kind": "pairs", "text_a": "sentence1", "text_b": "sentence2", "label": "score"}),
        ("Frage,Antwort,gleich\nwie geht es,so geht es,true\n",
         {"kind": "pairs", "text_a": "Frage", "text_b": "Antwort", "label": "gleich"}),
        ("question,faq_title,note\nwie geht es,so geht es,x\n",
         {"kind": "pairs", "text_a": "question", "text_b": "faq_title", "label": None}),
        ("query,passage,comment,relevant\na b,c d,e f,1\n",  # three texts, two of them by name
         {"kind": "pairs", "text_a": "query", "text_b": "passage", "label": "relevant"}),
        ("text,label\npay it,pay\npay that,pay\ngo there,go\n",
         {"kind": "utterances", "text": "text", "id": "label"}),
        ("text,intent\npay it,pay a bill\npay that,pay a bill\ngo there,go to town\n",  # ids of several words
         {"kind": "utterances", "text": "text", "id": "intent"}),
        ("split,utterance,topic,lang\ntrain,pay it,3,en\ndev,pay that,3,en\ntest,go there,4,de\n", None),
        ("split,utterance,category,lang\ntrain,pay it,3,en\ndev,pay that,3,en\ntest,go there,4,de\n",
         {"kind": "utterances", "text": "utterance", "id": "category", "split_column": "split"}),
    ],
)  # fmt: skip
def test_columns_by_name_and_by_what_is_in_them(
    tmp_path: Path, text: str, expected: dict[str, Any] | None
) -> None:
    if expected is not None:
        assert guess(tmp_path, text) == expected
        return
    with pytest.raises(FlipkdError, match="do not tell what they are: 'split', 'utterance', 'topic', 'lang'"):
        guess(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("7,how do I pay?,how to pay,1\n7,how do I pay?,how to go,0\n", ["column_1", "text_a", "text_b", "label"]),
        ("how to pay,pay a bill,1\nhow to go,go to town,0\n", ["text_a", "text_b", "label"]),
        ("card_freeze,freeze card\ncard_freeze,pause card\nloan,lend me money\n", ["id", "text"]),
    ],
)
def test_a_file_without_a_header_gets_names(tmp_path: Path, text: str, columns: list[str]) -> None:
    found = guess(tmp_path, text)
    assert found["column_names"] == columns
    assert {found[key] for key in found if key in columns} == set(columns) - {"column_1"}


def test_a_catalogue_is_seen(tmp_path: Path) -> None:
    rows = [f"how do I {n},title of {n % 4},1\n" for n in range(40)]
    found = guess(tmp_path, "question,faq_title,label\n" + "".join(rows))
    assert found == {
        "kind": "pairs",
        "text_a": "question",
        "text_b": "faq_title",
        "label": "label",
        "catalogue": "text_b",
    }
    assert "catalogue" not in guess(tmp_path, "question,faq_title,label\n" + "".join(rows[:4]))


def test_a_csv_with_tabs_is_read_as_tsv(tmp_path: Path) -> None:
    assert guess(tmp_path, "text_a\ttext_b\tlabel\na b\tc d\t1\n") == {"format": "tsv", **PAIRS} | {
        "kind": "pairs"
    }


def test_jsonl_and_parquet(tmp_path: Path) -> None:
    assert guess(tmp_path, '{"text_a": "a b", "text_b": "c d", "label": 1}\n', "a.jsonl") == PAIRS
    pl.DataFrame({"text_a": ["a b"], "text_b": ["c d"], "label": [0.0]}).write_parquet(tmp_path / "b.parquet")
    assert guess_input(str(tmp_path / "b.parquet")) == {"path": str(tmp_path / "b.parquet"), **PAIRS}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n3,2\n", "Texts seem to be in none, labels in none, ids that repeat in none"),
        ("a,b,c,d\nx y,z w,1,1\nx y,z w,0,0\n", "Texts seem to be in 'a', 'b', labels in 'c', 'd'"),
        ("id,title\nx,a b\ny,c d\n", "ids that repeat in none"),
        ("", "the file is empty"),
    ],
)
def test_what_cannot_be_told_is_asked_for(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(FlipkdError, match=said):
        guess(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("id,title\n7,pay a bill\n8,lose a card\n", {"kind": "catalogue", "id": "id", "title": "title"}),
        ("faq_id,title,answer\n7,pay a bill,at the desk\n8,lose a card,call us\n",
         {"kind": "catalogue", "id": "faq_id", "title": "title", "answer": "answer"}),
        ("text,category\nhow do I pay,7\nwhere do I pay,7\nmy card is gone,8\n",
         {"kind": "utterances", "text": "text", "id": "category"}),
    ],
)  # fmt: skip
def test_beside_other_files_entries_are_a_catalogue(tmp_path: Path, text: str, expected: dict[str, Any]) -> None:
    path = tmp_path / "file.csv"
    path.write_text(text, "utf-8")
    found = guess_input(str(path), beside=True)
    assert found == {**expected, "path": str(path)}
    if expected["kind"] == "catalogue" and "answer" not in expected:
        with pytest.raises(FlipkdError):
            guess_input(str(path))  # alone there would be nothing that points to it


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("mqp/mqp.csv", {**PAIRS, "column_names": ["column_1", "text_a", "text_b", "label"]}),
        ("banking77/train.csv", {"kind": "utterances", "text": "text", "id": "category"}),
        ("atec/atec_nlp_sim_train.csv",
         {**PAIRS, "format": "tsv", "column_names": ["column_1", "text_a", "text_b", "label"]}),
        ("stackfaq/paraphrases.tsv",
         {"kind": "pairs", "text_a": "text_a", "text_b": "text_b", "matches_only": True, "catalogue": "text_a",
          "column_names": ["text_a", "text_b"]}),
        ("cranfield", {"kind": "retrieval"}),
    ],
)  # fmt: skip
def test_real_files(file: str, expected: dict[str, Any]) -> None:
    if not (REAL_DATA / file).exists():
        pytest.skip(f"{file} is not here")
    found = guess_input(str(REAL_DATA / file))
    assert found == {**expected, "path": str(REAL_DATA / file)}
    check_inputs(PrepareConfig.model_validate({"inputs": [found]}))
