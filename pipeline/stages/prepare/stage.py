"""The stage `prepare`: raw files to checked and split pairs."""

from __future__ import annotations

from typing import Any

from pipeline.contract.identity import file_identity, model_identity
from pipeline.contract.keys import key_config
from pipeline.contract.stage import Stage, Summary
from pipeline.stages.prepare.config import PrepareConfig, builds_pairs
from pipeline.stages.prepare.expand import files_of, key_of
from pipeline.stages.prepare.input_kinds import PairsFile, UtterancesFile
from pipeline.stages.prepare.inputs import check_inputs, input_path
from pipeline.stages.prepare.keep import kept_columns
from pipeline.stages.prepare.overrides import read_verdicts
from pipeline.store.store import Store


def _raw_inputs(config: Any, download: bool) -> dict[str, str]:
    section: PrepareConfig = config.prepare
    found = {}
    for n, file in enumerate(files_of(section)):
        key = key_of(file)
        path = input_path(file.path, key)
        # The name enters too: it stands in the column `source`.
        found[f"file {n}"] = f"{path.name} {file_identity(key, path)}"
    if section.overrides is not None:
        path = input_path(section.overrides, "prepare.overrides")
        found["overrides"] = f"{path.name} {file_identity('prepare.overrides', path)}"
    if builds_pairs(section):
        found["encoder"] = model_identity("prepare.pairs.encoder", section.pairs.encoder, download)
    return found


def _keyed(section: PrepareConfig) -> dict[str, Any]:
    kept = key_config(section)
    if not builds_pairs(section):
        kept.pop("pairs")
    return kept


def _check_first(config: Any) -> None:
    check_inputs(config.prepare)
    for file in files_of(config.prepare):
        if isinstance(file, PairsFile | UtterancesFile):
            kept_columns(file)
    read_verdicts(config.prepare.overrides)


def _check(config: Any, store: Store) -> None:
    building = config.prepare.pairs
    if builds_pairs(config.prepare) and building.random_share < 1 and building.negatives_per_positive > 0:
        from models.teacher.check import check_encoder

        check_encoder("prepare.pairs", "encoder", building.encoder, building.trust_remote_code, None)


def _sentence(summary: Summary) -> str:
    splits = ", ".join(f"{split} {counts['pairs']}" for split, counts in summary["splits"].items())
    return f"pairs: {splits}; {summary['rows']['rejected']} of {summary['rows']['read']} rows rejected"


STAGE = Stage(
    package=__package__ or "",
    version=2,
    reads=(),
    title="read and check the pairs",
    section=PrepareConfig,
    sentence=_sentence,
    uses_gpu=False,
    results=(("pairs", "pairs.parquet"), ("rejected rows", "rejects.parquet")),
    raw_inputs=_raw_inputs,
    keyed=_keyed,
    check_first=_check_first,
    check=_check,
)
