"""The order of the rooms holds, and the test that says so can fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.checkout import ROOT
from tests.rooms import ROOMS, against_the_order, between_stages, circles, imports, room_of


@pytest.fixture(scope="module")
def found() -> dict[str, set[str]]:
    return imports(ROOT)


def test_no_import_goes_up(found: dict[str, set[str]]) -> None:
    assert against_the_order(found) == []


def test_no_circle(found: dict[str, set[str]]) -> None:
    assert circles(found) == []


def test_a_stage_sees_another_by_its_reading_side_alone(found: dict[str, set[str]]) -> None:
    assert between_stages(found) == []


def test_every_module_stands_in_a_room_and_every_room_is_there(found: dict[str, set[str]]) -> None:
    outside = {module for module in found if room_of(module) is None}
    assert outside == {"pipeline", "models"}
    assert {room_of(module) for module in found} >= set(ROOMS)


def write(root: Path, **modules: str) -> dict[str, set[str]]:
    for name, text in modules.items():
        path = root / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return imports(root)


def test_what_is_wrong_is_named_by_both_files(tmp_path: Path) -> None:
    found = write(
        tmp_path,
        pipeline__store__disk="def late():\n    from pipeline.config import config\n",
        pipeline__config__config="import pipeline.config.load\n",
        pipeline__config__load="from pipeline.config.config import Config\n",
        pipeline__stages__score__run="from pipeline.stages.teach.run import tune\n",
        pipeline__stages__teach__run="from pipeline.stages.teach.artifact import teachers_of\n",
        pipeline__stages__teach__artifact="",
    )
    assert against_the_order(found) == [("pipeline.store.disk", "pipeline.config.config")]
    assert between_stages(found) == [("pipeline.stages.score.run", "pipeline.stages.teach.run")]
    (ring,) = circles(found)
    assert ring[0] == ring[-1]
    assert set(ring) == {"pipeline.config.config", "pipeline.config.load"}
