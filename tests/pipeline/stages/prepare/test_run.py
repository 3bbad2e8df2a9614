from __future__ import annotations

import csv
import hashlib
import json
import logging
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from data.errors import FlipkdError
from data.schema import PAIRS, REJECTS, UTTERANCES
from data.texts import fold, pair_id
from pipeline.stages.prepare.config import PrepareConfig
from pipeline.stages.prepare.run import prepare
from tests.checkout import REAL_DATA, SAMPLE


def encoder(texts: Sequence[str]) -> np.ndarray:
    """Unit vectors that depend on the words of a text: a bag of hashed words."""
    vectors = np.full((len(texts), 64), 1e-3, np.float32)
    for row, text in enumerate(texts):
        for word in fold(text).split():
            vectors[row, hashlib.sha256(word.encode()).digest()[0] % 64] += 1
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def config_of(*files: dict[str, Any], **options: Any) -> PrepareConfig:
    return PrepareConfig.model_validate({"inputs": [{"kind": "pairs"} | file for file in files]} | options)


def prepared(
    folder: Path, *files: dict[str, Any], seed: int = 13, **options: Any
) -> tuple[dict[str, Any], Any, Any]:
    """Summary, pairs, rejects: the files read with pandas."""
    out = folder / "out"
    out.mkdir(exist_ok=True)
    summary = prepare(config_of(*files, **options), out, seed, encoder, folder / "scratch")
    assert not (folder / "scratch").exists()
    json.dumps(summary, allow_nan=False)
    return summary, pd.read_parquet(out / "pairs.parquet"), pd.read_parquet(out / "rejects.parquet")


def write(
    folder: Path, rows: Sequence[Sequence[object]], name: str = "rows.csv", head: str = "text_a,text_b,label"
) -> str:
    with (folder / name).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([head.split(","), *rows])
    return str(folder / name)


def good(count: int, start: int = 0) -> list[list[object]]:
    return [[f"first text {n}", f"second text {n}", n % 2] for n in range(start, start + count)]


def check_no_leak(pairs: Any) -> None:
    where = defaultdict(set)
    for row in pairs.to_dict("records"):
        where["text", fold(row["text_a"])].add(row["split"])
        where["text", fold(row["text_b"])].add(row["split"])
        if isinstance(row["group"], str):
            where["group", row["group"]].add(row["split"])
    assert not [name for name, splits in where.items() if len(splits) > 1]


