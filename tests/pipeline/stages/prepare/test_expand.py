"""Questions that point to the entries of a catalogue: what becomes of each row, splits, negatives, messages."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from data.errors import FlipkdError
from pipeline.config.load import load_config
from pipeline.stages.prepare.artifact import catalogue_entries, has_own_ids, labelled_texts
from pipeline.stages.prepare.config import PrepareConfig
from pipeline.stages.prepare.expand import files_of, key_of
from pipeline.stages.prepare.inputs import check_inputs
from pipeline.stages.prepare.run import prepare
from tests.checkout import REAL_DATA
from tests.pipeline.stages.prepare.test_run import encoder
from tests.stores import write_manifest

ENTRIES, QUESTIONS = 12, 10
TITLES = [f"how to use device {n} at home" for n in range(ENTRIES)]


def write(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def entries_file(folder: Path) -> Path:
    rows = [(n, title, f"Press button {n} twice.") for n, title in enumerate(TITLES)]
    return write(folder / "entries.csv", ["number", "name", "answer"], rows)


def questions_file(folder: Path, *more: tuple[object, object]) -> Path:
    rows = [(f"please tell me {k} things of device {n}", n) for n in range(ENTRIES) for k in range(QUESTIONS)]
    return write(folder / "questions.csv", ["question", "entry"], [*rows, *more])


def prepared(
    folder: Path, *questions: dict[str, Any], name: str = "out", **options: Any
) -> tuple[dict[str, Any], Path]:
    catalogue = {"kind": "catalogue", "path": str(entries_file(folder)), "id": "number", "title": "name"}
    catalogue |= options.pop("catalogue", {})
    # The catalogue stands last: it is read first all the same.
    config = PrepareConfig.model_validate({"inputs": [*questions, catalogue]} | options)
    out = folder / name
    out.mkdir(exist_ok=True)
    summary = prepare(config, out, 1, encoder, folder / "scratch")
    write_manifest(out, "prepare", {}, summary)
    return summary, out


def utterances(path: Path) -> dict[str, Any]:
    return {"kind": "utterances", "path": str(path), "text": "question", "id": "entry"}


def test_utterances_are_questions_that_their_entry_answers(tmp_path: Path) -> None:
    path = questions_file(tmp_path, ("of an entry that is not there", 99), ("of none", ""), (TITLES[0], 0))
    summary, out = prepared(tmp_path, utterances(path))
    pairs = pl.read_parquet(out / "pairs.parquet")
    assert pairs.columns[-2:] == ["source", "source_row"]  # no grade: nobody gave one
    matches = pairs.filter(label=1)
    assert matches.height == ENTRIES * QUESTIONS
    assert matches.select(a=pl.col("text_a").str.extract(r"(\d+)$"), b=pl.col("text_b").str.extract(r"(\d+)")) \
        .select((pl.col("a") == pl.col("b")).all()).item()  # fmt: skip
    assert set(pairs["text_b"]) <= set(TITLES)
    assert pairs.filter(label=0).height == matches.height
    of_query = pairs.group_by("text_a").agg(pl.col("split").n_unique())
    assert of_query["split"].unique().to_list() == [1]
    assert set(matches.filter(split="test")["text_b"]) & set(matches.filter(split="train")["text_b"])
    rejects = pl.read_parquet(out / "rejects.parquet").sort("source_row")
    assert rejects["reason"].to_list() == ["unknown_entry", "missing_id", "same_text"]
    asked = rejects["raw"].str.json_path_match("$.question").to_list()
    assert asked == ["of an entry that is not there", "of none", TITLES[0]]
    rows = summary["rows"]
    assert rows["read"] == rows["pairs"] + rows["utterances"] + rows["rejected"] + rows["texts"]
    assert rows["texts"] == ENTRIES
    assert not (out / "utterances.parquet").exists()


def test_the_catalogue_is_whole_and_the_teacher_learns_from_it(tmp_path: Path) -> None:
    rows = [(f"please tell me {k} things of device {n}", n) for n in range(4) for k in range(QUESTIONS)]
    path = write(tmp_path / "few.csv", ["question", "entry"], rows)
    _, out = prepared(tmp_path, utterances(path), catalogue={"answer": "answer"})
    entries = catalogue_entries(out)
    assert entries["entry_id"].to_list() == [str(n) for n in range(ENTRIES)]
    assert entries["text"][3] == f"{TITLES[3]} Press button 3 twice."
    assert entries["source"].unique().to_list() == ["entries.csv"]
    assert not has_own_ids(out)  # the questions have no ids
    texts = labelled_texts(out)
    assert texts["id"].n_unique() == 4
    train = pl.read_parquet(out / "pairs.parquet").filter(label=1, split="train")
    assert texts.height == 4 + train.height


def test_hard_negatives_are_the_entries_nearest_to_the_question(tmp_path: Path) -> None:
    near = {"nearest": 2}
    _, out = prepared(tmp_path, utterances(questions_file(tmp_path)), pairs={"random_share": 0}, catalogue=near)
    vectors = encoder(TITLES)
    for pair in pl.read_parquet(out / "pairs.parquet").filter(label=0).iter_rows(named=True):
        own = int(pair["text_a"].split()[-1])
        cosines = vectors @ encoder([pair["text_a"]])[0]
        cosines[own] = -2
        assert cosines[TITLES.index(pair["text_b"])] >= sorted(cosines)[-2] - 1e-6


@pytest.mark.parametrize("side", ["text_a", "text_b"])
def test_pairs_that_name_their_entry_by_its_id(tmp_path: Path, side: str) -> None:
    rows = [
        (f"please tell me {k} things of device {n}", (n + wrong) % ENTRIES, 1 - wrong, f"user {k % 5} {n}")
        for n in range(ENTRIES) for k in range(QUESTIONS) for wrong in (0, 1)
    ]  # fmt: skip
    rows[1] = (*rows[1][:2], "", rows[1][3])  # type: ignore[assignment]
    path = write(tmp_path / "pairs.csv", ["question", "entry", "label", "user"], rows)
    query = "text_b" if side == "text_a" else "text_a"
    file = {"kind": "pairs", "path": str(path), query: "question", side: "entry", "catalogue": side,
            "label": "label", "group": "user"}  # fmt: skip
    summary, out = prepared(tmp_path, file)
    pairs = pl.read_parquet(out / "pairs.parquet")
    assert pairs.height == len(rows) + 1  # a non-match is added for the one that lost its label
    assert set(pairs["text_b"]) == set(TITLES)
    assert pairs["label"].null_count() == 1
    assert pairs.group_by("group").agg(pl.col("split").n_unique())["split"].unique().to_list() == [1]
    assert summary["catalogue"]["pairs.csv"]["side"] == "text_b"
    more, out = prepared(tmp_path, file, pairs={"negatives_per_positive": 2}, name="more")
    # The non-matches that were added stand behind the rows of the file.
    given = pl.read_csv(path)["question"].to_list()
    assert more["rows"]["pairs_built"] == ENTRIES * QUESTIONS + 1
    built = pl.read_parquet(out / "pairs.parquet").filter(label=0)
    assert set(built["text_a"]) == set(given)
    assert built["group"].null_count() == 0
    assert (
        built.join(pairs.select("text_a", wanted="group").unique(), on="text_a")
        .select((pl.col("group") == pl.col("wanted")).all())
        .item()
    )


@pytest.mark.parametrize("side", ["text_a", "text_b"])
def test_matches_alone_get_the_entries_that_are_confused_as_non_matches(tmp_path: Path, side: str) -> None:
    rows = [
        (f"please tell me {k} things of device {n}", TITLES[n]) for n in range(ENTRIES) for k in range(QUESTIONS)
    ]
    path = write(
        tmp_path / "matches.csv", ["question", "title"], [*rows, ("a question", " "), ("a question", "x" * 90)]
    )
    query = "text_b" if side == "text_a" else "text_a"
    file = {"kind": "pairs", "path": str(path), query: "question", side: "title", "catalogue": side,
            "matches_only": True}  # fmt: skip
    config = PrepareConfig.model_validate({"inputs": [file], "max_characters": 80, "pairs": {"random_share": 0}})
    out = tmp_path / "out"
    out.mkdir()
    summary = prepare(config, out, 1, encoder, tmp_path / "scratch")
    pairs = pl.read_parquet(out / "pairs.parquet")
    assert set(pairs.filter(label=1).select("text_a", "text_b").iter_rows()) == set(rows)
    assert summary["splits"]["train"]["negative"] == summary["splits"]["train"]["positive"]
    assert set(pairs["text_b"]) == set(TITLES)
    assert catalogue_entries(out)["text"].to_list() == TITLES
    vectors = encoder(TITLES)
    for pair in pairs.filter(label=0).iter_rows(named=True):
        cosines = vectors @ encoder([pair["text_a"]])[0]
        cosines[int(pair["text_a"].split()[-1])] = -2
        assert cosines[TITLES.index(pair["text_b"])] >= sorted(cosines)[-5] - 1e-6
    assert pl.read_parquet(out / "rejects.parquet")["reason"].to_list() == ["missing_text", "too_long"]


def test_entries_that_are_held_out_are_in_no_pair_of_train(tmp_path: Path) -> None:
    splitting = {"entries": "held_out", "dev": 0.2, "test": 0.3}
    _, out = prepared(tmp_path, utterances(questions_file(tmp_path)), splitting=splitting, max_rejected=0.5)
    pairs = pl.read_parquet(out / "pairs.parquet")
    train = set(pairs.filter(split="train")["text_b"])
    assert len(train) == ENTRIES - round(0.2 * ENTRIES) - round(0.3 * ENTRIES)
    assert set(TITLES) - train <= set(pairs.filter(pl.col("split") != "train")["text_b"])


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ("[{kind: catalogue, path: e.csv}]", "prepare: no input points to the catalogue: add a file of questions"),
        (
            "[{kind: catalogue, path: e.csv}, {kind: pairs, path: p.csv}]",
            "prepare: no input points to the catalogue",
        ),
        (
            "[{kind: catalogue, path: e.csv}, {kind: catalogue, path: f.csv}, {kind: utterances, path: u.csv}]",
            "two inputs are `kind: catalogue`",
        ),
        ("[{kind: pairs, path: p.csv, matches_only: true}]", "say which side they are, `catalogue: text_a`"),
        (
            "[{kind: pairs, path: p.csv, matches_only: true, catalogue: text_b, label: y}]",
            "every row is a match, so there is no column `label`",
        ),
        (
            "[{kind: catalogue, path: e.csv, split: dev}, {kind: utterances, path: u.csv}]",
            "entries may stand in every split, so a catalogue takes no `split`",
        ),
    ],
)
def test_a_config_that_cannot_be_meant_is_said(tmp_path: Path, inputs: str, said: str) -> None:
    (tmp_path / "config.yaml").write_text(f"prepare: {{inputs: {inputs}}}\n", "utf-8")
    with pytest.raises(FlipkdError, match=said):
        load_config(tmp_path / "config.yaml")


def test_messages_name_the_input_where_the_config_has_it(tmp_path: Path) -> None:
    catalogue = {"kind": "catalogue", "path": str(entries_file(tmp_path)), "id": "number", "title": "nome"}
    inputs = [utterances(questions_file(tmp_path)), catalogue]
    config = PrepareConfig.model_validate({"inputs": inputs})
    assert [key_of(file) for file in files_of(config)] == ["prepare.inputs.1", "prepare.inputs.0"]
    with pytest.raises(FlipkdError, match=r"prepare\.inputs\.1: entries\.csv: no column 'nome'.*name"):
        check_inputs(config)


@pytest.mark.skipif(not REAL_DATA.is_dir(), reason=f"no real data: {REAL_DATA} is not there")
def test_banking77_and_its_titles(tmp_path: Path) -> None:
    folder = REAL_DATA / "banking77"
    inputs = [
        {"kind": "utterances", "path": str(folder / "train.csv"), "text": "text", "id": "category"},
        {"kind": "catalogue", "path": str(folder / "catalogue.csv"), "id": "category"},
    ]
    out = tmp_path / "out"
    out.mkdir()
    config = PrepareConfig.model_validate({"inputs": inputs, "pairs": {"random_share": 1}})
    summary = prepare(config, out, 1, encoder, tmp_path / "scratch")
    pairs = pl.read_parquet(out / "pairs.parquet")
    titles = pl.read_csv(folder / "catalogue.csv")
    questions = pl.read_csv(folder / "train.csv").join(titles, on="category")
    right = {(" ".join(text.split()), title) for text, title in questions.select("text", "title").iter_rows()}
    matches = pairs.filter(label=1)
    assert {
        (" ".join(text.split()), title) for text, title in matches.select("text_a", "text_b").iter_rows()
    } <= right
    assert matches.height == 9_998
    assert summary["catalogue"]["train.csv"] | {"splits": None} == {
        "side": "text_b", "queries": 9_998, "entries": 77, "splits": None,
    }  # fmt: skip
