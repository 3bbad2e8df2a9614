from __future__ import annotations

import json
from pathlib import Path

from pipeline.stages.teach.artifact import COMBINATION, saved_teachers


def test_a_teacher_that_is_alone_fills_the_folder(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text(json.dumps({"teacher": {"identity": "one"}}))
    assert saved_teachers(tmp_path) == [(tmp_path / "teacher", {"identity": "one"}, 1.0)]


def test_each_of_several_has_its_own_folder_metadata_and_share(tmp_path: Path) -> None:
    (tmp_path / "teacher").mkdir()
    teachers = [{"teacher": {"identity": name}} for name in ("one", "two")]
    (tmp_path / "metrics.json").write_text(json.dumps({"teachers": teachers}))
    entries = [{"folder": "0", "share": 0.75}, {"folder": "1", "share": 0.25}]
    (tmp_path / "teacher" / COMBINATION).write_text(json.dumps({"teachers": entries}))
    assert saved_teachers(tmp_path) == [
        (tmp_path / "teacher" / "0", {"identity": "one"}, 0.75),
        (tmp_path / "teacher" / "1", {"identity": "two"}, 0.25),
    ]
