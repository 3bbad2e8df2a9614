"""Links that are moved in one step."""

from __future__ import annotations

from pathlib import Path

from pipeline.store.links import linked_name, point


def test_a_link_moves_and_tells_its_target(tmp_path: Path) -> None:
    link = tmp_path / "latest" / "filter"
    assert linked_name(link) is None
    (tmp_path / "latest").mkdir()
    (tmp_path / "latest" / ".filter.new").symlink_to("left by a killed process")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        point(link, Path("..") / name)
        assert linked_name(link) == name
        assert link.resolve() == tmp_path / name
    assert [path.name for path in (tmp_path / "latest").iterdir()] == ["filter"]
