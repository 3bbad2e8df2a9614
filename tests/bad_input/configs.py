"""Config files that are wrong, or no config files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.bad_input.corpus import Case, pairs, put, write

INPUTS = "prepare:\n  inputs:\n    - kind: pairs\n      path: rows.csv\n"
AFTER = "teach:\n  epochs: 1\n"


def cases() -> Iterator[Case]:
    for name, (text, says) in YAML.items():
        yield Case("configs, YAML", name, _file("flipkd.yaml", text), "error", ("flipkd.yaml", *says))
    for name, (text, says) in VALUES.items():
        yield Case("configs, values", name, _file("flipkd.yaml", text), "error", ("flipkd.yaml", *says))
    for name, (text, says) in TOML.items():
        yield Case("configs, TOML", name, _file("flipkd.toml", text), "error", ("flipkd.toml", *says))
    for name, (make, says) in PLACES.items():
        yield Case("configs, places", name, make, "error", says)
    for name, content in ACCEPTED.items():
        yield Case("configs, accepted", name, _file("flipkd.yaml", content), "accepted", rows=40)


def _file(name: str, content: str | bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        write(folder / "rows.csv", pairs())
        return put(folder, name, content)

    return make


def _bomb(levels: int = 40) -> str:
    """Billion laughs: each list holds the one before ten times."""
    lists = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join(["a0: &a0 [lol]", *lists, INPUTS])


ACCEPTED: dict[str, str | bytes] = {
    "a byte-order mark": "\ufeff" + INPUTS,
    "carriage returns": INPUTS.replace("\n", "\r\n"),
    "an alias": INPUTS.replace("prepare:\n", "prepare: &p\n"),
    "sections of null weight": INPUTS + "distill: {weights: {mcl: 0}}\n",
}  # fmt: skip
# ruff: noqa: E501  # one case a line reads best
YAML: dict[str, tuple[str | bytes, tuple[str, ...]]] = {
    "tabs": ("prepare:\n\tinputs: []\n", ("line 2", "not valid YAML")),
    "wrong indentation": ("prepare:\n  inputs: []\n seed: 1\n", ("line 3",)),
    "an open bracket": ("prepare: {inputs: [\n", ("not valid YAML",)),
    "an open quote": ("prepare: 'x\n", ("not valid YAML",)),
    "two documents": (INPUTS + "---\n" + INPUTS, ("not valid YAML", "line")),
    "a list": ("- prepare\n- teach\n", ("mapping of sections",)),
    "a word": ("prepare\n", ("mapping of sections",)),
    "a number": ("17\n", ("mapping of sections",)),
    "empty": ("", ("prepare: missing",)),
    "a comment alone": ("# nothing\n", ("prepare: missing",)),
    "a key twice": (INPUTS + "seed: 1\nseed: 2\n", ("the key seed stands twice", "line 6")),
    "a section twice": (INPUTS + INPUTS, ("the key prepare stands twice",)),
    "a number as key": (INPUTS + "1: x\n", ("the key 1 must be text",)),
    "null as key": (INPUTS + "~: x\n", ("must be text",)),
    "a list as key": (INPUTS + "? [a]\n: x\n", ("must be text",)),
    "a Python object": (INPUTS + "store: !!python/object/apply:os.system ['true']\n", ("line 5", "python/object")),
    "a Python name": (INPUTS + "store: !!python/name:os.system\n", ("line 5", "python/name")),
    "an unknown tag": (INPUTS + "store: !secret x\n", ("line 5", "!secret")),
    "an unknown alias": (INPUTS + "store: *nowhere\n", ("nowhere",)),
    "an alias to itself": ("prepare: &p {inputs: [*p]}\n", ("aliases",)),
    "a list in itself": ("store: &s [*s]\n" + INPUTS, ("values",)),
    "a billion laughs": (_bomb(), ("aliases", "values")),
    "a billion laughs in a section": (f"{_bomb(9)}teach: *a8\n", ("aliases",)),
    "merges": ("b: &b {x: 1}\nprepare: {<<: *b}\n", ("merge", "line 2")),
    "nested far too deeply": ("[" * 20_000, ("nested",)),
    "nested in lines": ("".join(f"{' ' * n}a:\n" for n in range(600)), ("",)),
    "a date that is none": (INPUTS + "store: 2020-13-45\n", ("line 5", "month")),
    "a number of 5,000 digits": (INPUTS + f"seed: {'1' * 5000}\n", ("line 5",)),
    "broken base64": (INPUTS + "store: !!binary x\n", ("line 5",)),
    "control characters": (INPUTS + "store: a\x01b\n", ("not valid YAML",)),
    "NUL bytes": ("prepare:\0\0\n", ("not valid YAML",)),
    "UTF-16": (INPUTS.encode("utf-16"), ("UTF-8",)),
    "latin-1": (INPUTS.encode() + "# café\n".encode("latin-1"), ("line 5", "UTF-8")),
    "random bytes": (bytes(range(256)) * 20, ("UTF-8",)),
    "a megabyte": (INPUTS + "# x\n" * 300_000, ("1.2 MB", "256 kB")),
    "a zip": (b"PK\x03\x04" + bytes(range(128, 256)), ("UTF-8",)),
    "JSON with tabs": ('{\n\t"prepare": {"inputs": [}\n}', ("not valid YAML",)),
}  # fmt: skip
VALUES: dict[str, tuple[str, tuple[str, ...]]] = {
    "an unknown section": (INPUTS + "taech: {}\n", ("taech: unknown key", "did you mean teach")),
    "an unknown key": (INPUTS + "teach: {epoch: 1}\n", ("teach.epoch: unknown key", "did you mean epochs")),
    "a hundred unknown keys": (INPUTS + "".join(f"k{n}: 1\n" for n in range(100)), ("k0: unknown", "and 80 more")),
    "a key of 10,000 characters": (INPUTS + f"? {'k' * 10_000}\n: 1\n", ("unknown key",)),
    "no input": ("prepare: {inputs: []}\n", ("prepare.inputs", "at least one")),
    "inputs as a word": ("prepare: {inputs: rows.csv}\n", ("prepare.inputs", "list")),
    "inputs of words": ("prepare: {inputs: [rows.csv]}\n", ("prepare.inputs.0",)),
    "no kind": ("prepare: {inputs: [{path: rows.csv}]}\n", ("prepare.inputs.0.kind: missing",)),
    "an unknown kind": ("prepare: {inputs: [{kind: rows, path: rows.csv}]}\n", ("prepare.inputs.0.kind", "pairs, retrieval, texts or utterances")),
    "a list as kind": ("prepare: {inputs: [{kind: [pairs], path: rows.csv}]}\n", ("prepare.inputs.0.kind",)),
    "no path": ("prepare: {inputs: [{kind: pairs}]}\n", ("prepare.inputs.0.path: missing",)),
    "a number as path": ("prepare: {inputs: [{kind: pairs, path: 7}]}\n", ("prepare.inputs.0.path", "7")),
    "null as path": ("prepare: {inputs: [{kind: pairs, path: null}]}\n", ("prepare.inputs.0.path", "null")),
    "a format that is none": (INPUTS + "      format: xls\n", ("prepare.inputs.0.format", "xls", "csv")),
    "a section as a number": (INPUTS + "teach: 3\n", ("teach", "3", "mapping")),
    "a section as null": (INPUTS + "teach:\n", ("teach", "null")),
    "a section as a list": (INPUTS + "teach: []\n", ("teach", "mapping")),
    "a word as a number": (INPUTS + "teach: {epochs: many}\n", ("teach.epochs", '"many"', "a number")),
    "truth as a number": (INPUTS + "seed: true\n", ("seed", "true", "whole number")),
    "a fraction as a whole number": (INPUTS + "seed: 1.5\n", ("seed", "1.5")),
    "infinity": (INPUTS + "teach: {learning_rate: .inf}\n", ("teach.learning_rate", "Infinity")),
    "not a number": (INPUTS + "filter: {tau_pos: .nan}\n", ("filter.tau_pos", "NaN")),
    "not a number, in a limit": (INPUTS + "drift: {rejected: .nan}\n", ("drift.rejected", "NaN")),
    "below the range": (INPUTS + "prepare2: 1\n", ("prepare2: unknown key",)),
    "a share above 1": (INPUTS + "  max_rejected: 2\n", ("prepare.max_rejected", "from 0 to 1")),
    "nothing left for train": (INPUTS + "  splitting: {dev: 0.5, test: 0.5}\n", ("prepare.splitting", "dev + test")),
    "a cosine above 1": (INPUTS + "filter: {tau_pos: 1.5}\n", ("filter.tau_pos", "-1 to 1")),
    "two ways to give a bound": (INPUTS + "filter: {tau_pos: {value: 0.1, quantile: 0.1}}\n", ("filter.tau_pos", "exactly one")),
    "bounds that cross": (INPUTS + "filter: {tau_accept: 0.1, tau_reject: 0.5}\n", ("filter", "tau_reject")),
    "a template without texts": (INPUTS + "distill: {prompt: {template: x}}\n", ("distill.prompt", "{a}")),
    "weights that are all 0": (INPUTS + "distill: {weights: {ce: 0, mcl: 0, dist: 0}}\n", ("distill.weights", "above 0")),
    "a loss that is none": (INPUTS + "teach: {loss: HingeLoss}\n", ("teach.loss", "HingeLoss", "CoSENTLoss")),
    "a seed beyond its range": (INPUTS + "seed: 99999999999\n", ("seed", "99999999999")),
    "a negative batch": (INPUTS + "teach: {batch_size: -1}\n", ("teach.batch_size", "-1")),
    "half a character": (INPUTS + 'store: "\\ud800"\n', ("half a character", "ud800")),
    "three answers": (INPUTS + "distill: {prompt: {answers: [a, b, c]}}\n", ("distill.prompt.answers",)),
    "answers as yes and no": (INPUTS + "distill: {prompt: {answers: [no, yes]}}\n", ("distill.prompt.answers", "quotes")),
    "a split that is none": (INPUTS + "      split: valid\n", ("prepare.inputs.0.split", "train")),
    "a promotion of a bad name": (INPUTS + "promote: {name: ../up}\n", ("promote.name", "../up")),
}  # fmt: skip
TOML: dict[str, tuple[str | bytes, tuple[str, ...]]] = {
    "no value": ("seed =\n", ("not valid TOML", "line 1")),
    "a key twice": ("seed = 1\nseed = 2\n", ("not valid TOML",)),
    "YAML": (INPUTS, ("not valid TOML",)),
    "nested far too deeply": ("a = " + "[" * 20_000, ("not valid TOML",)),
    "a date that is none": ("seed = 2020-13-45\n", ("not valid TOML",)),
    "not a number": ("seed = nan\n[prepare]\ninputs = [{kind = 'pairs', path = 'rows.csv'}]\n", ("seed", "NaN")),
    "UTF-16": ("seed = 1\n".encode("utf-16"), ("UTF-8",)),
    "a date as text": ("store = 2020-01-01\n[prepare]\ninputs = [{kind = 'pairs', path = 'rows.csv'}]\n", ("store", "2020-01-01")),
}  # fmt: skip


def _folder(folder: Path) -> Path:
    (folder / "flipkd.yaml").mkdir()
    return folder / "flipkd.yaml"


def _pipe(folder: Path) -> Path:
    os.mkfifo(folder / "flipkd.yaml")
    return folder / "flipkd.yaml"


def _link(target: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / "flipkd.yaml").symlink_to(target)
        return folder / "flipkd.yaml"

    return make


def _sparse(folder: Path) -> Path:
    """A gigabyte of nothing."""
    with (folder / "flipkd.yaml").open("wb") as file:
        file.truncate(2**30)
    return folder / "flipkd.yaml"


def _two_splits(folder: Path) -> Path:
    return _file("flipkd.yaml", INPUTS + "      split: dev\n      split_column: label\n")(folder)


PLACES: dict[str, tuple[Callable[[Path], Any], tuple[str, ...]]] = {
    "a split and a column of splits": (_two_splits, ("prepare.inputs.0", "not both")),
    "nothing there": (lambda folder: folder / "none.yaml", ("no such config", "none.yaml", "flipkd init")),
    "a folder": (_folder, ("flipkd.yaml", "a folder")),
    "the folder with the config": (lambda folder: folder, ("is a folder",)),
    "a pipe": (_pipe, ("flipkd.yaml", "pipe")),
    "a device without end": (_link("/dev/zero"), ("flipkd.yaml", "device")),
    "a broken link": (_link("gone.yaml"), ("no such config", "flipkd.yaml")),
    "a link to itself": (_link("flipkd.yaml"), ("flipkd.yaml",)),
    "a gigabyte": (_sparse, ("flipkd.yaml", "1073.7 MB")),
    "another ending": (lambda folder: put(folder, "flipkd.json", "{}"), ("flipkd.json", ".yaml")),
    "no ending": (lambda folder: put(folder, "flipkd", "{}"), ("flipkd", ".yaml")),
    "a path of 5,000 characters": (lambda folder: folder / ("x" * 5000 + ".yaml"), ("too long",)),
    "a NUL in the path": (lambda folder: folder / "a\0.yaml", ("null",)),
    "the home of nobody": (lambda _: Path("~nobody-of-that-name/flipkd.yaml"), ("~nobody-of-that-name",)),
}  # fmt: skip
