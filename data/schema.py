"""The Parquet files that flipkd writes: their columns, and how they are written.

They are an interface: people open them in Polars, DuckDB or pandas. A column is added at the end or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

ROW_GROUP_ROWS = 64_000
_ROW_GROUP_BYTES = 2**26

PAIRS = pa.schema(
    [
        pa.field("pair_id", pa.string(), nullable=False),  # hash of the two texts, the same in every run
        pa.field("text_a", pa.string(), nullable=False),
        pa.field("text_b", pa.string(), nullable=False),
        pa.field("label", pa.int8()),  # 1 match, 0 no match, null unlabelled
        pa.field("split", pa.string(), nullable=False),  # train, dev, test
        pa.field("group", pa.string()),  # never in two splits
        pa.field("source", pa.string(), nullable=False),  # name of the file
        pa.field("source_row", pa.int64(), nullable=False),  # 1-based row of the file, the header not counted
    ]
)
# The last column of pairs.parquet where a retrieval set is among the inputs: the grade of the judgement, null for
# pairs that nobody judged.
GRADE = pa.field("grade", pa.int32())
REJECTS = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("source_row", pa.int64(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("raw", pa.string(), nullable=False),  # the row as JSON; bytes that are not UTF-8 as \\xNN
    ]
)
UTTERANCES = pa.schema(  # the texts that pairs were built from, for measuring retrieval
    [
        pa.field("text", pa.string(), nullable=False),
        pa.field("id", pa.string(), nullable=False),  # intent or FAQ entry
        pa.field("split", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("source_row", pa.int64(), nullable=False),
    ]
)
CATALOGUE = pa.schema(  # all entries of a retrieval set, whether a pair holds them or not
    [
        pa.field("entry_id", pa.string(), nullable=False),  # as the set has it
        pa.field("text", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
    ]
)
RAW_TEXTS = pa.schema(  # texts without a label, which the student's passes over texts and the mining read
    [
        pa.field("text", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("source_row", pa.int64(), nullable=False),
    ]
)
LABEL_NOISE = pa.schema(  # the pairs whose label `prepare.label_noise` turned round, for experiments
    [
        pa.field("pair_id", pa.string(), nullable=False),
        pa.field("label", pa.int8(), nullable=False),  # as it was, so the right one
    ]
)
SCORES = pa.schema(
    [
        *PAIRS,
        pa.field("teacher_score", pa.float32(), nullable=False),  # cosine, -1 to 1
        pa.field("text_a_id", pa.int64(), nullable=False),  # into embeddings.parquet
        pa.field("text_b_id", pa.int64(), nullable=False),
    ]
)
# The last column of scores.parquet where `score.cross_encoder` is set: the cross-encoder's own score, on its own
# scale. `teacher_score` is then the mean of the cosine and of that score brought to the cosine's scale.
CROSS_ENCODER_SCORE = pa.field("cross_encoder_score", pa.float32())
# The last column of scores.parquet and filtered.parquet where a text is longer than the teacher's window: whether
# one of the pair's is.
TRUNCATED = pa.field("truncated", pa.bool_())
CANDIDATES = pa.schema(  # a catalogue's entries that the teacher ranks first for each query, and its matches
    [
        pa.field("query_id", pa.int64(), nullable=False),  # into embeddings.parquet
        pa.field("entry_id", pa.int64(), nullable=False),  # into embeddings.parquet
        pa.field("query", pa.string(), nullable=False),
        pa.field("entry", pa.string(), nullable=False),
        pa.field("rank", pa.int64(), nullable=False),  # from 1, among all entries
        pa.field("teacher_score", pa.float32(), nullable=False),  # cosine, -1 to 1
        pa.field("label", pa.int8()),  # of the pair, null where no labelled pair holds both
        pa.field("split", pa.string(), nullable=False),  # of the query
    ]
)
FILTERED = pa.schema(
    [
        *SCORES,
        pa.field("kept", pa.bool_(), nullable=False),
        pa.field(
            "reason", pa.string(), nullable=False
        ),  # kept, positive_below_bound, negative_above_bound, uncertain
        pa.field("target", pa.int8()),  # the label, or the pseudo-label; null if uncertain
    ]
)
PREDICTIONS = pa.schema(
    [
        *PAIRS,
        pa.field("teacher", pa.float32(), nullable=False),  # cosine
        pa.field("decoder", pa.float32(), nullable=False),  # probability of the matching word, mean of both orders
        pa.field("encoder", pa.float32(), nullable=False),  # cosine
        pa.field("fused", pa.float32(), nullable=False),  # probability, logistic regression on decoder and encoder
    ]
)
# What a column of the user's own cannot be called, since it stands beside these.
OWN_COLUMNS = frozenset(
    name
    for schema in (FILTERED, PREDICTIONS, [GRADE, CROSS_ENCODER_SCORE, TRUNCATED])
    for name in (field.name for field in schema)
) | {"verdict", "suggested", "suspect", "label_probability"}
TRAINING_LOG = pa.schema(
    [
        pa.field("step", pa.int64(), nullable=False),
        pa.field("epoch", pa.float64(), nullable=False),
        pa.field("loss", pa.float64(), nullable=False),
        pa.field("ce", pa.float64()),  # unweighted terms; null where a term is off
        pa.field("mcl", pa.float64()),
        pa.field("dist", pa.float64()),
        pa.field("learning_rate", pa.float64(), nullable=False),
        pa.field("gradient_norm", pa.float64(), nullable=False),
        pa.field("tokens_per_second", pa.float64(), nullable=False),  # real tokens, padding not counted
        pa.field("dev_decoder_auroc", pa.float64()),  # null between evaluations
        pa.field("dev_encoder_auroc", pa.float64()),
    ]
)
QUERY_METRICS = ("recall@1", "recall@5", "recall@10", "mrr@10", "ndcg@10", "map@100", "graded_ndcg@10")
QUERIES = pa.schema(  # how well a catalogue's entries are found for each query
    [
        pa.field("query_id", pa.int64(), nullable=False),  # into embeddings.parquet
        pa.field("query", pa.string(), nullable=False),
        pa.field("group", pa.string(), nullable=False),  # what is resampled together
        pa.field("split", pa.string(), nullable=False),
        pa.field("unseen_entry", pa.bool_(), nullable=False),  # no pair of train has an entry that answers it
        pa.field("score", pa.string(), nullable=False),  # teacher, encoder, decoder, fused
        *(pa.field(name, pa.float64(), nullable=name.startswith("graded")) for name in QUERY_METRICS),
    ]
)
RANKINGS = ("teacher", "encoder_untrained", "encoder", "decoder", "fused")
RETRIEVAL = pa.schema(
    [
        pa.field("query", pa.string(), nullable=False),
        pa.field("entry", pa.string(), nullable=False),  # the FAQ entry that answers it
        *(pa.field(f"{name}_rank", pa.int64(), nullable=False) for name in RANKINGS),  # the entry's, from 1
        *(pa.field(f"{name}_first", pa.string(), nullable=False) for name in RANKINGS),  # the entry ranked first
    ]
)
ATTRIBUTION = pa.schema(
    [
        pa.field("layer", pa.int64(), nullable=False),  # from 0
        pa.field("module", pa.string(), nullable=False),
        pa.field("site", pa.bool_(), nullable=False),  # whether the encoder reads it
        pa.field("auroc_input", pa.float64(), nullable=False),  # of the layer's plain input
        pa.field("auroc_adapter", pa.float64()),  # of A's output; null without an adapter
    ]
)


def kept_fields(schema: pa.Schema) -> list[pa.Field]:
    """The columns of a file of pairs that are the user's own (`keep` of an input)."""
    return [field for field in schema if field.name not in OWN_COLUMNS]


