"""The corpus of bad and odd input: each case writes files, and says how it must end.

Everything is made here, from fixed seeds: the corpus is the same in every run. `cases()` gives all of it.
"""

from __future__ import annotations

import csv
import importlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

FORMATS = ("csv", "tsv", "jsonl", "parquet")
TEXT_FORMATS = ("csv", "tsv", "jsonl")
PARTS = ("damage", "texts", "labels", "columns", "encodings", "containers", "json_lines", "columnar", "places",
         "splits", "configs", "models")  # fmt: skip
Record = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One bad or odd input.

    Attributes:
        kind: for the table, such as `labels, csv`.
        name: unique within its kind.
        make: writes what it needs into a folder, and returns the settings of `prepare` (or of more sections), or
            the path of a config file.
        ends: `either` where a random cut decides.
        says: what the error's message must hold, all of it.
        rejected: for `accepted`: how many rows are rejected, by reason.
        rows: for `accepted`: how many rows there are.
    """

    kind: str
    name: str
    make: Callable[[Path], Any]
    ends: Literal["accepted", "error", "either"]
    says: tuple[str, ...] = ()
    rejected: Mapping[str, int] = field(default_factory=dict)
    rows: int | None = None

    @property
    def id(self) -> str:
        return f"{self.kind}: {self.name}"


def cases() -> list[Case]:
    """The whole corpus, in order."""
    found = [case for part in PARTS for case in importlib.import_module(f"tests.bad_input.{part}").cases()]
    names = [case.id for case in found]
    assert len(set(names)) == len(names), sorted({name for name in names if names.count(name) > 1})
    return found


# ------------------------------------------------------------------------------------------- writing files


def pairs(count: int = 40, start: int = 0) -> list[Record]:
    """Good pairs: two of each group, one that matches and one that does not."""
    return [
        {"text_a": f"first text {n}", "text_b": f"second text {n}", "label": str(n % 2), "group": f"g{n // 2}"}
        for n in range(start, start + count)
    ]


def utterances(ids: int = 12, each: int = 4) -> list[Record]:
    """Good utterances: some of each id."""
    return [{"text": f"text {n} of id {i}", "id": f"id{i}"} for i in range(ids) for n in range(each)]


def write(path: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> Path:
    """Write rows in the format of the file's ending; all values as text, but for JSON Lines."""
    names = list(columns or rows[0])
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    elif path.suffix == ".parquet":
        pq.write_table(pa.table({n: pa.array([row.get(n) for row in rows], pa.string()) for n in names}), path)
    else:
        with path.open("w", encoding="utf-8", newline="", errors="surrogateescape") as file:
            if path.suffix == ".tsv":
                file.writelines("\t".join(_plain(v) for v in row) + "\n" for row in _lines(names, rows))
            else:
                csv.writer(file).writerows(_lines(names, rows))
    return path


def _lines(names: list[str], rows: Sequence[Mapping[str, Any]]) -> Iterator[list[Any]]:
    yield names
    yield from ([row.get(name) for name in names] for row in rows)


def _plain(value: Any) -> str:
    return "" if value is None else str(value)


def encoded(rows: Sequence[Mapping[str, Any]], format: str, folder: Path) -> bytes:
    """The bytes of a file with these rows."""
    path = write(folder / f"whole.{format}", rows)
    content = path.read_bytes()
    path.unlink()
    return content


def put(folder: Path, name: str, content: bytes | str) -> Path:
    """Write a file as it is."""
    path = folder / name
    path.write_bytes(content.encode(errors="surrogatepass") if isinstance(content, str) else content)
    return path


# ---------------------------------------------------------------------------------------------- settings


def pairs_of(path: Path | str, **more: Any) -> dict[str, Any]:
    """Settings of `prepare` for one file of pairs."""
    options = {name: more.pop(name) for name in list(more) if name in _OF_PREPARE}
    return {"prepare": {"inputs": [{"kind": "pairs", "path": str(path)} | more]} | options}


def utterances_of(path: Path | str, **more: Any) -> dict[str, Any]:
    """Settings of `prepare` for one file of utterances; no negative asks the encoder."""
    options = {name: more.pop(name) for name in list(more) if name in _OF_PREPARE}
    entry = {"kind": "utterances", "path": str(path)} | more
    return {"prepare": {"inputs": [entry], "pairs": {"encoder": "ENCODER", "random_share": 1.0}} | options}


_OF_PREPARE = {"max_rejected", "contradictions", "splitting", "max_characters"}


def files(*entries: Mapping[str, Any], **options: Any) -> dict[str, Any]:
    """Settings of `prepare` for several files of pairs."""
    return {"prepare": {"inputs": [{"kind": "pairs"} | dict(entry) for entry in entries]} | options}
