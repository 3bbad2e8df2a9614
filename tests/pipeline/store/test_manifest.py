"""What a manifest may say, and who believes it."""

from __future__ import annotations

import json
from pathlib import Path

from pipeline.store.manifest import MANIFEST
from pipeline.store.store import Store
from tests.pipeline.store.test_store import publish


def test_a_manifest_of_another_artifact_is_a_problem(tmp_path: Path):
    store = Store(tmp_path)
    folder = publish(store)
    manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
    (folder / MANIFEST).write_text(json.dumps(manifest | {"key": "other"}), "utf-8")
    assert "belongs to score/other" in (store.problems("score", "k") or [""])[0]
