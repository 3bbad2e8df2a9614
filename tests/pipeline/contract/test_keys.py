"""The key of an artifact."""

from __future__ import annotations

from pipeline.contract.keys import artifact_key


def test_keys_depend_on_each_part_and_not_on_order():
    base = artifact_key("filter", 1, {"a": 1, "b": 2}, 0, {"score": "x"})
    assert base == artifact_key("filter", 1, {"b": 2, "a": 1}, 0, {"score": "x"})
    others = {
        artifact_key("teach", 1, {"a": 1, "b": 2}, 0, {"score": "x"}),
        artifact_key("filter", 2, {"a": 1, "b": 2}, 0, {"score": "x"}),
        artifact_key("filter", 1, {"a": 1, "b": 3}, 0, {"score": "x"}),
        artifact_key("filter", 1, {"a": 1, "b": 2}, 1, {"score": "x"}),
        artifact_key("filter", 1, {"a": 1, "b": 2}, 0, {"score": "y"}),
    }
    assert len(others | {base}) == 6
    assert len(base) == 20
