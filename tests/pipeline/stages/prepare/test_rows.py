"""What is known of the rows of all files between reading and writing, and how one is found again for a message."""

from __future__ import annotations

from pathlib import Path

from pipeline.stages.prepare.rows import KNOWN, gather
from tests.pipeline.stages.prepare.test_run import config_of, good, write


def test_rows_of_every_kind_are_counted_and_found_again(tmp_path: Path) -> None:
    pairs = {"path": write(tmp_path, [*good(3), ["", "tea", 1]]), "group": "text_a"}
    questions = write(tmp_path, [["one", "x"], ["two", "y"]], "questions.csv", "text,id")
    (tmp_path / "log.txt").write_text("how\nwhy\n", "utf-8")
    files = [
        pairs,
        {"kind": "utterances", "path": questions},
        {"kind": "texts", "path": str(tmp_path / "log.txt")},
    ]
    (tmp_path / "waiting").mkdir()
    gathered = gather(config_of(*files), 1, tmp_path / "waiting")
    assert dict(gathered.pairs.schema) == KNOWN
    heights = [part.height for part in (gathered.pairs, gathered.utterances, gathered.raw, gathered.rejects)]
    assert heights == [3, 2, 2, 1]
    assert gathered.rows_read == 8
    assert gathered.rejects.row(0) == (0, 4, "missing_text")
    assert gathered.look_up(1, "key_b") == ("second text 1", "rows.csv row 2, column 'text_b'")
    assert gathered.look_up(3, "group") == ("x", "questions.csv row 1, column 'id'")
    assert gathered.look_up(4, "key_a") == ("two", "questions.csv row 2, column 'text'")
