"""The config's sections about nights: how much the data may drift, and when a new student takes over."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field, model_validator

from pipeline.contract.section import Section, Share

DEFAULT_NAME = "default"  # of a config that comes from no file


class Limit(Section):
    """How far a measure may lie from the run in use; in the config a plain number is short for `warn`."""

    model_config = ConfigDict(title="Warn and stop")
    short_for: ClassVar = "warn"
    one_setting: ClassVar = True

    warn: Share | None = Field(
        default=None, title="Warn above", description="Above it the run warns; null never warns."
    )
    stop: Share | None = Field(default=None, description="Above it the run fails; null never stops.")

    @model_validator(mode="after")
    def _warns_first(self) -> Limit:
        if self.warn is not None and self.stop is not None and self.stop < self.warn:
            raise ValueError("stop must not lie below warn")
        return self


class DriftConfig(Section):
    """Tonight's data against those behind the student in use."""

    enabled: bool = Field(default=True, description="False compares nothing.")
    baseline: Annotated[str, Field(pattern=r"^(in_use|[0-9a-f]{20})$")] = Field(
        default="in_use",
        description="`in_use`: the data behind the student in use, which a promotion moves on. The key of an "
        "export, as `flipkd promoted` has it: the data behind that one, so that a slow drift adds up.",
    )
    teacher_scores: Limit = Field(
        default=Limit(warn=0.1, stop=0.4),
        description="Kolmogorov-Smirnov distance of the teacher scores' distributions, 0 to 1.",
    )
    text_lengths: Limit = Field(
        default=Limit(warn=0.1, stop=0.4), description="The same distance of the texts' lengths in characters."
    )
    rejected: Limit = Field(
        default=Limit(warn=0.02, stop=0.1), description="Difference of the shares of rejected rows."
    )
    label_rate: Limit = Field(
        default=Limit(warn=0.05, stop=0.2),
        description="Difference of the shares of positives among the labelled pairs.",
    )


class Floor(Section):
    """What a student must reach on test, whatever it is compared with; in the config a number is for `auroc`."""

    short_for: ClassVar = "auroc"

    auroc: Share | None = Field(
        default=0.6, description="AUROC of `promote.score`; chance is 0.5. null: no floor."
    )
    below_teacher: Share | None = Field(
        default=0.1, description="So much its AUROC may lie below the teacher's. null: however much."
    )


class PromoteConfig(Section):
    """When a new student takes the place of the one in use; in the config a word is short for `mode`."""

    short_for: ClassVar = "mode"

    mode: Literal["manual", "auto"] = Field(
        default="manual", description="`auto`: the flow promotes by itself; else `flipkd promote` does."
    )
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")] | None = Field(
        default=None,
        description="`current/NAME` in the store points to the student in use, `latest/NAME/STAGE` to what was "
        "run last. By default the name of the config's file, without its ending.",
    )
    score: Literal["decoder", "encoder", "fused"] = Field(
        default="fused", description="The student's score that is compared."
    )
    metric: Literal["auroc", "f1", "accuracy", "average_precision", "ndcg@10"] = Field(
        default="auroc",
        description="What is compared, on the test pairs that both students may be measured on. `ndcg@10`: on the "
        "test queries against the catalogue that an input names; by grade where there are grades.",
    )
    tolerance: Share = Field(default=0.01, description="So much worse the new student may be.")
    at_least: Floor = Field(
        default=Floor(),
        description="A student below it is refused, the first one too. Only by labelled test pairs.",
    )
    evidence: Literal["difference", "interval"] = Field(
        default="difference",
        description="What must not lie below -tolerance: the difference itself, or the low end of its 95 % "
        "interval.",
    )
    minimum_pairs: int = Field(
        default=30,
        ge=2,
        description="With fewer pairs (or queries) to compare on there is no verdict, and no promotion.",
    )
    otherwise: Literal["complete", "fail"] = Field(
        default="complete", description="How a run ends whose student was not promoted under `auto`."
    )

    @property
    def called(self) -> str:
        """The name in the store."""
        return self.name or DEFAULT_NAME
