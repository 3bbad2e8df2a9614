"""The config's section `export`."""

from __future__ import annotations

from pydantic import Field

from pipeline.contract.section import Positive, Section, not_in_key


class ExportConfig(Section):
    """Metrics, figures, the report, and the student that people load."""

    bootstrap: int = Field(default=1000, ge=100, le=100_000, description="Resamples behind each interval.")
    ece_bins: int = Field(default=10, ge=2, le=100, description="Bins of the expected calibration error.")
    examples: Positive = Field(default=20, description="Disagreements shown in the report.")
    batch_pairs: Positive = Field(
        default=32, description="Pairs per forward pass.", json_schema_extra=not_in_key()
    )
