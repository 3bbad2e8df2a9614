"""The config's section `retrieve`: how FAQ entries are ranked, and how that is measured."""

from __future__ import annotations

from pydantic import Field

from pipeline.contract.section import Positive, Section, not_in_key


class RetrieveConfig(Section):
    """`flipkd retrieve`: FAQ entries ranked by the encoder, the first of them ranked anew by the decoder."""

    phrasings: Positive = Field(
        default=1, description="Catalogue questions per entry: its first so many phrasings, train's before test's."
    )
    queries: Positive = Field(
        default=500, description="At most so many questions, drawn by seed: each costs a forward pass a candidate."
    )
    candidates: Positive = Field(
        default=10, description="How many of the encoder's first entries the decoder ranks anew."
    )
    bootstrap: int = Field(default=1000, ge=100, le=100_000, description="Resamples behind each interval.")
    batch_pairs: Positive = Field(
        default=32, description="Pairs per forward pass of the decoder.", json_schema_extra=not_in_key()
    )
