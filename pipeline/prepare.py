"""`prepare`: raw files to `pairs.parquet`, `rejects.parquet` and, from utterances, `utterances.parquet`.

Every row of a raw file ends in exactly one place: a row of a pairs file in pairs or in rejects, an utterance in
utterances or in rejects. That is counted and checked. A built pair's source and row are those of its first text.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from data.collect import PAIR_COLUMNS, SPLITS, UTTERANCE_COLUMNS, collect_pairs, collect_utterances
from data.duplicates import resolve
from data.errors import FlipkdError
from data.pairs import build_pairs
from data.readers import check_columns, read_rows
from data.records import Row, raw_json
from data.schema import PAIRS, REJECTS, UTTERANCES, write_table
from data.splits import assign_splits, check_given, linked
from data.texts import pair_id_of_keys
from models.names import find_model
from pipeline.config import PairBuilding, PairsFile, PrepareConfig, UtterancesFile
from pipeline.prepare_checks import check_rejected, check_splits, summarise
from pipeline.progress import progress
from pipeline.stages import Context, input_path

log = logging.getLogger("flipkd.prepare")
# texts -> unit vectors (n, d), float32
Encoder = Callable[[Sequence[str]], np.ndarray]
ORDER = pl.Enum(SPLITS)
_UNREAD: dict[str, type[pl.DataType]] = {"source_row": pl.Int64, "reason": pl.String, "raw": pl.String}
_REJECTED: dict[str, type[pl.DataType]] = {"file": pl.Int32, "source": pl.String, **_UNREAD}


def run(config: PrepareConfig, inputs: Mapping[str, Path], out: Path, context: Context) -> dict[str, Any]:
    """Read, check, split and write the pairs; build them where utterances are given.

    Returns:
        Counts: `rows` (read, where they went), `rejected` by reason, `splits`, `sources`, mean characters.

    Raises:
        FlipkdError: a file cannot be read or lacks a column, too many rows were rejected, given splits leak, or
            a split lacks what later stages need.
    """
    return prepare(config, out, context.seed, lambda texts: encode(config.pairs, texts))


def prepare(config: PrepareConfig, out: Path, seed: int, encoder: Encoder) -> dict[str, Any]:
    """`run` with the encoder for hard negatives as a plain function."""
    check_inputs(config)
    pairs, utterances, rejects = _read(config)
    rows_read = pairs.height + utterances.height + rejects.height
    by_id = config.splitting.by == "group"
    links = _links(pairs, utterances, by_id)
    check_given(links)

    pairs = resolve(pairs, key="pair_id", verdict="label", policy=config.contradictions)
    utterances = resolve(utterances, key="key", verdict="id", policy=config.contradictions)
    rejects = _finish_rejects(config, pl.concat([rejects, _refused(pairs), _refused(utterances)]))
    pairs = pairs.filter(pl.col("reason").is_null())
    utterances = utterances.filter(pl.col("reason").is_null())
    check_rejected(rejects, rows_read, config.max_rejected)
    if pairs.height + utterances.height + rejects.height != rows_read:
        taken = f"{pairs.height} pairs, {utterances.height} utterances, {rejects.height} rejects"
        raise RuntimeError(f"prepare lost count of its rows: {rows_read} read, but {taken}")

    pairs, utterances = _split(config, pairs, utterances, seed)
    built = _build(config.pairs, utterances, encoder, seed, by_id)
    pairs_taken = pairs.height
    # A given pair says more than one that follows from ids.
    built = built.join(pairs, on="pair_id", how="anti", maintain_order="left")
    order = [pl.col("split").cast(ORDER), "file", "source_row", "pair_id", "label"]
    everything = pl.concat([pairs.select(built.columns), built]).sort(order)
    utterances = utterances.sort(pl.col("split").cast(ORDER), "file", "source_row")
    check_splits(everything)

    write_table(everything.select(PAIRS.names).to_arrow(), out / "pairs.parquet", PAIRS)
    write_table(rejects.to_arrow(), out / "rejects.parquet", REJECTS)
    if _has_utterances(config):
        write_table(utterances.select(UTTERANCES.names).to_arrow(), out / "utterances.parquet", UTTERANCES)
    rows = {
        "read": rows_read,
        "pairs": pairs_taken,
        "utterances": utterances.height,
        "rejected": rejects.height,
        "pairs_built": built.height,
    }
    summary = summarise(everything, utterances, rejects, rows)
    log.info("%d rows read: %d pairs, %d utterances, %d rejected; %d pairs built", *rows.values())
    for reason, count in summary["rejected"].items():
        log.info("rejected as %s: %d", reason, count)
    for split, counts in summary["splits"].items():
        log.info("%s: %d pairs (%d positive, %d negative, %d unlabelled)", split, *list(counts.values())[:4])
    return summary


# ------------------------------------------------------------------------------------------------ reading


def check_inputs(config: PrepareConfig) -> None:
    """Check every input file's name, format and columns, before any work starts.

    Raises:
        FlipkdError: one is missing or unreadable, or lacks a column.
    """
    paths = [input_path(file.path, f"prepare.inputs.{n}") for n, file in enumerate(config.inputs)]
    names = [file.name or path.name for file, path in zip(config.inputs, paths, strict=True)]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise FlipkdError(f"prepare.inputs: two files are called {twice!r}; give one of them another `name`")
    for number, file in enumerate(config.inputs):
        if file.split and file.split_column:
            raise FlipkdError(f"prepare.inputs.{number}: give `split` or `split_column`, not both")
        for ours, column in _columns(file).items():
            try:
                check_columns(paths[number], file.format, file.column_names, [column])
            except FlipkdError as error:
                hint = ". A file without labels says `label: null`" if ours == "label" else ""
                raise FlipkdError(f"prepare.inputs.{number}: {error}{hint}") from None


def source_name(file: PairsFile | UtterancesFile) -> str:
    """What stands in the column `source` for a file."""
    return file.name or input_path(file.path).name


def _columns(file: PairsFile | UtterancesFile) -> dict[str, str]:
    named = (
        {"text_a": file.text_a, "text_b": file.text_b, "label": file.label, "group": file.group}
        if isinstance(file, PairsFile)
        else {"text": file.text, "id": file.id}
    )
    return {ours: column for ours, column in (named | {"split": file.split_column}).items() if column}


def _has_utterances(config: PrepareConfig) -> bool:
    return any(isinstance(file, UtterancesFile) for file in config.inputs)


def _read(config: PrepareConfig) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """All files' usable pairs, usable utterances, and rejects; `file` is the file's place in the config."""
    pairs = [_placed(pl.DataFrame(schema=PAIR_COLUMNS), 0, "")]
    utterances = [_placed(pl.DataFrame(schema=UTTERANCE_COLUMNS), 0, "")]
    rejects = [pl.DataFrame(schema=_REJECTED)]
    for place, file in enumerate(config.inputs):
        columns, path = _columns(file), input_path(file.path)
        rows = read_rows(path, file.format, file.column_names, list(dict.fromkeys(columns.values())))
        collect = collect_pairs if isinstance(file, PairsFile) else collect_utterances
        frame, bad = collect(rows, columns, split=file.split, max_characters=config.max_characters)
        if frame.is_empty() and not bad:
            raise FlipkdError(f"prepare.inputs.{place}: {path.name} holds no row")
        (pairs if isinstance(file, PairsFile) else utterances).append(_placed(frame, place, source_name(file)))
        unread = pl.DataFrame(bad, schema=_UNREAD, orient="row")
        rejects.append(_placed(unread, place, source_name(file)).select(*_REJECTED))
        log.info("%s: %d rows read, %d of them unusable", path.name, frame.height + len(bad), len(bad))
    return pl.concat(pairs), pl.concat(utterances), pl.concat(rejects)


def _placed(frame: pl.DataFrame, place: int, source: str) -> pl.DataFrame:
    return frame.with_columns(pl.lit(place, pl.Int32).alias("file"), pl.lit(source, pl.String).alias("source"))


def _refused(resolved: pl.DataFrame) -> pl.DataFrame:
    refused = resolved.filter(pl.col("reason").is_not_null())
    return refused.with_columns(pl.lit(None, pl.String).alias("raw")).select(*_REJECTED)


def _finish_rejects(config: PrepareConfig, rejects: pl.DataFrame) -> pl.DataFrame:
    """Rejects in order, with the raw content of those found after reading: their files are read once more."""
    found = []
    for (place,), part in rejects.filter(pl.col("raw").is_null()).group_by("file", maintain_order=True):
        file = config.inputs[int(str(place))]
        wanted = set(part["source_row"].to_list())
        rows = read_rows(input_path(file.path), file.format, file.column_names)
        found += [
            (place, row.number, raw_json(row.values))
            for row in rows
            if isinstance(row, Row) and row.number in wanted
        ]
    reread = pl.DataFrame(
        found, schema={"file": pl.Int32, "source_row": pl.Int64, "read": pl.String}, orient="row"
    )
    return (
        rejects.join(reread, on=["file", "source_row"], how="left")
        .with_columns(pl.coalesce("raw", "read").alias("raw"))
        .sort("file", "source_row")
        .select(REJECTS.names)
    )


# ------------------------------------------------------------------------------------- splitting, building


def _links(pairs: pl.DataFrame, utterances: pl.DataFrame, by_id: bool) -> pl.DataFrame:
    """The rows as `data.splits` reads them: pairs first, then utterances."""
    nothing = pl.lit(None, pl.String)
    identity = pl.col("id")
    return pl.concat(
        [
            pairs.select("key_a", "key_b", "group", "split", nothing.alias("stratum"), "text_a", "text_b"),
            utterances.select(
                pl.col("key").alias("key_a"),
                nothing.alias("key_b"),
                (identity if by_id else nothing).alias("group"),
                "split",
                (nothing if by_id else identity).alias("stratum"),
                pl.col("text").alias("text_a"),
                nothing.alias("text_b"),
            ),
        ]
    )


def _split(
    config: PrepareConfig, pairs: pl.DataFrame, utterances: pl.DataFrame, seed: int
) -> tuple[pl.DataFrame, pl.DataFrame]:
    links = _links(pairs, utterances, config.splitting.by == "group")
    if links.is_empty():
        raise FlipkdError("prepare: no usable row is left; rejects by reason are in the log")
    sizes = np.bincount(linked(links))
    if len(sizes) > 1 and sizes.max() > 0.5 * sizes.sum():
        log.warning(
            "%d of %d rows are linked by shared texts or groups and must stand in one split: the shares of the "
            "splits cannot be met closely", sizes.max(), sizes.sum(),
        )  # fmt: skip
    splits = assign_splits(links, dev=config.splitting.dev, test=config.splitting.test, seed=seed)
    return (
        pairs.with_columns(splits.head(pairs.height).alias("split")),
        utterances.with_columns(splits.tail(utterances.height).alias("split")),
    )


def _build(
    settings: PairBuilding, utterances: pl.DataFrame, encoder: Encoder, seed: int, by_id: bool
) -> pl.DataFrame:
    """The pairs of all utterances, with the columns of pairs and `file`."""
    wants_hard = utterances.height and settings.negatives_per_positive > 0 and settings.random_share < 1
    vectors = None
    if wants_hard:
        vectors = encoder(utterances["text"].to_list())
        if len(vectors) != utterances.height or not np.isfinite(vectors).all():
            raise FlipkdError(
                f"prepare.pairs.encoder: {settings.encoder} gave vectors that are not finite numbers"
            )
    chosen = build_pairs(
        utterances,
        vectors,
        positives_per_id=settings.positives_per_id,
        negatives_per_positive=settings.negatives_per_positive,
        random_share=settings.random_share,
        confusable_ids=settings.confusable_ids,
        seed=seed,
    )
    first, second = utterances[chosen["a"]], utterances[chosen["b"]]
    ids = [pair_id_of_keys(a, b) for a, b in zip(first["key"], second["key"], strict=True)]
    return first.select(
        pl.Series("pair_id", ids, pl.String),
        pl.col("text").alias("text_a"),
        second["text"].alias("text_b"),
        chosen["label"],
        "split",
        (pl.col("id") if by_id else pl.lit(None, pl.String)).alias("group"),
        "source",
        "source_row",
        "file",
    )


def encode(settings: PairBuilding, texts: Sequence[str]) -> np.ndarray:
    """Unit vectors of the configured encoder, shape (texts, d), float32."""
    from models.teacher import embed, load_teacher

    model = load_teacher(find_model(settings.encoder).path, trust_remote_code=settings.trust_remote_code)
    with progress("embedding for hard negatives", total=len(texts), unit="texts") as advance:
        return embed(model, texts, advance=advance)
