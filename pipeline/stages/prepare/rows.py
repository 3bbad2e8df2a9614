"""The rows of all raw files between reading and writing: what decides about them in memory, their texts on disk.

A pair takes about 60 bytes of memory however long its texts are; texts, groups and raw rejects wait in Parquet
files in a scratch folder. Utterances are held as they are: pairs are built from them, and each gets a vector.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data.collect import SPLITS, UTTERANCE_COLUMNS, Chunk, collect_pairs, collect_texts, collect_utterances
from data.errors import FlipkdError
from data.readers import file_format, read_rows
from data.records import Reject, raw_json
from data.schema import CATALOGUE, GRADE, PAIRS, REJECTS, write_tables, writer
from data.splits import LINKS, SPLIT, link_columns
from pipeline.stages.prepare.catalogue import KEYS
from pipeline.stages.prepare.collection import (
    JUDGEMENTS,
    PAIR_OF_JUDGEMENT,
    Collection,
    judged_pairs,
    judged_queries,
)
from pipeline.stages.prepare.config import PairsFile, PrepareConfig, UtterancesFile
from pipeline.stages.prepare.inputs import columns_of, input_path, source_name
from pipeline.stages.prepare.retrieval_folder import InputRows, JudgementsFile, TextsFile, files_of, key_of

log = logging.getLogger("flipkd.prepare")
# What is known of a pair in memory; its place in the frame is its place in the files of waiting texts.
KNOWN = {
    "file": pl.Int32(),
    "source_row": pl.Int64(),
    "pair_id": pl.Binary(),
    **LINKS,
    "label": pl.Int8(),
    "split": SPLIT,
}
REFUSED = {"file": pl.Int32(), "source_row": pl.Int64(), "reason": pl.String()}
_WAITING = pa.schema(
    [PAIRS.field(name) for name in ("source_row", "pair_id", "text_a", "text_b", "label", "group")]
)
_WAITING_REJECTS = pa.schema([REJECTS.field(name) for name in ("source_row", "reason", "raw")])
_BATCH_ROWS = 4096


@dataclass(frozen=True)
class Gathered:
    """All rows that were read.

    Attributes:
        pairs: `KNOWN`, in the order of the files.
        utterances: `file`, `source`, `UTTERANCE_COLUMNS` and `LINKS`; `group` is the id's hash if splits
            go by ids.
        rejects: `REFUSED`: rows that could not be read or used.
        collections: retrieval sets, by their place in `prepare.inputs`.
        folder: where texts and raw rejects wait, `pairs-N.parquet` and `rejects-N.parquet` for file N.
    """

    config: PrepareConfig
    pairs: pl.DataFrame
    utterances: pl.DataFrame
    rejects: pl.DataFrame
    collections: dict[int, Collection]
    folder: Path

    @property
    def texts(self) -> int:
        """Rows that hold an entry or a query of a retrieval set."""
        return sum(len(found.entries) + len(found.queries) for found in self.collections.values())

    @property
    def rows_read(self) -> int:
        return self.pairs.height + self.utterances.height + self.texts + self.rejects.height

    def judgements(self) -> pl.DataFrame:
        """The judgements of all retrieval sets, `JUDGEMENTS`."""
        nothing = pl.DataFrame(schema=JUDGEMENTS)
        return pl.concat([nothing, *(found.judgements() for found in self.collections.values())])

    def look_up(self, row: int, link: str) -> tuple[str, str]:
        """What a link of a row is, and where it stands, for messages.

        Args:
            row: its place among pairs and, after them, utterances.
            link: `key_a`, `key_b` or `group`.

        Returns:
            The text or group, and `FILE row N, column C`.
        """
        if row < self.pairs.height:
            file, number = self.pairs.select("file", "source_row").row(row)
            column = {"key_a": "text_a", "key_b": "text_b"}.get(link, link)
            waiting = pl.scan_parquet(self.folder / f"pairs-{file}.parquet")
            value = waiting.filter(pl.col("source_row") == number).select(column).collect().item()
        else:
            column = "id" if link == "group" else "text"
            file, number, value = self.utterances.select("file", "source_row", column).row(row - self.pairs.height)
        entry = files_of(self.config)[file]
        return value, f"{source_name(entry)} row {number}, column {columns_of(entry)[column]!r}"


# ------------------------------------------------------------------------------------------------ reading


def gather(config: PrepareConfig, seed: int, folder: Path) -> Gathered:
    """Read all files.

    Args:
        seed: of the order in which splits are dealt out.
        folder: scratch space, about as large as the files.

    Raises:
        FlipkdError: a file cannot be read, or holds no row.
    """
    by_id = config.splitting.by == "group"
    nobody = pl.DataFrame(schema=UTTERANCE_COLUMNS)
    pairs, utterances = [pl.DataFrame(schema=KNOWN)], [_utterances(nobody, 0, "", seed, by_id)]
    rejects = [pl.DataFrame(schema=REFUSED)]
    collections: dict[int, Collection] = {}
    files = files_of(config)
    for place, file in enumerate(files):
        found: list[pl.DataFrame] = []
        refused: list[pl.DataFrame] = []
        taken = 0
        with (
            writer(folder / f"pairs-{place}.parquet", _WAITING) as texts,
            writer(folder / f"rejects-{place}.parquet", _WAITING_REJECTS) as raw,
        ):
            for frame, bad in _chunks(files, place, config, collections):
                taken += frame.height
                if isinstance(file, PairsFile):
                    texts.write_table(frame.select(_WAITING.names).to_arrow().cast(_WAITING))
                    found.append(_known(frame, place, seed, file.catalogue))
                elif isinstance(file, UtterancesFile):
                    found.append(_utterances(frame, place, source_name(file), seed, by_id))
                refused.append(_refused(bad, place))
                raw.write_table(_table(bad, _WAITING_REJECTS))
        (pairs if isinstance(file, PairsFile) else utterances).extend(found)
        rejects.extend(refused)
        lost = sum(frame.height for frame in refused)
        name = input_path(file.path).name
        if not taken + lost:
            raise FlipkdError(f"{key_of(file, place)}: {name} holds no row")
        log.info("%s: %d rows read, %d of them unusable", name, taken + lost, lost)
    return Gathered(config, pl.concat(pairs), pl.concat(utterances), pl.concat(rejects), collections, folder)


def _chunks(
    files: Sequence[InputRows], place: int, config: PrepareConfig, collections: dict[int, Collection]
) -> Iterator[Chunk]:
    """The rows of one file; texts and judgements of a retrieval set go into its collection too."""
    file = files[place]
    columns, longest = columns_of(file), config.max_characters
    wanted = list(dict.fromkeys(columns.values()))
    rows = read_rows(input_path(file.path), file.format, file.column_names, wanted)
    if isinstance(file, TextsFile):
        collection = collections.setdefault(file.folder, Collection())
        if file.role == "entries":
            return collect_texts(rows, columns, known=collection.entries, wanted=None, max_characters=longest)
        judged = judged_queries(files, file.folder)
        return collect_texts(rows, columns, known=collection.queries, wanted=judged, max_characters=longest)
    if isinstance(file, UtterancesFile):
        return collect_utterances(rows, columns, split=file.split, max_characters=longest)
    if isinstance(file, JudgementsFile):
        rows, columns = judged_pairs(rows, file, place, collections[file.folder]), PAIR_OF_JUDGEMENT
    return collect_pairs(rows, columns, split=file.split, max_characters=longest)


def _known(frame: pl.DataFrame, place: int, seed: int, catalogue: str | None) -> pl.DataFrame:
    key_a, key_b, group = (frame[name].to_list() for name in ("key_a", "key_b", "group"))
    links = link_columns(key_a, key_b, group, seed, entries=KEYS[catalogue] if catalogue else None)
    return frame.select(
        pl.lit(place, pl.Int32).alias("file"),
        "source_row",
        pl.col("pair_id").str.decode("hex"),
        *links,
        "label",
        pl.col("split").cast(SPLIT),
    )


def _utterances(frame: pl.DataFrame, place: int, source: str, seed: int, by_id: bool) -> pl.DataFrame:
    nothing: list[None] = [None] * frame.height
    links = link_columns(frame["key"].to_list(), nothing, frame["id"].to_list() if by_id else nothing, seed)
    return frame.select(
        pl.lit(place, pl.Int32).alias("file"),
        pl.lit(source, pl.String).alias("source"),
        *UTTERANCE_COLUMNS,
        *links,
    )


def _refused(rejects: Sequence[Reject], place: int) -> pl.DataFrame:
    rows = [(place, reject.number, reject.reason) for reject in rejects]
    return pl.DataFrame(rows, schema=REFUSED, orient="row")


def _table(rejects: Sequence[Reject], schema: pa.Schema) -> pa.Table:
    columns = zip(*rejects, strict=True) if rejects else ([], [], [])
    return pa.table([pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)], schema)


# ---------------------------------------------------------------------------------------- rejects, pairs


def raw_rejects(gathered: Gathered, refused: pl.DataFrame, place: int) -> Iterator[Reject]:
    """A file's rejects in the order of its rows, each with all columns of its row.

    For those found late the file is read once more; of a Parquet file for all, since only the columns that the
    config names are read the first time.

    Args:
        refused: `REFUSED`: rows found later (duplicates, contradictions).
    """
    file = files_of(gathered.config)[place]
    late = refused.filter(pl.col("file") == place).sort("source_row").select("source_row", "reason").iter_rows()
    early = _waiting(gathered.folder / f"rejects-{place}.parquet")
    if file_format(input_path(file.path), file.format) == "parquet":
        yield from _again(file, heapq.merge(((one.number, one.reason) for one in early), late))
    else:
        yield from heapq.merge(early, _again(file, late))


def _waiting(path: Path) -> Iterator[Reject]:
    with pq.ParquetFile(path) as waiting:
        for group in range(waiting.num_row_groups):
            columns = waiting.read_row_group(group).to_pydict().values()
            yield from map(Reject, *columns)


def _again(file: InputRows, wanted: Iterator[tuple[int, str]]) -> Iterator[Reject]:
    """Some rows of a file, by number and reason, in order."""
    number, reason = next(wanted, (None, ""))
    if number is None:
        return
    path = input_path(file.path)
    for row in read_rows(path, file.format, file.column_names):
        if row.number == number:
            yield Reject(number, reason, row.raw if isinstance(row, Reject) else raw_json(row.values))
            number, reason = next(wanted, (None, ""))
            if number is None:
                return
    raise FlipkdError(f"{path}: its rows changed while it was read; run again when nothing writes to it")


def write_rejects(gathered: Gathered, refused: pl.DataFrame, path: Path) -> None:
    """Write `rejects.parquet`: all rejects of all files, in order."""

    def tables() -> Iterator[pa.Table]:
        for place, file in enumerate(files_of(gathered.config)):
            source = source_name(file)
            rows: list[Reject] = []
            characters = 0
            for reject in raw_rejects(gathered, refused, place):
                rows.append(reject)
                characters += len(reject.raw)
                if len(rows) >= _BATCH_ROWS or characters > 2**24:
                    yield _with(_table(rows, _WAITING_REJECTS), REJECTS, source=source)
                    rows, characters = [], 0
            yield _with(_table(rows, _WAITING_REJECTS), REJECTS, source=source)

    write_tables(tables(), path, REJECTS)


def write_catalogue(gathered: Gathered, path: Path) -> None:
    """Write `catalogue.parquet`: the entries of all retrieval sets, in their order."""
    names = {file.folder: file.set_name for file in files_of(gathered.config) if isinstance(file, TextsFile)}

    def tables() -> Iterator[pa.Table]:
        for folder, found in gathered.collections.items():
            ids, texts = list(found.entries), list(found.entries.values())
            yield pa.table([ids, texts, [names[folder]] * len(ids)], schema=CATALOGUE)

    write_tables(tables(), path, CATALOGUE)


def write_pairs(gathered: Gathered, splits: np.ndarray, built: pl.DataFrame, path: Path) -> int:
    """Write `pairs.parquet`, by split, then in the order of files and rows.

    Args:
        splits: of each of `gathered.pairs`: its split's place in `SPLITS`, or -1 for a pair that is not taken.
        built: pairs that were built, with the columns of `pairs.parquet` and `file`, in their order.

    Returns:
        The characters of all texts.
    """
    characters = 0
    schema = PAIRS.append(GRADE) if gathered.collections else PAIRS
    grades = gathered.judgements().select("file", "source_row", "grade")
    heights = dict(gathered.pairs.group_by("file").len().iter_rows())

    def tables() -> Iterator[pa.Table]:
        for number, split in enumerate(SPLITS):
            start = 0
            for place, file in enumerate(files_of(gathered.config)):
                if isinstance(file, PairsFile):
                    end = start + heights.get(place, 0)
                    waiting = gathered.folder / f"pairs-{place}.parquet"
                    for table in _chosen(waiting, splits[start:end] == number):
                        given = _with(table, PAIRS, source=source_name(file), split=split)
                        yield _graded(given, grades.filter(file=place)) if gathered.collections else given
                    start = end
                own = built.filter((pl.col("file") == place) & (pl.col("split") == split))
                without = own.select(*PAIRS.names, pl.lit(None, pl.Int32).alias("grade"))
                yield without.select(schema.names).to_arrow().cast(schema)

    def counted() -> Iterator[pa.Table]:
        nonlocal characters
        for table in tables():
            for name in ("text_a", "text_b"):
                lengths = pc.utf8_length(table[name])  # pyright: ignore[reportAttributeAccessIssue]
                characters += pc.sum(lengths).as_py() or 0  # pyright: ignore[reportAttributeAccessIssue]
            yield table

    write_tables(counted(), path, schema)
    return characters


def _chosen(path: Path, chosen: np.ndarray) -> Iterator[pa.Table]:
    with pq.ParquetFile(path) as waiting:
        start = 0
        for group in range(waiting.num_row_groups):
            end = start + waiting.metadata.row_group(group).num_rows
            if chosen[start:end].any():
                yield waiting.read_row_group(group).filter(pa.array(chosen[start:end]))
            start = end


def _graded(table: pa.Table, grades: pl.DataFrame) -> pa.Table:
    """Pairs of one file with the grades of its judgements."""
    rows = pl.DataFrame(table.select(["source_row"])).join(
        grades, on="source_row", how="left", maintain_order="left"
    )
    return table.append_column(GRADE, rows["grade"].to_arrow())


def _with(table: pa.Table, schema: pa.Schema, **constants: str) -> pa.Table:
    """The table with constant columns, in the schema's order."""
    for name, value in constants.items():
        table = table.append_column(name, pa.repeat(pa.scalar(value, pa.string()), table.num_rows))
    return table.select(schema.names).cast(schema)
