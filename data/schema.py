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


def column(name: str, kind: pa.DataType, says: str, nullable: bool = True) -> pa.Field:
    """A column with its meaning, which stands in the file too, as the field's metadata."""
    return pa.field(name, kind, nullable=nullable, metadata={"description": says})


PAIRS = pa.schema(
    [
        column("pair_id", pa.string(), "hash of the two texts, the same in every run", nullable=False),
        column("text_a", pa.string(), "the first text", nullable=False),
        column("text_b", pa.string(), "the second text", nullable=False),
        column("label", pa.int8(), "1 match, 0 no match, null unlabelled"),
        column("split", pa.string(), "train, dev, test", nullable=False),
        column("group", pa.string(), "never in two splits"),
        column("source", pa.string(), "name of the file", nullable=False),
        column("source_row", pa.int64(), "1-based row of the file, the header not counted", nullable=False),
    ]
)
# The last column of pairs.parquet where a retrieval set is among the inputs: the grade of the judgement, null for
# pairs that nobody judged.
GRADE = column("grade", pa.int32(), "of the judgement; null for pairs that nobody judged")
REJECTS = pa.schema(
    [
        column("source", pa.string(), "name of the file", nullable=False),
        column("source_row", pa.int64(), "1-based row of the file, the header not counted", nullable=False),
        column("reason", pa.string(), "why it was not taken", nullable=False),
        column("raw", pa.string(), "the row as JSON; bytes that are not UTF-8 as \\xNN", nullable=False),
    ]
)
UTTERANCES = pa.schema(  # the texts that pairs were built from, for measuring retrieval
    [
        column("text", pa.string(), "the text", nullable=False),
        column("id", pa.string(), "intent or FAQ entry", nullable=False),
        column("split", pa.string(), "train, dev, test", nullable=False),
        column("source", pa.string(), "name of the file", nullable=False),
        column("source_row", pa.int64(), "1-based row of the file, the header not counted", nullable=False),
    ]
)
CATALOGUE = pa.schema(  # all entries of a retrieval set, whether a pair holds them or not
    [
        column("entry_id", pa.string(), "as the set has it", nullable=False),
        column("text", pa.string(), "the text", nullable=False),
        column("source", pa.string(), "name of the file", nullable=False),
    ]
)
RAW_TEXTS = pa.schema(  # texts without a label, which the student's passes over texts and the mining read
    [
        column("text", pa.string(), "the text", nullable=False),
        column("source", pa.string(), "name of the file", nullable=False),
        column("source_row", pa.int64(), "1-based row of the file, the header not counted", nullable=False),
    ]
)
LABEL_NOISE = pa.schema(  # the pairs whose label `prepare.label_noise` turned round, for experiments
    [
        column("pair_id", pa.string(), "of the pair", nullable=False),
        column("label", pa.int8(), "as it was, so the right one", nullable=False),
    ]
)
SCORES = pa.schema(
    [
        *PAIRS,
        column("teacher_score", pa.float32(), "cosine, -1 to 1", nullable=False),
        column("text_a_id", pa.int64(), "into embeddings.parquet", nullable=False),
        column("text_b_id", pa.int64(), "into embeddings.parquet", nullable=False),
    ]
)
# The last column of scores.parquet where `score.cross_encoder` is set: the cross-encoder's own score, on its own
# scale. `teacher_score` is then the mean of the cosine and of that score brought to the cosine's scale.
CROSS_ENCODER_SCORE = column("cross_encoder_score", pa.float32(), "the cross-encoder's, on its own scale")
# Of scores.parquet and filtered.parquet where a text is longer than the teacher's window.
TRUNCATED = column("truncated", pa.bool_(), "whether one of the texts is longer than the teacher's window")
# Of the same files with `teach.folds`: `teacher_score` is then that of a teacher which was not tuned on the pair.
IN_SAMPLE_SCORE = column(
    "in_sample_score",
    pa.float32(),
    "of the teacher that was tuned on the pair; null where that is `teacher_score`",
)
OUT_OF_FOLD = pa.schema(  # labelled pairs of train, each judged by a teacher that was not tuned on it
    [
        column("pair_id", pa.string(), "of the pair", nullable=False),
        column("fold", pa.int8(), "of the teacher, from 0", nullable=False),
        column("teacher_score", pa.float32(), "cosine, -1 to 1", nullable=False),
    ]
)
CANDIDATES = pa.schema(  # a catalogue's entries that the teacher ranks first for each query, and its matches
    [
        column("query_id", pa.int64(), "into embeddings.parquet", nullable=False),
        column("entry_id", pa.int64(), "into embeddings.parquet", nullable=False),
        column("query", pa.string(), "the query's text", nullable=False),
        column("entry", pa.string(), "the entry's text", nullable=False),
        column("rank", pa.int64(), "from 1, among all entries", nullable=False),
        column("teacher_score", pa.float32(), "cosine, -1 to 1", nullable=False),
        column("label", pa.int8(), "of the pair, null where no labelled pair holds both"),
        column("split", pa.string(), "of the query", nullable=False),
    ]
)
FILTERED = pa.schema(
    [
        *SCORES,
        column(
            "kept", pa.bool_(), "whether the student may learn from it; of train alone it does", nullable=False
        ),
        column(
            "reason", pa.string(), "kept, positive_below_bound, negative_above_bound, uncertain", nullable=False
        ),
        column("target", pa.int8(), "the label, kept or not, or the pseudo-label; null if uncertain"),
    ]
)
PREDICTIONS = pa.schema(
    [
        *PAIRS,
        column("teacher", pa.float32(), "cosine", nullable=False),
        column("decoder", pa.float32(), "probability of the matching word, mean of both orders", nullable=False),
        column("encoder", pa.float32(), "cosine", nullable=False),
        column("fused", pa.float32(), "probability, logistic regression on decoder and encoder", nullable=False),
    ]
)
# What a column of the user's own cannot be called, since it stands beside these.
OWN_COLUMNS = frozenset(
    name
    for schema in (FILTERED, PREDICTIONS, [GRADE, CROSS_ENCODER_SCORE, TRUNCATED, IN_SAMPLE_SCORE])
    for name in (field.name for field in schema)
) | {"verdict", "suggested", "suspect", "label_probability"}
TRAINING_LOG = pa.schema(
    [
        column("step", pa.int64(), "of training, from 1", nullable=False),
        column("epoch", pa.float64(), "passes over the data so far", nullable=False),
        column("loss", pa.float64(), "the whole loss", nullable=False),
        column("ce", pa.float64(), "cross-entropy of the answer, unweighted; null where it is off"),
        column("mcl", pa.float64(), "L_mcl, unweighted; null where it is off"),
        column("dist", pa.float64(), "L_dist, unweighted; null where it is off"),
        column("learning_rate", pa.float64(), "of this step", nullable=False),
        column("gradient_norm", pa.float64(), "before clipping", nullable=False),
        column("tokens_per_second", pa.float64(), "real tokens, padding not counted", nullable=False),
        column("dev_decoder_auroc", pa.float64(), "null between evaluations"),
        column("dev_encoder_auroc", pa.float64(), "null between evaluations"),
    ]
)
QUERY_METRICS = ("recall@1", "recall@5", "recall@10", "mrr@10", "ndcg@10", "map@100", "graded_ndcg@10")
QUERIES = pa.schema(  # how well a catalogue's entries are found for each query
    [
        column("query_id", pa.int64(), "into embeddings.parquet", nullable=False),
        column("query", pa.string(), "the query's text", nullable=False),
        column("group", pa.string(), "what is resampled together", nullable=False),
        column("split", pa.string(), "train, dev, test", nullable=False),
        column("unseen_entry", pa.bool_(), "no pair of train has an entry that answers it", nullable=False),
        column("score", pa.string(), "teacher, encoder, decoder, fused", nullable=False),
        *(
            column(name, pa.float64(), "of this query, 0 to 1", nullable=name.startswith("graded"))
            for name in QUERY_METRICS
        ),
    ]
)
RANKINGS = ("teacher", "encoder_untrained", "encoder", "decoder", "fused")
RETRIEVAL = pa.schema(
    [
        column("query", pa.string(), "the query's text", nullable=False),
        column("entry", pa.string(), "the FAQ entry that answers it", nullable=False),
        *(column(f"{name}_rank", pa.int64(), "the entry's, from 1", nullable=False) for name in RANKINGS),
        *(column(f"{name}_first", pa.string(), "the entry ranked first", nullable=False) for name in RANKINGS),
    ]
)
ATTRIBUTION = pa.schema(
    [
        column("layer", pa.int64(), "from 0", nullable=False),
        column("module", pa.string(), "of the layer", nullable=False),
        column("site", pa.bool_(), "whether the encoder reads it", nullable=False),
        column("auroc_input", pa.float64(), "of the layer's plain input", nullable=False),
        column("auroc_adapter", pa.float64(), "of A's output; null without an adapter"),
    ]
)


def kept_fields(schema: pa.Schema) -> list[pa.Field]:
    """The columns of a file of pairs that are the user's own (`keep` of an input)."""
    return [field for field in schema if field.name not in OWN_COLUMNS]


def embeddings_schema(dimension: int) -> pa.Schema:
    """Columns of `embeddings.parquet`: each distinct text once, `embedding` a unit vector."""
    return pa.schema(
        [
            column("text_id", pa.int64(), "counts texts in order of first appearance", nullable=False),
            column("text", pa.string(), "the text", nullable=False),
            column("embedding", pa.list_(pa.float32(), dimension), "the teacher's unit vector", nullable=False),
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
