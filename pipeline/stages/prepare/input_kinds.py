"""What an input of `prepare` may be: the kinds of files, and which of their columns are read."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, PrivateAttr, model_validator

from pipeline.contract.section import Positive, Section, Share, by_identity, in_key_if_set

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
