"""What later stages ask of prepare: which columns hold a catalogue's entries."""

from __future__ import annotations

import json
from pathlib import Path

from pipeline.stages.prepare.artifact import catalogue_columns
from pipeline.store.manifest import MANIFEST
from pipeline.store.store import Store
from tests.stores import put


def test_by_source_and_nothing_where_none_was_named(tmp_path: Path) -> None:
    store = Store(tmp_path)
    folder = store.path(*put(store, "prepare", "a"))
    assert catalogue_columns(folder) == {}
    manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
    manifest["summary"] = {"catalogue": {"faq.csv": {"side": "text_b", "entries": 3}}}
    (folder / MANIFEST).write_text(json.dumps(manifest), "utf-8")
    assert catalogue_columns(folder) == {"faq.csv": "text_b"}
