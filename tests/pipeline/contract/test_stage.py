"""What follows from a stage's declaration."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from pipeline.contract.section import Section
from pipeline.contract.stage import Stage


class Settings(Section):
    seed: int | None = None
    model: str = "m"


def stage(**options: Any) -> Stage:
    return Stage("pipeline.stages.filter", 1, (), "", Settings, str, **options)


def test_its_name_and_function_are_its_folders() -> None:
    import pipeline.stages.filter.run

    assert stage().name == "filter"
    assert stage().function is pipeline.stages.filter.run.run


def test_its_section_may_be_another_stages() -> None:
    config = SimpleNamespace(filter=1, export=2)
    assert stage().settings(config) == 1
    assert stage(section_name="export").settings(config) == 2


def test_the_seed_is_its_own_or_the_configs_or_none() -> None:
    own, none = SimpleNamespace(seed=7, filter=Settings(seed=0)), SimpleNamespace(seed=7, filter=Settings())
    assert (stage().seed(own), stage().seed(none)) == (0, 7)
    assert stage(seeded=False).seed(own) == 0


def test_names_are_what_the_config_says_now() -> None:
    config = SimpleNamespace(filter=Settings(model="./moved"))
    assert stage(names=("filter.model",)).named(config) == {"filter.model": "./moved"}
