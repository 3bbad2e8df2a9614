"""The whole config: what it takes at least, and a section for every stage."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from pipeline.config.config import Config, config_type
from pipeline.stages.registry import ALL_STAGES

INPUTS = {"inputs": [{"kind": "pairs", "path": "a.csv"}]}


def test_only_the_input_has_no_default() -> None:
    config = Config.model_validate({"prepare": INPUTS})
    assert config.prepare.inputs[0].path == "a.csv"
    with pytest.raises(ValidationError, match="prepare"):
        Config.model_validate({})


def test_a_student_that_reads_all_texts_gets_their_vectors() -> None:
    inputs = {"inputs": [{"kind": "utterances", "path": "a.csv"}]}
    assert Config.model_validate({"prepare": inputs}).score.texts == "pairs"
    assert Config.model_validate({"prepare": inputs, "distill": {"texts": "train"}}).score.texts == "pairs"
    whole = Config.model_validate({"prepare": inputs, "distill": {"texts": "all"}, "score": {"batch_size": 8}})
    assert (whole.score.texts, whole.score.batch_size) == ("all", 8)


def test_an_order_by_grades_needs_grades() -> None:
    distill = {"margins": {"intra_order": "grade"}}
    with pytest.raises(ValidationError, match=r"intra_order: grade needs an input of `kind: retrieval`"):
        Config.model_validate({"prepare": INPUTS, "distill": distill})
    judged = {"inputs": [{"kind": "retrieval", "path": "a"}]}
    Config.model_validate({"prepare": judged, "distill": distill})


@pytest.mark.parametrize("prompt", [{"orders": "one"}, {"turned": "Text 1: {b}\nText 2: {a}"}])
def test_a_student_with_sides_is_asked_about_the_query_first(prompt: dict[str, str]) -> None:
    pairs = {"kind": "pairs", "path": "a.csv", "catalogue": "text_a"}
    distill = {"prompt": prompt}
    with pytest.raises(ValidationError, match=r"prepare\.inputs\.0 call the queries' column text_a"):
        Config.model_validate({"prepare": {"inputs": [pairs]}, "distill": distill})
    ours = [pairs | {"matches_only": True}], [pairs | {"catalogue": "text_b"}]
    by_id = [pairs, {"kind": "catalogue", "path": "b.csv"}]  # then prepare puts the query first
    for inputs in (*ours, by_id):
        Config.model_validate({"prepare": {"inputs": inputs}, "distill": distill})


def test_every_registered_stage_has_its_section() -> None:
    config = config_type().model_validate({"prepare": INPUTS})
    for stage in ALL_STAGES.values():
        assert isinstance(stage.settings(config), stage.section)


def test_its_own_stages_need_no_other_class() -> None:
    assert config_type() is Config
