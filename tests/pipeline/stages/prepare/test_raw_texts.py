"""Texts without a label: which are taken, and where the others end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pydantic import ValidationError

from pipeline.stages.prepare.artifact import more_texts
from pipeline.stages.prepare.config import PrepareConfig
from tests.pipeline.stages.prepare.test_catalogue import faq, pairs_file
from tests.pipeline.stages.prepare.test_run import good, prepared, write

LOG = [
    "how do i lose weight", "  FIRST text 3 ", "a new one", "A  new one", "", "second text 7", "x" * 3000,
    "an other",
]  # fmt: skip


def log_file(folder: Path, lines: list[str], **options: Any) -> dict[str, Any]:
    (folder / "log.txt").write_text("\n".join(lines) + "\n", "utf-8")
    return {"kind": "texts", "path": str(folder / "log.txt")} | options


def test_each_once_and_none_that_is_measured_or_known(tmp_path: Path) -> None:
    pairs = {"path": write(tmp_path, good(40)), "group": "text_a"}
    summary, rows, rejects = prepared(tmp_path, pairs, log_file(tmp_path, LOG), max_rejected=0.5)
    texts = pd.read_parquet(tmp_path / "out/texts.parquet")
    assert texts.to_dict("list") == {
        "text": ["how do i lose weight", "a new one", "an other"],
        "source": ["log.txt"] * 3,
        "source_row": [1, 3, 7],
    }
    split = dict(zip(rows["text_a"], rows["split"], strict=True)) | dict(
        zip(rows["text_b"], rows["split"], strict=True)
    )
    reasons = rejects[rejects["source"] == "log.txt"].set_index("source_row")["reason"].to_dict()
    kind = {"train": "known_text", "dev": "measured_text", "test": "measured_text"}
    assert reasons == {
        2: kind[split["first text 3"]],
        4: "known_text",
        5: kind[split["second text 7"]],
        6: "too_long",
    }
    counts = summary["rows"]
    assert counts["texts"] == 3
    assert counts["read"] == 47 == counts["pairs"] + counts["texts"] + counts["rejected"]
    assert more_texts(tmp_path / "out", utterances=True) == texts["text"].to_list()


def test_no_text_of_dev_or_test_reaches_training(tmp_path: Path) -> None:
    pairs = {"path": write(tmp_path, good(60)), "group": "text_a"}
    everything = [f"{side} text {n}" for n in range(60) for side in ("first", "second")]
    _, rows, rejects = prepared(tmp_path, pairs, log_file(tmp_path, [*everything, "one more"]))
    assert pd.read_parquet(tmp_path / "out/texts.parquet")["text"].to_list() == ["one more"]
    held_out = rows[rows["split"] != "train"]
    reasons = rejects["reason"].value_counts()
    assert reasons["measured_text"] == held_out["text_a"].nunique() + held_out["text_b"].nunique()
    assert reasons.sum() == 120  # though a tenth is the limit: nothing is wrong with them


def test_an_entry_of_a_catalogue_is_known_and_not_held_out(tmp_path: Path) -> None:
    _, rows, rejects = prepared(tmp_path, pairs_file(tmp_path, faq()), log_file(tmp_path, ["Title 3", "new"]))
    assert set(rows[rows["text_b"] == "Title 3"]["split"]) == {"train", "dev", "test"}
    assert rejects["reason"].to_list() == ["known_text"]


def test_a_column_of_a_table(tmp_path: Path) -> None:
    pairs = {"path": write(tmp_path, good(40)), "group": "text_a"}
    log = {
        "kind": "texts",
        "path": write(tmp_path, [["x", "asked, once"]], "log.csv", "id,query"),
        "text": "query",
    }
    prepared(tmp_path, pairs, log)
    assert pd.read_parquet(tmp_path / "out/texts.parquet")["text"].to_list() == ["asked, once"]


def test_they_take_no_split() -> None:
    with pytest.raises(ValidationError, match="never in dev or test"):
        PrepareConfig.model_validate({"inputs": [{"kind": "texts", "path": "log.txt", "split": "train"}]})
