"""JSON Lines whose lines are other things than plain objects."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.bad_input.corpus import Case, pairs, pairs_of, put

GOOD = [json.dumps(row) for row in pairs()]


def _row(**values: str) -> str:
    """A line with raw JSON as values."""
    fields = {"text_a": '"odd a"', "text_b": '"odd b"', "label": "1"} | values
    return "{" + ", ".join(f'"{name}": {value}' for name, value in fields.items()) + "}"


LINES: dict[str, tuple[str, str | None]] = {
    "an array": ('["a", "b", 1]', "not_json"),
    "a string": ('"text"', "not_json"),
    "a number": ("1", "not_json"),
    "null": ("null", "not_json"),
    "an empty object": ("{}", "missing_text"),
    "two objects": (GOOD[0] + GOOD[1], "not_json"),
    "a trailing comma": (GOOD[0] + ",", "not_json"),
    "a comment": ("// text", "not_json"),
    "single quotes": ("{'text_a': 'a', 'text_b': 'b', 'label': 1}", "not_json"),
    "cut short": (GOOD[0][:-5], "not_json"),
    "not a number as label": (_row(label="NaN"), None),
    "infinity as label": (_row(label="-Infinity"), "bad_label"),
    "not a number as text": (_row(text_a="NaN"), "missing_text"),
    "infinity in another column": (_row(more="Infinity", label="3"), "bad_label"),
    "a key twice": ('{"text_a": "a", "text_a": "c", "text_b": "b", "label": 1}', "repeated_key"),
    "a key twice, deeper": (_row(more='{"x": 1, "x": 2}'), None),
    "a list as text": (_row(text_a='["a"]'), "text_not_a_string"),
    "an object as text": (_row(text_a='{"en": "a"}'), "text_not_a_string"),
    "a number as text": (_row(text_a="5"), "text_not_a_string"),
    "true as text": (_row(text_b="true"), "text_not_a_string"),
    "null as text": (_row(text_b="null"), "missing_text"),
    "a list as group": (_row(group="[1]"), "bad_id"),
    "an object as group": (_row(group='{"id": 1}'), "bad_id"),
    "a number as group": (_row(group="17"), None),
    "an escaped half character": (_row(text_a='"\\ud83d"'), "not_utf8"),
    "half characters that make a whole": (_row(text_a='"\\ud83d\\ude00 x"'), None),
    "a half character as key": (_row(**{"\\ud800": "1", "label": "2"}), "bad_label"),
    "an escaped NUL": (_row(text_a='"a\\u0000b"'), "nul_byte"),
    "a control character": (_row(text_a='"a\tb"'), "not_json"),
    "a huge number": (_row(more="1" * 4000), None),
    "a number beyond Python's limit": (_row(more="1" * 5000), "not_json"),
    "a huge exponent": (_row(label="1e999999"), "bad_label"),
    "nested deeply, taken": (_row(more="[" * 300 + "]" * 300), None),
    "nested deeply, rejected": (_row(more="[" * 300 + "]" * 300, label="2"), "bad_label"),
    "nested as deeply as it is read": (_row(more="[" * 900 + "]" * 900, label="2"), ""),
    "nested far too deeply": (_row(more="[" * 100_000 + "]" * 100_000), "not_json"),
    "never closed": ("[" * 100_000, "not_json"),
}  # fmt: skip


def cases() -> Iterator[Case]:
    for name, (line, reason) in LINES.items():

        def make(folder: Path, line: str = line) -> dict[str, Any]:
            return pairs_of(put(folder, "rows.jsonl", "\n".join([*GOOD, line]) + "\n"), group="group")

        if reason == "":  # how deep Python reads depends on how deep the caller stands
            yield Case("lines, jsonl", name, make, "either", ())
        else:
            yield Case("lines, jsonl", name, make, "accepted", rejected={reason: 1} if reason else {}, rows=41)

    def whole(content: str) -> Any:
        return lambda folder: pairs_of(put(folder, "rows.jsonl", content))

    array = json.dumps(pairs())
    says = ("rows.jsonl", "row 1 is not_json", "one JSON object a line")
    yield Case("lines, jsonl", "one array of all", whole(array), "error", says)
    pretty = "\n".join(json.dumps(row, indent=2) for row in pairs())
    yield Case("lines, jsonl", "objects over several lines", whole(pretty), "error", says)
    yield Case("lines, jsonl", "numbers alone", whole("1\n2\n3\n"), "error", says)
    says = ("rows.jsonl", "no column 'text_a'")
    late = [*("{}" for _ in range(1500)), *GOOD]
    yield Case("lines, jsonl", "columns only after 1,500 rows", whole("\n".join(late)), "error", says)
