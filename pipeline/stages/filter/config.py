"""The config's section `filter`: the dual threshold."""

from __future__ import annotations

from typing import ClassVar

from pydantic import ConfigDict, Field, model_validator

from pipeline.contract.section import Cosine, Section, Share


class Bound(Section):
    """A bound on the teacher's similarity; in the config a plain number is short for `value`."""

    model_config = ConfigDict(title="Quantile or precision")
    short_for: ClassVar = "value"
    one_setting: ClassVar = True

    value: Cosine | None = Field(default=None, description="The bound itself, a cosine.")
    quantile: Share | None = Field(default=None, description="The quantile of the class's own train scores.")
    precision: Share | None = Field(
        default=None, description="The widest bound at which the teacher reaches this precision on dev."
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> Bound:
        if sum(v is not None for v in (self.value, self.quantile, self.precision)) != 1:
            raise ValueError("give a number, or exactly one of value, quantile, precision")
        return self


class FilterConfig(Section):
    """The dual threshold: which pairs the student learns from."""

    enabled: bool = Field(default=True, description="False keeps every labelled pair.")
    tau_pos: Bound = Field(default=Bound(quantile=0.05), description="Lower bound of a kept positive.")
    tau_neg: Bound = Field(
        default=Bound(quantile=0.95), description="Upper bound of a kept negative, and of the screen."
    )
    tau_accept: Bound = Field(
        default=Bound(precision=0.95), description="An unlabelled pair at or above is a positive."
    )
    tau_reject: Bound = Field(
        default=Bound(precision=0.95), description="An unlabelled pair at or below is a negative."
    )

    @model_validator(mode="after")
    def _bounds_do_not_cross(self) -> FilterConfig:
        accept, reject = self.tau_accept.value, self.tau_reject.value
        if accept is not None and reject is not None and reject > accept:
            raise ValueError("tau_reject must not lie above tau_accept, or pairs between would be both")
        return self
