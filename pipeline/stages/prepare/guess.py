"""What an input file holds, from its header and first rows: how `flipkd init --input` fills in a config."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from data.collect import Unusable, label_of, split_of
from data.delimited import DELIMITERS, first_record
from data.errors import FlipkdError
from data.locate import named_path
from data.readers import file_format, header, listed, read_rows
from data.records import Row
from data.texts import BYTE_ORDER_MARK
from pipeline.stages.prepare.catalogue import is_like_catalogue
from pipeline.stages.prepare.inputs import input_path
from pipeline.stages.prepare.retrieval_folder import is_retrieval_folder

_ROWS = 1000
# Columns as files of pairs and of questions call them, in lower case and without `_`, `-` and spaces; the first
# that a file has is taken.
_PAIRS = (
    ("texta", "textb"), ("text1", "text2"), ("question1", "question2"), ("questiona", "questionb"),
    ("sentence1", "sentence2"), ("sentencea", "sentenceb"), ("s1", "s2"), ("q1", "q2"), ("anchor", "positive"),
    ("query", "document"), ("query", "passage"), ("question", "faqtitle"), ("question", "title"),
)  # fmt: skip
_LABELS = ("label", "isduplicate", "duplicate", "match", "ismatch", "target", "gold", "y", "score")
_TEXTS = ("text", "utterance", "question", "query", "sentence")
_IDS = ("id", "faqid", "intent", "intentid", "category", "categoryid", "class", "cluster", "label", "labeltext")
_TITLES = ("title", "name", "entry", "heading", "question", "text")
_ANSWERS = ("answer", "answertext", "body", "description", "content")
_NAME = re.compile(r"[^\W\d][\w .:/()-]{0,39}")  # how the name of a column looks
_WORDS_OF_NAME = 4
_UNPARTED_CHARACTERS = 6


def guess_input(name: str, beside: bool = False) -> dict[str, Any]:
    """An entry of `prepare.inputs` for a file: its kind and columns.

    Args:
        name: the file's path, or `package:import_name/path`; of a retrieval set the folder's.
        beside: there are other files, so that it may hold the entries to which their questions point.

    Returns:
        The entry's keys in the order of a config, `path` as it was given; keys at their default are left out.

    Raises:
        FlipkdError: the file cannot be read, or its columns do not tell what they are; says what to write by hand.
    """
    if is_retrieval_folder(named_path(name)):
        return {"kind": "retrieval", "path": name}
    path = input_path(name, "--input")
    format = file_format(path)
    first = first_record(path, format) if format in DELIMITERS else None
    file: dict[str, Any] = {"path": name}
    if format == "csv" and isinstance(first, list) and len(first) == 1 and "\t" in first[0]:
        format = file["format"] = "tsv"
        first = first_record(path, format)
    columns = header(path, format)
    rows = _first_rows(path, format, None, columns)
    if isinstance(first, list) and not _is_header(first, rows):
        columns = file["column_names"] = [f"column_{place}" for place in range(1, len(first) + 1)]
        rows = _first_rows(path, format, columns, columns)
    values = {name: [row.get(name) for row in rows] for name in columns}
    found = _entries(values) if beside else None
    return _named(file, found or _roles(path, values))


def _first_rows(
    path: Path, format: str, column_names: Sequence[str] | None, columns: Sequence[str]
) -> list[dict[str, Any]]:
    rows = itertools.islice(read_rows(path, format, column_names, list(dict.fromkeys(columns))), _ROWS)
    return [row.values for row in rows if isinstance(row, Row)]


def _is_header(fields: Sequence[str], rows: Sequence[dict[str, Any]]) -> bool:
    """Whether a first row names columns: short names that differ, no number or sentence, and no value of a row."""
    names = [field.strip().lstrip(BYTE_ORDER_MARK) for field in fields]
    look_like_names = all(_NAME.fullmatch(name) and len(name.split()) <= _WORDS_OF_NAME for name in names)
    return (
        look_like_names and len(set(names)) == len(names) and all(row.get(n) != n for row in rows for n in names)
    )


def _entries(columns: dict[str, list[Any]]) -> dict[str, Any] | None:
    """The columns of a catalogue: an id that never repeats, a title, perhaps an answer, and nothing else."""
    texts = [name for name, values in columns.items() if _are_texts(values)]
    ids = [name for name in columns if name not in texts]
    answer = next((name for name in texts if _plain(name) in _ANSWERS), None) if len(texts) > 1 else None
    title, id = _one_of([name for name in texts if name != answer], _TITLES), _one_of(ids, _IDS)
    if not title or not id or len(columns) != 2 + bool(answer):
        return None
    if len(set(map(str, columns[id]))) < len(columns[id]) or len(set(columns[title])) < len(columns[title]):
        return None
    return {"kind": "catalogue", "id": id, "title": title} | ({"answer": answer} if answer else {})


def _roles(path: Path, columns: dict[str, list[Any]]) -> dict[str, Any]:
    """Which column is what, by the keys of an entry of the config."""
    given = {name: [value for value in values if value not in (None, "")] for name, values in columns.items()}
    labels = [name for name, values in given.items() if values and _all(label_of, values)]
    splits = [name for name, values in given.items() if values and _all(split_of, values)]
    others = [name for name in given if name not in labels + splits]
    repeated = [name for name in others if 1 < len(set(map(str, given[name]))) < len(given[name])]
    texts = [n for n in others if _are_texts(given[n]) and not (n in repeated and _plain(n) in _IDS)]
    ids = [name for name in repeated if name not in texts]
    split = {"split_column": splits[0]} if splits else {}

    pair = _named_pair(texts) or (texts if len(texts) == 2 else None)
    label = _one_of(labels, _LABELS)
    if pair and (label or not labels):
        sides = {"text_a": given[pair[0]], "text_b": given[pair[1]]}
        catalogue = _catalogue(sides)
        # Questions beside the entries of a catalogue, and no label: each is beside the one that answers it.
        known = {"matches_only": True} if catalogue and label is None else {"label": label}
        return {"kind": "pairs", "text_a": pair[0], "text_b": pair[1]} | known | catalogue | split
    text, id = _one_of(texts, _TEXTS), _one_of(ids, _IDS)
    if text and id:
        return {"kind": "utterances", "text": text, "id": id} | split
    raise FlipkdError(
        f"{path.name}: its columns do not tell what they are: {listed(list(columns))}. Texts seem to be in "
        f"{listed(texts)}, labels in {listed(labels)}, ids that repeat in {listed(ids)}. Run `flipkd init` "
        "without --input and name them by hand: for pairs `text_a`, `text_b` and `label` (0 or 1, or `label: "
        "null`), for utterances `text` and `id`"
    )


def _catalogue(sides: dict[str, list[Any]]) -> dict[str, str]:
    texts = {side: len(set(map(str, values))) for side, values in sides.items()}
    few, many = sorted(texts, key=lambda side: texts[side])
    return {"catalogue": few} if is_like_catalogue(len(sides[few]), texts[few], texts[many]) else {}


def _named(file: dict[str, Any], columns: dict[str, Any]) -> dict[str, Any]:
    """The entry; the columns of a file without a header are called as the config calls them."""
    if "column_names" in file:
        ours = {column: key for key, column in columns.items() if column in file["column_names"]}
        file["column_names"] = [ours.get(name, name) for name in file["column_names"]]
        columns = {key: ours.get(column, column) for key, column in columns.items()}
    return {"kind": columns.pop("kind"), **file, **columns}


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]", "", name).lower()


def _named_pair(texts: Sequence[str]) -> list[str] | None:
    by_name = {_plain(name): name for name in texts}
    return next(([by_name[a], by_name[b]] for a, b in _PAIRS if a in by_name and b in by_name), None)


def _one_of(names: Sequence[str], known: Sequence[str]) -> str | None:
    """The name that is known, the earlier known the better; or the only one that there is."""
    by_name = {_plain(name): name for name in names}
    named = next((by_name[name] for name in known if name in by_name), None)
    return named or (names[0] if len(names) == 1 else None)


def _all(reads: Callable[[Any], Any], values: Iterable[Any]) -> bool:
    try:
        for value in values:
            reads(value)
    except Unusable:
        return False
    return True


def _are_texts(values: Sequence[Any]) -> bool:
    """Whether a column holds texts: most have several words, or some length in a script without spaces."""
    texts = [value for value in values if isinstance(value, str) and (" " in value.strip() or _is_unparted(value))]
    return len(texts) > len(values) / 2


def _is_unparted(value: str) -> bool:
    return not value.isascii() and len(value) >= _UNPARTED_CHARACTERS
