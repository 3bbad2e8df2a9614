"""Columns of the user's own (`keep` of an input), carried along behind flipkd's: a ticket's number, a channel.

They are read once more, when it is known which rows became pairs, and stand in every later file of pairs. A pair
that was built has those of the row that it is named after (`source`, `source_row`), which is its first text's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from data.errors import FlipkdError
from data.readers import header, read_rows
from data.records import Reject, raw_json
from data.schema import OWN_COLUMNS, ROW_GROUP_ROWS, write_tables
from pipeline.stages.prepare.config import PrepareConfig
from pipeline.stages.prepare.expand import files_of, key_of
from pipeline.stages.prepare.input_kinds import PairsFile, UtterancesFile
from pipeline.stages.prepare.inputs import columns_of, input_path, source_name


def kept_columns(file: PairsFile | UtterancesFile) -> list[str]:
    """The columns that a file's `keep` names.

    Raises:
        FlipkdError: one is not there, or is called like one of flipkd's own.
    """
    path, key = input_path(file.path), key_of(file)
    there = header(path, file.format, file.column_names)
    if file.keep == "all":
        used = {*columns_of(file).values(), *OWN_COLUMNS}
        return [name for name in there if name not in used]
    for name in file.keep or []:
        if name not in there:
            raise FlipkdError(f"{key}.keep: {path.name} has no column {name!r}; it has {', '.join(there)}")
        if name in OWN_COLUMNS:
            raise FlipkdError(
                f"{key}.keep: {name!r} is the name of a column that flipkd writes; rename it in {path.name}"
            )
    return list(file.keep or [])


def add_kept(config: PrepareConfig, pairs: Path, scratch: Path) -> list[str]:
    """Write the kept columns into `pairs.parquet`, behind its own.

    Args:
        scratch: a path to write to, on the same disk.

    Returns:
        Their names; none, and nothing is written, where no input keeps any.
    """
    files = [file for file in files_of(config) if isinstance(file, PairsFile | UtterancesFile) and file.keep]
    values = {source_name(file): _values(file, pairs) for file in files}
    values = {source: frame for source, frame in values.items() if frame.width > 1}
    if not values:
        return []
    parts = [frame.with_columns(source=pl.lit(source)) for source, frame in values.items()]
    own = pl.concat(parts, how="diagonal_relaxed")
    names = [name for name in own.columns if name not in {"source", "source_row"}]
    added = pa.schema([pa.field(field.name, _plain(field.type)) for field in own.select(names).to_arrow().schema])
    schema = pa.schema([*pq.read_schema(pairs), *added])

    def tables() -> Iterator[pa.Table]:
        with pq.ParquetFile(pairs) as file:
            for batch in file.iter_batches(ROW_GROUP_ROWS):
                rows = pl.DataFrame(batch.select(["source", "source_row"]))
                more = rows.join(own, on=["source", "source_row"], how="left", maintain_order="left")
                columns = more.select(names).to_arrow().cast(added).columns
                yield pa.table([*pa.table(batch).columns, *columns], schema=schema)

    write_tables(tables(), scratch, schema)
    scratch.replace(pairs)
    return names


def _plain(kind: pa.DataType) -> pa.DataType:
    """Polars' own strings are large ones; our files have plain ones."""
    return pa.string() if pa.types.is_large_string(kind) or pa.types.is_string_view(kind) else kind


def _values(file: PairsFile | UtterancesFile, pairs: Path) -> pl.DataFrame:
    """`source_row` and the kept columns of a file, for the rows that became pairs."""
    names = kept_columns(file)
    rows = pl.scan_parquet(pairs).filter(source=source_name(file)).select("source_row").unique().collect()
    wanted = set(rows["source_row"])
    found: list[tuple[int, Mapping[str, Any]]] = [
        (row.number, row.values)
        for row in read_rows(input_path(file.path), file.format, file.column_names, names)
        if not isinstance(row, Reject) and row.number in wanted
    ]
    columns = [_series(name, [values.get(name) for _, values in found]) for name in names]
    return pl.DataFrame([pl.Series("source_row", [number for number, _ in found], dtype=pl.Int64), *columns])


def _series(name: str, values: list[Any]) -> pl.Series:
    """A column with the type that its values have; as text where they have several, or one that is nested."""
    if not any(isinstance(value, dict | list | bytes) for value in values):
        try:
            found = pl.Series(name, values, strict=True)
            return found.cast(pl.String) if found.dtype == pl.Null else found
        except (TypeError, OverflowError, pl.exceptions.PolarsError):
            pass
    texts = [None if value is None else value if isinstance(value, str) else raw_json(value) for value in values]
    return pl.Series(name, texts, dtype=pl.String)
