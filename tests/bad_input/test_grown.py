"""Input that hypothesis makes up: it ends as accepted with all rows in their place, or as one error."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.records import raw_json
from data.texts import fold
from tests.bad_input.corpus import FORMATS, TEXT_FORMATS, Case, encoded, pairs, pairs_of, put, utterances_of
from tests.bad_input.run import Models, run, verdict

_numbers = itertools.count()
grown = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
HEAD = {"csv": b"text_a,text_b,label\n", "tsv": b"text_a\ttext_b\tlabel\n", "jsonl": b""}


def ends_well(make: Any, folder: Path, models: Models) -> None:
    case = Case("grown", "one", make, "either")
    problem = verdict(case, run(case, folder / str(next(_numbers)), models))
    assert problem is None, problem


@pytest.mark.parametrize("format", FORMATS)
@grown
@given(content=st.binary(max_size=400))
def test_random_bytes(format: str, content: bytes, tmp_path: Path, whole_models: Models) -> None:
    ends_well(lambda folder: pairs_of(put(folder, f"rows.{format}", content)), tmp_path, whole_models)


@pytest.mark.parametrize("format", TEXT_FORMATS)
@grown
@given(content=st.text(alphabet=',"\t\n\r \0{}[]:\\ab01\ufeff\u200bé', max_size=300))
def test_random_signs_below_a_header(format: str, content: str, tmp_path: Path, whole_models: Models) -> None:
    def make(folder: Path) -> dict[str, Any]:
        return pairs_of(put(folder, f"rows.{format}", HEAD[format] + content.encode()), max_rejected=1)

    ends_well(make, tmp_path, whole_models)


@pytest.mark.parametrize("format", FORMATS)
@grown
@given(edits=st.lists(st.tuples(st.integers(0, 10_000), st.binary(max_size=6)), min_size=1, max_size=8))
def test_a_good_file_with_random_edits(
    format: str, edits: list[tuple[int, bytes]], tmp_path: Path, whole_models: Models
) -> None:
    def make(folder: Path) -> dict[str, Any]:
        content = bytearray(encoded(pairs(), format, folder))
        for place, new in edits:
            at = place % len(content)
            content[at : at + max(len(new), 1)] = new
        return pairs_of(put(folder, f"rows.{format}", bytes(content)), max_rejected=1)

    ends_well(make, tmp_path, whole_models)


plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
anything = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner)
)
records = st.fixed_dictionaries(
    {}, optional={"text_a": anything, "text_b": anything, "label": anything, "group": anything, "more": anything}
)


@grown
@given(rows=st.lists(records | anything, max_size=8))
def test_json_of_any_shape(rows: list[Any], tmp_path: Path, whole_models: Models) -> None:
    def make(folder: Path) -> dict[str, Any]:
        lines = [json.dumps(row) for row in (*pairs(), *rows)]
        return pairs_of(put(folder, "rows.jsonl", "\n".join(lines) + "\n"), group="group", max_rejected=1)

    ends_well(make, tmp_path, whole_models)


@grown
@given(rows=st.lists(st.tuples(st.text(max_size=12), st.text(max_size=3)), max_size=30))
def test_utterances_of_any_text(rows: list[tuple[str, str]], tmp_path: Path, whole_models: Models) -> None:
    def make(folder: Path) -> dict[str, Any]:
        lines = [json.dumps({"text": text, "id": identity}) for text, identity in rows]
        return utterances_of(put(folder, "rows.jsonl", "\n".join(lines) + "\n"), max_rejected=1)

    ends_well(make, tmp_path, whole_models)


@grown
@given(text=st.text(alphabet="prepareinputs:-{}[]&*!|>'\"# \n\t01.~<", max_size=80), after=st.booleans())
def test_configs_of_random_signs(text: str, after: bool, tmp_path: Path, whole_models: Models) -> None:
    start = "prepare:\n  inputs:\n    - {kind: pairs, path: rows.csv}\n" if after else ""

    def make(folder: Path) -> Path:
        put(folder, "rows.csv", encoded(pairs(), "csv", folder))
        return put(folder, "flipkd.yaml", start + text)

    case = Case("grown", "config", make, "either")
    ended = run(case, tmp_path / str(next(_numbers)), whole_models)
    assert ended.outcome != "error" or "flipkd.yaml" in ended.message or "prepare.inputs.0" in ended.message


@given(st.text(alphabet=st.characters(), max_size=40))
@settings(deadline=None)
def test_folding_what_is_folded_changes_nothing(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@given(anything)
def test_raw_content_is_json_that_any_reader_opens(value: Any) -> None:
    raw_json(value).encode()
    json.loads(raw_json(value), parse_constant=pytest.fail)