def test_every_reason_and_the_accounting(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    bad = [
        ["", "x", 1],
        ["a", "b", 2],
        ["first text 0", "Second  TEXT 0", 0],  # a duplicate of row 1
        ["second text 1", "first text 1", 1],  # the other direction of row 2
        ["Same", "same ", 1],
        ["c", "d" * 2001, 1],
        ["e", "f", 1], ["e", "f", 0],
        ["only two", "fields"],
    ]  # fmt: skip
    path = write(tmp_path, [*good(40), *bad])
    with Path(path).open("ab") as file:
        file.write(b"caf\xe9,tea,1\r\n")
    summary, pairs, rejects = prepared(tmp_path, {"path": path}, max_rejected=0.5)
    assert summary["rows"] == {"read": 50, "pairs": 40, "utterances": 0, "rejected": 10, "pairs_built": 0}
    assert summary["rejected"] == {
        "contradictory_label": 2, "duplicate": 2, "bad_label": 1, "missing_text": 1, "not_utf8": 1,
        "ragged_row": 1, "same_text": 1, "too_long": 1,
    }  # fmt: skip
    assert rejects["source_row"].tolist() == list(range(41, 51))
    assert sorted(pairs["source_row"]) == list(range(1, 41))
    raw = dict(zip(rejects["source_row"], rejects["raw"], strict=True))
    assert json.loads(raw[43]) == {"text_a": "first text 0", "text_b": "Second  TEXT 0", "label": "0"}
    assert json.loads(raw[50]) == {"text_a": "caf\\xe9", "text_b": "tea", "label": "1"}
    assert "rejected as duplicate: 2" in caplog.text
    check_no_leak(pairs)


def test_schema_and_ids(tmp_path: Path) -> None:
    path = write(tmp_path, good(40))
    summary, pairs, _ = prepared(tmp_path, {"path": path, "name": "mine"})
    out = tmp_path / "out"
    assert pq.read_schema(out / "pairs.parquet").equals(PAIRS)
    assert pq.read_schema(out / "rejects.parquet").equals(REJECTS)
    assert not (out / "utterances.parquet").exists()
    assert pairs["pair_id"].tolist() == [
        pair_id(a, b) for a, b in zip(pairs["text_a"], pairs["text_b"], strict=True)
    ]
    assert set(pairs["source"]) == {"mine"}
    table = duckdb.read_parquet(str(out / "pairs.parquet"))
    for split, label, count in table.aggregate("split, label, count(*)", "split, label").fetchall():
        assert summary["splits"][split][("negative", "positive")[label]] == count


def test_same_config_same_bytes_and_other_seed_other_splits(tmp_path: Path) -> None:
    files = [{"path": write(tmp_path, good(200))}, {"kind": "utterances", "path": str(SAMPLE), "id": "faq_id"}]
    options: dict[str, Any] = {"splitting": {"by": "text"}}
    digests = []
    for seed in (1, 1, 2):
        prepared(tmp_path, *files, seed=seed, **options)
        contents = [path.read_bytes() for path in sorted((tmp_path / "out").iterdir())]
        digests.append(hashlib.sha256(b"".join(contents)).hexdigest())
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(("policy", "kept"), [("reject", 0), ("majority", 1), ("keep", 2)])
def test_contradictions(tmp_path: Path, policy: str, kept: int) -> None:
    path = write(tmp_path, [*good(40), ["x", "y", 1], ["y", "x", 1], [" X", "ｙ", 0]])
    summary, pairs, _ = prepared(tmp_path, {"path": path}, contradictions=policy)
    assert (pairs["pair_id"] == pair_id("x", "y")).sum() == kept
    assert summary["contradictions"] == {"pairs": 1, "utterances": 0}


def test_a_file_that_changes_while_it_is_read(tmp_path: Path) -> None:
    rows = [[f"text {i} {n}", f"id{i}"] for i in range(12) for n in range(6)]
    path = Path(write(tmp_path, rows, head="text,id"))

    def slow(texts: Sequence[str]) -> np.ndarray:
        with path.open("a") as file:
            file.write("one more,id1\n")
        return encoder(texts)

    config = config_of({"kind": "utterances", "path": str(path)})
    with pytest.raises(FlipkdError, match=r"rows\.csv: it changed while it was read"):
        prepare(config, tmp_path, 1, slow, tmp_path / "scratch")


def test_what_a_killed_run_left_in_the_scratch_folder_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    (tmp_path / "scratch" / "pairs-0.parquet").write_text("half")
    prepared(tmp_path, {"path": write(tmp_path, good(40))})


def test_groups_stay_together_and_null_groups_are_allowed(tmp_path: Path) -> None:
    rows = [[*row, f"g{n // 4}" if n < 60 else ""] for n, row in enumerate(good(80))]
    path = write(tmp_path, rows, head="text_a,text_b,label,g")
    summary, pairs, _ = prepared(tmp_path, {"path": path, "group": "g"})
    check_no_leak(pairs)
    assert sum(split["groups"] for split in summary["splits"].values()) == 15
    assert pairs["group"].isna().sum() == 20


def test_given_splits(tmp_path: Path) -> None:
    paths = {
        split: write(tmp_path, good(10, 10 * n), f"{split}.csv")
        for n, split in enumerate(["train", "dev", "test"])
    }
    _, pairs, _ = prepared(tmp_path, *({"path": path, "split": split} for split, path in paths.items()))
    assert (pairs["split"] + ".csv").tolist() == pairs["source"].tolist()
    rows = [
        [*row, split]
        for row, split in zip(good(30), ["train", "dev", "dev", "test", "test", "train"] * 5, strict=True)
    ]
    path = write(tmp_path, rows, head="text_a,text_b,label,fold")
    _, pairs, _ = prepared(tmp_path, {"path": path, "split_column": "fold"})
    assert pairs.sort_values("source_row")["split"].tolist() == [row[3] for row in rows]


def test_unlabelled_pairs(tmp_path: Path) -> None:
    labelled, unlabelled = (
        write(tmp_path, good(40)),
        write(tmp_path, [["x", f"y{n}"] for n in range(5)], "u.csv", "text_a,text_b"),
    )
    summary, _, _ = prepared(tmp_path, {"path": labelled}, {"path": unlabelled, "label": None, "split": "train"})
    assert summary["splits"]["train"]["unlabelled"] == 5
    summary, pairs, _ = prepared(tmp_path, {"path": write(tmp_path, [[*row[:2], ""] for row in good(40)])})
    assert pairs["label"].isna().all()


def test_formats_agree(tmp_path: Path) -> None:
    rows = [*good(40), ["zwei\nZeilen", "“a”, b", 1], ["怎么", "改", 0]]
    frame = pd.DataFrame(rows, columns=["text_a", "text_b", "label"])
    frame.to_csv(tmp_path / "rows.csv", index=False)
    frame.to_json(tmp_path / "rows.jsonl", orient="records", lines=True)
    frame.to_parquet(tmp_path / "rows.parquet")
    found = [
        prepared(tmp_path, {"path": str(tmp_path / f"rows.{ending}"), "name": "rows"})[1]
        for ending in ("csv", "jsonl", "parquet")
    ]
    pd.testing.assert_frame_equal(found[0], found[1])
    pd.testing.assert_frame_equal(found[0], found[2])
    assert len(found[0]) == 42


# --------------------------------------------------------------------------------------------- utterances


@pytest.mark.parametrize("by", ["text", "group"])
def test_sample(tmp_path: Path, by: str) -> None:
    file = {"kind": "utterances", "path": str(SAMPLE), "id": "faq_id"}
    summary, pairs, rejects = prepared(tmp_path, file, splitting={"by": by})
    texts: Any = pd.read_parquet(tmp_path / "out/utterances.parquet")
    assert pq.read_schema(tmp_path / "out/utterances.parquet").equals(UTTERANCES)
    assert rejects.empty
    assert len(texts) == summary["rows"]["utterances"] == 1021
    identity, split = (dict(zip(texts["text"], texts[name], strict=True)) for name in ("id", "split"))
    assert ((pairs["text_a"].map(identity) == pairs["text_b"].map(identity)) == (pairs["label"] == 1)).all()
    assert (pairs["text_a"].map(split) == pairs["split"]).all()
    assert (pairs["text_b"].map(split) == pairs["split"]).all()
    assert pairs["pair_id"].is_unique
    positives = Counter(zip(pairs["split"], pairs["text_a"].map(identity), pairs["label"] == 1, strict=True))
    assert max(count for (*_, positive), count in positives.items() if positive) <= 12
    splits_of_ids = texts.groupby("id")["split"].nunique()
    if by == "group":
        assert splits_of_ids.max() == 1
        assert (pairs["group"] == pairs["text_a"].map(identity)).all()
    else:
        assert splits_of_ids.min() == 3
        assert pairs["group"].isna().all()
    shares = texts["split"].value_counts(normalize=True)
    assert shares["dev"] == pytest.approx(0.15, abs=0.02)
    assert shares["test"] == pytest.approx(0.2, abs=0.02)
    check_no_leak(pairs)


def test_utterances_twice_and_under_two_ids(tmp_path: Path) -> None:
    rows = [[f"text {i} {n}", f"id{i}"] for i in range(12) for n in range(6)]
    rows += [["Text 0 0", "id0"], ["twice", "id1"], ["twice ", "id2"], ["", "id1"], ["text", ""]]
    file = {"kind": "utterances", "path": write(tmp_path, rows, head="text,id")}
    summary, _, rejects = prepared(tmp_path, file)
    assert summary["rows"]["utterances"] == 72
    assert rejects["reason"].tolist() == [
        "duplicate", "contradictory_label", "contradictory_label", "missing_text", "missing_id",
    ]  # fmt: skip
    assert json.loads(rejects["raw"][0]) == {"text": "Text 0 0", "id": "id0"}


# ---------------------------------------------------------------------------------------------- real sets


def real(name: str) -> str:
    path = REAL_DATA / name
    if not path.is_file():
        pytest.skip(f"needs the real data set {name}, which is not part of this repository")
    return str(path)


def test_medical_question_pairs(tmp_path: Path) -> None:
    file = {
        "path": real("mqp/mqp.csv"), "column_names": ["dr_id", "question_1", "question_2", "label"],
        "text_a": "question_1", "text_b": "question_2", "group": "question_1",
    }  # fmt: skip
    summary, pairs, _ = prepared(tmp_path, file)
    assert summary["rows"] == {"read": 2430, "pairs": 2430, "utterances": 0, "rejected": 0, "pairs_built": 0}
    with Path(file["path"]).open(encoding="utf-8", newline="") as raw:
        rows = list(csv.reader(raw))
    for row in pairs.itertuples():
        assert [row.text_a, row.text_b, str(row.label)] == [
            v.strip() for v in rows[int(str(row.source_row)) - 1][1:]
        ]
    assert pairs.groupby("text_a")["split"].nunique().max() == 1
    assert pairs["split"].value_counts()["test"] == pytest.approx(0.2 * 2430, abs=5)
    check_no_leak(pairs)


def test_atec(tmp_path: Path) -> None:
    file = {
        "path": real("atec/atec_nlp_sim_train.csv"), "format": "tsv",
        "column_names": ["id", "text_a", "text_b", "label"],
    }  # fmt: skip
    summary, pairs, _ = prepared(tmp_path, file)
    assert summary["rows"]["read"] == 39_346
    assert summary["rows"]["rejected"] < 10
    first = pairs[pairs["source_row"] == 1].iloc[0]
    assert first["text_a"] == "怎么更改花呗手机号码"
    assert pairs["label"].mean() == pytest.approx(0.22, abs=0.01)
    assert pairs["split"].value_counts(normalize=True)["dev"] == pytest.approx(0.15, abs=0.001)
    check_no_leak(pairs)


def test_banking77(tmp_path: Path) -> None:
    file = {"kind": "utterances", "path": real("banking77/train.csv"), "id": "category"}
    summary, pairs, rejects = prepared(tmp_path, file, splitting={"by": "text"})
    assert summary["rows"]["utterances"] + len(rejects) == 10_003
    assert summary["splits"]["train"]["ids"] == 77
    assert summary["splits"]["train"]["positive"] == summary["splits"]["train"]["negative"] == 77 * 12
    check_no_leak(pairs)
