"""The config's section `export`."""

from __future__ import annotations

from pydantic import Field

from pipeline.contract.section import Positive, Section, in_key_if_set, not_in_key


class ExportConfig(Section):
    """Metrics, figures, the report, and the student that people load."""

    bootstrap: int = Field(default=1000, ge=100, le=100_000, description="Resamples behind each interval.")
    ece_bins: int = Field(default=10, ge=2, le=100, description="Bins of the expected calibration error.")
    examples: Positive = Field(default=20, description="Disagreements shown in the report.")
    retrieval_queries: Positive = Field(
        default=200,
        description="With a catalogue: at most so many queries of dev, and of test, are ranked against it, drawn "
        "by seed; each costs a forward pass a candidate.",
        json_schema_extra=in_key_if_set(),
    )
    candidates: Positive = Field(
        default=10,
        description="With a catalogue: how many of the encoder's first entries the decoder ranks anew.",
        json_schema_extra=in_key_if_set(),
    )
    batch_pairs: Positive = Field(
        default=32, description="Pairs per forward pass.", json_schema_extra=not_in_key()
    )
