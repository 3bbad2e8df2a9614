"""The config of a comparison: datasets, variants and seeds, and what each changes in a pipeline's config."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from data.errors import FlipkdError
from data.locate import user_path
from pipeline.comparison.presets import PRESETS
from pipeline.comparison.statistics import TEACHER
from pipeline.config.config import Config
from pipeline.config.load import DEMO, load_config, validated
from pipeline.config.read import read_config
from pipeline.contract.section import Section

NAME = r"^[a-z0-9][a-z0-9_]*$"
Name = Annotated[str, Field(pattern=NAME)]
Changes = dict[str, Any]
BUDGET_KINDS = ("equal", "fresh")  # what `budget: equal` makes of a variant, `NAME_equal` and `NAME_fresh`
Job = tuple[str, str, int, Config]


class Dataset(Section):
    """A pipeline's config, with changes for all of its variants; in the config a path is short for `config`."""

    short_for: ClassVar = "config"

    config: str = Field(description="A pipeline's config, relative to this file; or `demo`.")
    set: Changes = Field(default={}, description="Dotted keys to values, over that config.")


class CompareConfig(Section):
    """Which students are compared, on what."""

    datasets: dict[Name, Dataset] = Field(min_length=1, description="By name.")
    preset: Literal["paper", "readings", "sweep"] | None = Field(
        default=None, description="Variants that ship with flipkd."
    )
    variants: dict[Name, Changes] = Field(
        default={}, description="Further variants: dotted keys to values, `{}` for the config as it is."
    )
    only: list[Name] | None = Field(default=None, description="Of all variants, these alone.")
    seeds: list[Annotated[int, Field(ge=0, lt=2**31)]] = Field(
        default=[1, 2, 3], min_length=1, description="Seeds of the students' training."
    )
    against: Name = Field(default="sft", description="The variant that all others are compared with.")
    budget: Literal["equal"] | None = Field(
        default=None,
        description="`equal`: variants that cost less than the dearest are trained again for as many tokens, by "
        "more passes (`NAME_equal`) and, for baselines whose pairs are built from utterances, by other pairs in "
        "each pass (`NAME_fresh`); `against` is then the best of its three on dev. A teacher's time counts on the "
        "side of who learns from it.",
    )
    set: Changes = Field(default={}, description="Dotted keys to values, for all datasets and variants.")
    resamples: int = Field(default=2000, ge=100, le=100_000, description="Of the paired bootstrap.")

    @model_validator(mode="after")
    def _has_variants(self) -> CompareConfig:
        known = self.all_variants
        if not known:
            raise ValueError("give a preset or variants")
        unknown = set(self.only or []) - known.keys()
        if unknown:
            raise ValueError(
                f"only: no variant is called {', '.join(sorted(unknown))}; there are {', '.join(known)}"
            )
        if TEACHER in self.variants:
            raise ValueError(f"variants: {TEACHER} is the teacher's own row; give the variant another name")
        if "against" in self.model_fields_set and self.against not in self.chosen:
            raise ValueError(f"against: no variant here is called {self.against}; {', '.join(self.chosen)} are")
        if self.budget:
            made = {f"{name}_{kind}" for name in self.chosen for kind in BUDGET_KINDS}
            if taken := sorted(made & known.keys()):
                raise ValueError(f"variants: budget makes {', '.join(taken)} itself; give yours another name")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds: one stands there twice")
        return self

    @property
    def all_variants(self) -> dict[str, Changes]:
        """Those of the preset and the further ones, by name; a further one may replace one of the preset."""
        return (PRESETS[self.preset] if self.preset else {}) | self.variants

    @property
    def chosen(self) -> dict[str, Changes]:
        """The variants that are run."""
        return {n: changes for n, changes in self.all_variants.items() if self.only is None or n in self.only}


def load_comparison(path: Path) -> CompareConfig:
    """Read and validate the config of a comparison; paths of pipelines' configs become absolute.

    Raises:
        FlipkdError: the file cannot be read, or holds what is not allowed; a line per problem.
    """
    config = validated(CompareConfig, read_config(path.expanduser()), str(path))
    folder = path.expanduser().resolve().parent
    datasets = {
        name: dataset
        if dataset.config == DEMO
        else dataset.model_copy(update={"config": str(folder / user_path(dataset.config))})
        for name, dataset in config.datasets.items()
    }
    return config.model_copy(update={"datasets": datasets})


def variant_config(
    comparison: CompareConfig,
    dataset: str,
    variant: str,
    seed: int,
    store: str | None,
    more: Changes | None = None,
) -> Config:
    """The pipeline's config of one student.

    Args:
        more: changes over the variant's own.

    Raises:
        FlipkdError: a change names a key that is not there, or a value that is not allowed.
    """
    base = comparison.datasets[dataset]
    changes = base.set | comparison.set | comparison.chosen[variant] | {"distill.seed": seed} | (more or {})
    if store is not None:
        changes["store"] = store
    try:
        return load_config(base.config, changes)
    except FlipkdError as error:
        raise FlipkdError(f"datasets.{dataset}, variant {variant}: {error}") from None


def all_jobs(comparison: CompareConfig, store: str | None) -> list[Job]:
    """Every student that is to be made, seed by seed.

    The datasets take turns: two students at a time then begin with different passes over texts, and what the one
    leaves in the store serves the next variant.

    Raises:
        FlipkdError: a config or change is wrong.
    """
    return [
        (dataset, variant, seed, variant_config(comparison, dataset, variant, seed, store))
        for seed in comparison.seeds
        for variant in comparison.chosen
        for dataset in comparison.datasets
    ]
