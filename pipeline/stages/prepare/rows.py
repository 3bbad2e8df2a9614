"""The rows of all raw files between reading and writing: what decides about them in memory, their texts on disk.

A pair takes about 60 bytes of memory however long its texts are; texts, groups and raw rejects wait in Parquet
files in a scratch folder. Utterances are held as they are: pairs are built from them, and each gets a vector.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa

from data.collect import (
    RAW_COLUMNS,
    UTTERANCE_COLUMNS,
    Chunk,
    collect_pairs,
    collect_raw_texts,
    collect_texts,
    collect_utterances,
)
from data.errors import FlipkdError
from data.readers import read_rows
from data.records import Reject
from data.schema import PAIRS, REJECTS, writer
from data.splits import LINKS, SPLIT, link_columns
from pipeline.stages.prepare.catalogue import KEYS
from pipeline.stages.prepare.collection import (
    JUDGEMENTS,
    PAIR_OF_JUDGEMENT,
    Collection,
    answered_pairs,
    judged_pairs,
    judged_queries,
)
from pipeline.stages.prepare.config import PrepareConfig
from pipeline.stages.prepare.expand import files_of, key_of
from pipeline.stages.prepare.input_kinds import CONFUSED, HardNegatives, PairsFile, RawTextsFile, UtterancesFile
from pipeline.stages.prepare.input_rows import InputRows, JudgementsFile, PointersFile, SetTextsFile
from pipeline.stages.prepare.inputs import columns_of, input_path, source_name

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


@dataclass(frozen=True)
class Gathered:
    """All rows that were read.

    Attributes:
        pairs: `KNOWN`, in the order of the files.
        utterances: `file`, `source`, `UTTERANCE_COLUMNS` and `LINKS`; `group` is the id's hash if splits
            go by ids.
        rejects: `REFUSED`: rows that could not be read or used.
        collections: retrieval sets and catalogues, by their place in `prepare.inputs`.
        texts: rows that hold an entry or a query of these.
        raw: texts without a label: `file` and `RAW_COLUMNS`.
        folder: where texts and raw rejects wait, `pairs-N.parquet` and `rejects-N.parquet` for file N.
    """

    config: PrepareConfig
    pairs: pl.DataFrame
    utterances: pl.DataFrame
    rejects: pl.DataFrame
    collections: dict[int, Collection]
    texts: int
    raw: pl.DataFrame
    folder: Path

    @property
    def rows_read(self) -> int:
        return self.pairs.height + self.utterances.height + self.texts + self.raw.height + self.rejects.height

    def judgements(self) -> pl.DataFrame:
        """What all retrieval sets and catalogues know of their queries, `JUDGEMENTS`."""
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
    raw_texts = [pl.DataFrame(schema={"file": pl.Int32, **RAW_COLUMNS})]
    named_texts = 0
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
                elif isinstance(file, SetTextsFile):
                    named_texts += frame.height
                elif isinstance(file, RawTextsFile):
                    raw_texts.append(frame.select(pl.lit(place, pl.Int32).alias("file"), *RAW_COLUMNS))
                refused.append(_refused(bad, place))
                raw.write_table(rejects_table(bad))
        (pairs if isinstance(file, PairsFile) else utterances).extend(found)
        rejects.extend(refused)
        lost = sum(frame.height for frame in refused)
        name = input_path(file.path).name
        if not taken + lost:
            raise FlipkdError(f"{key_of(file)}: {name} holds no row")
        log.info("%s: %d rows read, %d of them unusable", name, taken + lost, lost)
    return Gathered(
        config,
        pl.concat(pairs),
        pl.concat(utterances),
        pl.concat(rejects),
        collections,
        named_texts,
        pl.concat(raw_texts),
        folder,
    )


def _chunks(
    files: Sequence[InputRows], place: int, config: PrepareConfig, collections: dict[int, Collection]
) -> Iterator[Chunk]:
    """The rows of one file; texts and judgements of a retrieval set go into its collection too."""
    file = files[place]
    columns, longest = columns_of(file), config.max_characters
    wanted = list(dict.fromkeys(columns.values()))
    rows = read_rows(input_path(file.path), file.format, file.column_names, wanted)
    if isinstance(file, SetTextsFile):
        collection = collections.setdefault(file.folder, Collection(file.set_name, file.negatives))
        if file.role == "entries":
            return collect_texts(rows, columns, known=collection.entries, wanted=None, max_characters=longest)
        judged = judged_queries(files, file.folder)
        return collect_texts(rows, columns, known=collection.queries, wanted=judged, max_characters=longest)
    if isinstance(file, RawTextsFile):
        return collect_raw_texts(rows, columns, max_characters=longest)
    if isinstance(file, UtterancesFile):
        return collect_utterances(rows, columns, split=file.split, max_characters=longest)
    if isinstance(file, JudgementsFile):
        rows, columns = judged_pairs(rows, file, place, collections[file.folder]), PAIR_OF_JUDGEMENT
    elif isinstance(file, PointersFile):
        if file.own_entries:
            own = Collection(source_name(file), HardNegatives(nearest=CONFUSED, margin=None))
            collections[file.folder] = own
        rows = answered_pairs(rows, file, place, collections[file.folder], longest)
        columns = {name: name for name in ("label", *columns)}  # without a label of its own a row is a match
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


def rejects_table(rejects: Sequence[Reject]) -> pa.Table:
    """Rejects as they wait, without their file."""
    columns = zip(*rejects, strict=True) if rejects else ([], [], [])
    typed = [pa.array(values, field.type) for values, field in zip(columns, _WAITING_REJECTS, strict=True)]
    return pa.table(typed, _WAITING_REJECTS)
