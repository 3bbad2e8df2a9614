"""The config: one frozen pydantic model per stage, and one that holds them all.

A field marked with `not_in_key()` changes how fast or how visibly a stage works, never what it writes; it
stays out of the artifact's key, so changing it costs nothing. One marked with `in_key_if_set()` came later: at its
default the key is what it was before.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, create_model, model_validator

from pipeline.config.nightly import DriftConfig, PromoteConfig
from pipeline.config.presets import PRESETS, under
from pipeline.contract.section import (
    Section,
    not_in_key,
)
from pipeline.stages.distill.config import DistillConfig
from pipeline.stages.export.config import ExportConfig
from pipeline.stages.filter.config import FilterConfig
from pipeline.stages.prepare.config import PrepareConfig, entries_first, has_catalogue, has_grades
from pipeline.stages.registry import ALL_STAGES
from pipeline.stages.retrieve.config import RetrieveConfig
from pipeline.stages.score.config import ScoreConfig
from pipeline.stages.teach.config import TeachConfig


class Config(Section):
    """Everything a run needs. Only `prepare` has no default."""

    preset: Literal["small_student"] | None = Field(
        default=None,
        description="Settings that go under those of this file; `small_student` suits a model of some 100 M "
        "parameters such as the default one.",
        json_schema_extra=not_in_key(),  # what it sets stands in the stages' sections
    )
    store: str | None = Field(
        default=None,
        description="Artifact store, relative to the config's folder; else $FLIPKD_HOME, else `.flipkd` in the "
        "working directory.",
        json_schema_extra=not_in_key(),
    )
    seed: int = Field(default=13, ge=0, lt=2**31, description="Seed of everything random.")
    prepare: PrepareConfig
    teach: TeachConfig = TeachConfig()
    score: ScoreConfig = ScoreConfig()
    filter: FilterConfig = FilterConfig()
    distill: DistillConfig = DistillConfig()
    export: ExportConfig = ExportConfig()
    drift: DriftConfig = DriftConfig()
    promote: PromoteConfig = PromoteConfig()
    retrieve: RetrieveConfig = RetrieveConfig()

    @model_validator(mode="before")
    @classmethod
    def _over_its_preset(cls, data: Any) -> Any:
        preset = data.get("preset") if isinstance(data, dict) else None
        data = under(data, PRESETS[preset]) if isinstance(preset, str) and preset in PRESETS else data
        distill = data.get("distill") if isinstance(data, dict) else None
        if isinstance(distill, dict) and distill.get("texts") == "all":
            return under(data, {"score": {"texts": "all"}})  # what the student reads has a vector
        return data

    @model_validator(mode="after")
    def _has_what_is_compared(self) -> Config:
        if self.promote.metric == "ndcg@10" and not has_catalogue(self.prepare):
            raise ValueError("promote.metric: ndcg@10 needs an input of pairs that names its `catalogue`, or a "
                             "retrieval set")  # fmt: skip
        return self

    @model_validator(mode="after")
    def _has_grades(self) -> Config:
        if self.distill.margins.intra_order == "grade" and not has_grades(self.prepare):
            raise ValueError("distill.margins.intra_order: grade needs an input of `kind: retrieval`")
        return self

    @model_validator(mode="after")
    def _asks_about_queries_first(self) -> Config:
        asked = self.distill.prompt
        place = entries_first(self.prepare)
        if place is not None and (asked.turned is not None or asked.orders == "one"):
            raise ValueError(
                f"distill.prompt tells the sides apart, and a student is asked about (query, entry): in "
                f"prepare.inputs.{place} call the queries' column text_a and the entries' text_b"
            )
        return self


def config_type() -> type[Config]:
    """`Config`, with a section for every registered stage that the class does not spell out."""
    missing: dict[str, Any] = {
        name: (stage.section, stage.section())
        for name, stage in ALL_STAGES.items()
        if (stage.section_name or name) not in Config.model_fields
    }
    return create_model("Config", __base__=Config, **missing) if missing else Config
