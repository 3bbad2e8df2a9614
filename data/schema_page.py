"""The columns of all Parquet files as one page: `python -m data.schema_page > docs/COLUMNS.md`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

import pyarrow as pa

from data import schema

INTRO = (
    "Every file that flipkd writes is plain Parquet. What a column means stands in the file too, as metadata of\n"
    "the field: `pyarrow.parquet.read_schema(path).field('label').metadata`. Columns of your own (`keep` of an\n"
    "input) come last in every file of pairs.\n"
)
FILES: Mapping[str, Sequence[pa.Field]] = {
    "prepare/pairs.parquet": [*schema.PAIRS, schema.GRADE],
    "prepare/rejects.parquet": schema.REJECTS,
    "prepare/utterances.parquet": schema.UTTERANCES,
    "prepare/catalogue.parquet": schema.CATALOGUE,
    "prepare/texts.parquet": schema.RAW_TEXTS,
    "prepare/label_noise.parquet": schema.LABEL_NOISE,
    "teach/out_of_fold.parquet": schema.OUT_OF_FOLD,
    "score/embeddings.parquet": schema.embeddings_schema(384),
    "score/scores.parquet": [*schema.SCORES, schema.CROSS_ENCODER_SCORE, schema.TRUNCATED, schema.IN_SAMPLE_SCORE],
    "score/candidates.parquet": schema.CANDIDATES,
    "filter/filtered.parquet": [*schema.FILTERED, schema.TRUNCATED, schema.IN_SAMPLE_SCORE],
    "distill/training_log.parquet": schema.TRAINING_LOG,
    "export/predictions.parquet": schema.PREDICTIONS,
    "export/queries.parquet": schema.QUERIES,
    "retrieve/retrieval.parquet": schema.RETRIEVAL,
    "attribution/attribution.parquet": schema.ATTRIBUTION,
}


def page() -> str:
    """The page as Markdown."""
    parts = ["# The columns\n", INTRO]
    for name, fields in FILES.items():
        rows = [f"| `{field.name}` | {_type(field)} | {meaning(field)} |" for field in fields]
        parts += [f"## {name}\n", "\n".join(["| column | type | |", "| --- | --- | --- |", *rows, ""])]
    return "\n".join(parts)


def meaning(field: pa.Field) -> str:
    """What a column says of itself."""
    return (field.metadata or {}).get(b"description", b"").decode()


def _type(field: pa.Field) -> str:
    kind = "list of float" if pa.types.is_fixed_size_list(field.type) else str(field.type)
    return kind + (" or null" if field.nullable else "")


if __name__ == "__main__":
    sys.stdout.write(page())
