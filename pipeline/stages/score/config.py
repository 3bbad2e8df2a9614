"""The config's section `score`."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from pipeline.contract.section import MODEL_NAME, Positive, Section, Share, by_identity, in_key_if_set, not_in_key


class CrossEncoderSettings(Section):
    """A cross-encoder, which reads both texts of a pair at once."""

    model: str = Field(
        description=f"{MODEL_NAME[0].upper()}{MODEL_NAME[1:]}; with one output.",
        json_schema_extra=by_identity("model"),
    )
    weight: float = Field(
        default=0.5, gt=0, le=1, description="Its share of teacher_score; the bi-encoder's cosine has the rest."
    )
    trust_remote_code: bool = Field(default=False, description="Run the model's own code.")
    batch_size: Positive = Field(default=32, description="Pairs per forward pass.", json_schema_extra=not_in_key())


class Mining(Section):
    """Pairs without a label that the teacher makes of training texts; a number is short for `nearest`."""

    short_for: ClassVar = "nearest"

    nearest: Positive = Field(default=2, description="Pairs with the texts nearest to each text.")
    middling: int = Field(default=1, ge=0, description="Pairs with texts that lie behind those.")
    among: Positive = Field(default=50, description="Middling texts are taken from so many nearest ones.")

    @model_validator(mode="after")
    def _has_so_many(self) -> Mining:
        if self.nearest + self.middling > self.among:
            raise ValueError(f"nearest + middling must not pass among ({self.among})")
        return self


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
    texts: Literal["pairs", "all"] = Field(
        default="pairs",
        description="Which texts get a vector: those of pairs and of inputs without a label (`kind: texts`), or "
        "all, with the utterances of train that no pair holds. `distill.texts: all` asks for it by itself.",
        json_schema_extra=in_key_if_set(),
    )
    mine: Mining | None = Field(
        default=None,
        description="Pairs that the teacher makes: of the texts of training pairs, of inputs without a label "
        "(`kind: texts`) and, with `texts: all`, of all utterances of train. They have no label; the filter's "
        "bounds for such pairs decide them.",
        json_schema_extra=in_key_if_set(),
    )
    max_truncated: Share | None = Field(
        default=None,
        description="An error where a larger share of the texts is longer than the teacher's window. What is cut "
        "is counted and said in any case.",
        json_schema_extra=in_key_if_set(),
    )
    candidates: int = Field(
        default=10,
        ge=0,
        description="With a catalogue: candidates.parquet gets so many entries for each query, those that the "
        "teacher ranks first; 0 for no file. Another number counts when score runs again (`--refresh score`).",
        json_schema_extra=not_in_key(),
    )
    cross_encoder: CrossEncoderSettings | None = Field(
        default=None,
        description="A cross-encoder that scores every pair too; its score, brought to the cosine's scale, is "
        "averaged into teacher_score.",
        json_schema_extra=in_key_if_set(),
    )