def embeddings_schema(dimension: int) -> pa.Schema:
    """Columns of `embeddings.parquet`: each distinct text once, `embedding` a unit vector."""
    return pa.schema(
        [
            pa.field("text_id", pa.int64(), nullable=False),
            pa.field("text", pa.string(), nullable=False),
            pa.field("embedding", pa.list_(pa.float32(), dimension), nullable=False),
        ]
    )


def with_metadata(schema: pa.Schema, metadata: Mapping[str, object]) -> pa.Schema:
    """The schema with file metadata under the key `flipkd`, as JSON: which teacher wrote the file, for one."""
    return schema.with_metadata({"flipkd": json.dumps(metadata, ensure_ascii=False, sort_keys=True)})


def read_metadata(path: Path) -> dict[str, object]:
    """What `with_metadata` put into a Parquet file; empty if there is nothing."""
    found = (pq.read_schema(path).metadata or {}).get(b"flipkd")
    return json.loads(found) if found else {}


def writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """A streaming writer with the settings that all our files share."""
    return pq.ParquetWriter(path, schema, compression="zstd")


def write_tables(tables: Iterable[pa.Table], path: Path, schema: pa.Schema) -> None:
    """Write tables one after the other, in row groups of `ROW_GROUP_ROWS` rows, fewer where texts are long."""
    with writer(path, schema) as out:
        waiting = schema.empty_table()
        for table in tables:
            waiting = pa.concat_tables([waiting, table])
            while waiting.num_rows >= ROW_GROUP_ROWS:
                out.write_table(waiting.slice(0, ROW_GROUP_ROWS), row_group_size=ROW_GROUP_ROWS)
                waiting = waiting.slice(ROW_GROUP_ROWS)
            if waiting.nbytes >= _ROW_GROUP_BYTES:
                out.write_table(waiting)
                waiting = schema.empty_table()
        if waiting.num_rows:
            out.write_table(waiting)


def write_table(table: pa.Table, path: Path, schema: pa.Schema) -> None:
    """Write a whole table under a schema; column order and types must fit."""
    with writer(path, schema) as out:
        out.write_table(table.select(schema.names).cast(schema), row_group_size=ROW_GROUP_ROWS)
