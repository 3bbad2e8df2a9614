"""The section: what it refuses, and what of it enters the key."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.contract.keys import key_config
from pipeline.stages.prepare.config import PrepareConfig
from pipeline.stages.prepare.input_kinds import PairsFile, UtterancesFile
from tests.pipeline.stages.prepare.test_run import config_of


@pytest.mark.parametrize("wrong", [-0.1, 0, 1.5, True, "much"])
def test_a_label_share_that_is_none(wrong: object) -> None:
    with pytest.raises(ValidationError, match="label_share"):
        PrepareConfig.model_validate({"inputs": [{"kind": "pairs", "path": "x.csv"}], "label_share": wrong})


@pytest.mark.parametrize("wrong", [-0.1, 1, 1.5, True, "much"])
def test_a_share_that_is_none(wrong: object) -> None:
    with pytest.raises(ValidationError, match="label_noise"):
        PrepareConfig.model_validate({"inputs": [{"kind": "pairs", "path": "x.csv"}], "label_noise": wrong})


@pytest.mark.parametrize("file", [PairsFile(path="x.csv"), UtterancesFile(path="x.csv")])
def test_the_key_knows_of_it_only_where_it_is_set(file: Any) -> None:
    assert "label_noise" not in key_config(PrepareConfig(inputs=[file]))
    assert key_config(PrepareConfig(inputs=[file], label_noise=0.1))["label_noise"] == 0.1
    assert "label_share" not in key_config(PrepareConfig(inputs=[file]))
    assert key_config(PrepareConfig(inputs=[file], label_share=0.5))["label_share"] == 0.5


def test_holding_out_takes_a_catalogue() -> None:
    with pytest.raises(ValidationError, match="held_out needs an input of pairs that names its `catalogue`"):
        config_of({"path": "x.csv"}, splitting={"entries": "held_out"})


def test_configs_from_before_keep_their_keys() -> None:
    section = PrepareConfig(inputs=[PairsFile(path="x.csv")])
    assert "catalogue" not in str(key_config(section))
    assert set(key_config(section)["splitting"]) == {"by", "dev", "test"}
    named = section.model_copy(update={"inputs": [PairsFile(path="x.csv", catalogue="text_b")]})
    assert key_config(named) != key_config(section)
