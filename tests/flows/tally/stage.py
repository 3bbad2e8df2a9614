"""The stage `tally`, which a test registers: it counts the words of the pairs that the filter kept."""

from __future__ import annotations

from pipeline.contract.stage import Stage
from tests.flows.tally.config import TallyConfig

STAGE = Stage(
    package=__package__ or "",
    version=1,
    reads=("filter",),
    title="count words",
    section=TallyConfig,
    sentence=lambda summary: f"{summary['words']} different words",
    seeded=False,
    uses_gpu=False,
    results=(("words", "words.parquet"),),
)
