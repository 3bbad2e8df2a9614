"""Parquet files of other types than text and whole numbers."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.bad_input.corpus import Case, pairs, pairs_of, utterances, utterances_of

COUNT = 40
TEXTS = [row["text_a"] for row in pairs(COUNT)]
BITS = [n % 2 for n in range(COUNT)]
DAYS = [datetime(2020, 1, 1 + n % 28, n % 24) for n in range(COUNT)]

# A column for text_a: its values, and the reason of all its rejects; None if its rows are taken.
AS_TEXT: dict[str, tuple[pa.Array, str | None]] = {
    "large_string": (pa.array(TEXTS, pa.large_string()), None),
    "string_view": (pa.array(TEXTS, pa.string_view()), None),
    "dictionary": (pa.array(TEXTS).dictionary_encode(), None),
    "binary": (pa.array([text.encode() for text in TEXTS], pa.binary()), None),
    "fixed-size binary": (pa.array([b"%04d" % n for n in range(COUNT)], pa.binary(4)), None),
    "int64": (pa.array(range(COUNT)), "text_not_a_string"),
    "float64": (pa.array([n + 0.5 for n in range(COUNT)]), "text_not_a_string"),
    "bool": (pa.array([bool(n) for n in BITS]), "text_not_a_string"),
    "timestamp in seconds": (pa.array(DAYS, pa.timestamp("s")), "text_not_a_string"),
    "timestamp in nanoseconds": (pa.array(range(1, COUNT + 1), pa.timestamp("ns")), "text_not_a_string"),
    "timestamp past 9999": (pa.array([2**60 + n for n in range(COUNT)], pa.timestamp("us")), "text_not_a_string"),
    "date": (pa.array([day.date() for day in DAYS]), "text_not_a_string"),
    "decimal": (pa.array([Decimal(n) for n in range(COUNT)], pa.decimal128(10, 2)), "text_not_a_string"),
    "list of strings": (pa.array([[text] for text in TEXTS]), "text_not_a_string"),
    "list of bytes": (pa.array([[b"caf\xe9"]] * COUNT), "text_not_a_string"),
    "struct": (pa.array([{"text": text} for text in TEXTS]), "text_not_a_string"),
    "map": (pa.array([[("en", text)] for text in TEXTS], pa.map_(pa.string(), pa.string())), "text_not_a_string"),
    "null": (pa.nulls(COUNT), "missing_text"),
}
AS_LABEL: dict[str, tuple[pa.Array, str | None]] = {
    "int8": (pa.array(BITS, pa.int8()), None),
    "uint64": (pa.array(BITS, pa.uint64()), None),
    "float32": (pa.array([float(n) for n in BITS], pa.float32()), None),
    "half float": (pa.array([float(n) for n in BITS], pa.float16()), None),
    "float64 with gaps": (pa.array([float(n) if i else None for i, n in enumerate(BITS)]), None),
    "bool": (pa.array([bool(n) for n in BITS]), None),
    "decimal": (pa.array([Decimal(n) for n in BITS], pa.decimal128(5, 2)), None),
    "decimal256": (pa.array([Decimal(n) for n in BITS], pa.decimal256(50, 2)), None),
    "dictionary": (pa.array([str(n) for n in BITS]).dictionary_encode(), None),
    "dictionary of numbers": (pa.array(BITS).dictionary_encode(), None),
    "large_string": (pa.array([str(n) for n in BITS], pa.large_string()), None),
    "binary": (pa.array([b"%d" % n for n in BITS]), None),
    "null": (pa.nulls(COUNT), None),
    "other numbers": (pa.array([n + 2 for n in BITS]), "bad_label"),
    "infinity": (pa.array([float("inf")] * COUNT), "bad_label"),
    "list": (pa.array([[n] for n in BITS]), "bad_label"),
    "struct": (pa.array([{"label": n} for n in BITS]), "bad_label"),
    "timestamp": (pa.array(BITS, pa.timestamp("s")), "bad_label"),
    "date": (pa.array([date(2020, 1, 1)] * COUNT), "bad_label"),
    "duration": (pa.array(BITS, pa.duration("s")), "bad_label"),
}
AS_GROUP: dict[str, tuple[pa.Array, str | None]] = {
    "int64": (pa.array([n // 2 for n in range(COUNT)]), None),
    "float64 with gaps": (pa.array([float(n // 2) if n > 3 else None for n in range(COUNT)]), None),
    "date": (pa.array([date(2020, 1 + n // 4, 1) for n in range(COUNT)]), None),
    "timestamp in nanoseconds": (pa.array([n // 2 * 7 + 1 for n in range(COUNT)], pa.timestamp("ns")), ""),
    "list": (pa.array([[n] for n in range(COUNT)]), "bad_id"),
    "struct": (pa.array([{"id": n} for n in range(COUNT)]), "bad_id"),
    "not UTF-8": (pa.array([b"caf\xe9%d" % n for n in range(COUNT)]), "not_utf8"),
}


def cases() -> Iterator[Case]:
    for role, columns in (("text_a", AS_TEXT), ("label", AS_LABEL), ("group", AS_GROUP)):
        for name, (values, reason) in columns.items():
            make = functools.partial(_column, role, values)
            if reason == "":
                yield Case("types, parquet", f"{role} as {name}", make, "either", ())
            elif reason:
                says = (f"{COUNT} of {COUNT} rows", reason, "rows.parquet row 1")
                yield Case("types, parquet", f"{role} as {name}", make, "error", says)
            else:
                yield Case("types, parquet", f"{role} as {name}", make, "accepted", rows=COUNT)
    yield Case("types, parquet", "ids as numbers", _ids, "accepted", rows=48)
    yield Case("types, parquet", "rejects beside columns of every type", _zoo, "accepted",
               rejected={"missing_text": 2}, rows=COUNT + 2)  # fmt: skip
    yield Case("types, parquet", "names with dots", _dots, "accepted", rows=COUNT)
    yield Case("types, parquet", "no column at all", _no_column, "error", ("rows.parquet", "none"))
    yield Case("types, parquet", "many row groups", _groups, "accepted", rows=COUNT)
    yield Case("types, parquet", "a text of a megabyte in every row, in a small file", _bomb, "error",
               ("300 of 300 rows", "too_long", "rows.parquet row 1"))  # fmt: skip
    for name in ("the end", "the middle", "the footer"):
        yield Case("types, parquet", f"zeros at {name}", functools.partial(_hole, name), "either", ())


def _table(**columns: Any) -> pa.Table:
    rows = pairs(COUNT)
    plain = {name: pa.array([row[name] for row in rows]) for name in ("text_a", "text_b", "label", "group")}
    return pa.table(plain | columns)


def _column(role: str, values: pa.Array, folder: Path) -> dict[str, Any]:
    pq.write_table(_table(**{role: values}), folder / "rows.parquet")
    return pairs_of(folder / "rows.parquet", group="group")


def _ids(folder: Path) -> dict[str, Any]:
    rows = utterances()
    table = pa.table({"text": [row["text"] for row in rows], "id": [int(row["id"][2:]) for row in rows]})
    pq.write_table(table, folder / "rows.parquet")
    return utterances_of(folder / "rows.parquet")


def _zoo(folder: Path) -> dict[str, Any]:
    """Rows without a text are written to the rejects with all that stands beside it."""
    extras = {f"column {n}": values for n, (values, _) in enumerate([*AS_TEXT.values(), *AS_LABEL.values()])}
    bad = pa.table({name: values.slice(0, 2) for name, values in extras.items()})
    bad = bad.append_column("text_a", pa.array([None, ""], pa.string()))
    for name in ("text_b", "label", "group"):
        bad = bad.append_column(name, pa.array(["x", "1"]))
    good = pa.table(extras | {name: _table()[name] for name in ("text_a", "text_b", "label", "group")})
    pq.write_table(
        pa.concat_tables([good, bad.select(good.column_names)]).unify_dictionaries(), folder / "rows.parquet"
    )
    return pairs_of(folder / "rows.parquet")


def _dots(folder: Path) -> dict[str, Any]:
    table = _table().rename_columns(["q.a", "q.b", "y.y", "q"])
    pq.write_table(table, folder / "rows.parquet")
    return pairs_of(folder / "rows.parquet", text_a="q.a", text_b="q.b", label="y.y", group="q")


def _no_column(folder: Path) -> dict[str, Any]:
    pq.write_table(pa.table({}), folder / "rows.parquet")
    return pairs_of(folder / "rows.parquet")


def _groups(folder: Path) -> dict[str, Any]:
    pq.write_table(_table(), folder / "rows.parquet", row_group_size=1)
    return pairs_of(folder / "rows.parquet")


def _bomb(folder: Path) -> dict[str, Any]:
    values = pa.DictionaryArray.from_arrays(pa.array([0] * 300, pa.int32()), pa.array(["x" * 1_000_000]))
    table = pa.table({"text_a": values, "text_b": [f"b {n}" for n in range(300)], "label": ["1"] * 300})
    pq.write_table(table, folder / "rows.parquet", compression="zstd")
    return pairs_of(folder / "rows.parquet")


def _hole(where: str, folder: Path) -> dict[str, Any]:
    path = folder / "rows.parquet"
    pq.write_table(_table(), path)
    content = bytearray(path.read_bytes())
    start = {"the end": len(content) - 8, "the middle": 100, "the footer": len(content) - 200}[where]
    content[start : start + 8] = bytes(8)
    path.write_bytes(bytes(content))
    return pairs_of(path)
