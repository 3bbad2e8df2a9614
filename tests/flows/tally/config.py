"""The section `tally` of a config: a stage that a test registers."""

from __future__ import annotations

from pydantic import Field

from pipeline.contract.section import Section


class TallyConfig(Section):
    """How words are counted."""

    shortest: int = Field(default=3, ge=1, description="Words of fewer letters are left out.")
