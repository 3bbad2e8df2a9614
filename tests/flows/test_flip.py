"""The real flow on tiny models: what runs, what is taken from the store, and what the user is told."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple, get_args

import pytest

from data.errors import FlipkdError
from flows.flip import StageName, flip
from pipeline.config.config import Config
from pipeline.config.location import store_of
from pipeline.runner.plan import plan
from pipeline.stages.registry import STAGES
from pipeline.store.store import PREFECT_RECORD
from tests.checkout import ROOT
from tests.tiny import tiny_config

pytestmark = pytest.mark.usefixtures("prefect_server")
ALL = list(STAGES)


class Outcome(NamedTuple):
    """A run of the flow: stages that Prefect found Cached, stages that were computed, and all log lines."""

    cached: list[str]
    computed: list[str]
    log: str


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, flipkd_log: pytest.LogCaptureFixture) -> Any:
    """Run the flow and tell what happened."""
    import pipeline.runner.execute

    really = pipeline.runner.execute._run
    computed: list[str] = []

    def counted(step: Any, *rest: Any) -> None:
        computed.append(step.stage)
        really(step, *rest)

    monkeypatch.setattr(pipeline.runner.execute, "_run", counted)

    def run(config: Config, **parameters: Any) -> Outcome:
        computed.clear()
        flipkd_log.clear()
        flip(config, **parameters)
        cached = [stage for stage in ALL if f"{stage}: cached" in flipkd_log.text]
        return Outcome(cached, list(computed), flipkd_log.text)

    return run


@pytest.fixture
def folder(tiny_run: Path, tmp_path: Path) -> Path:
    """A copy of a folder in which the flow has run. What is copied keeps its cache: keys hold no paths."""
    return shutil.copytree(tiny_run, tmp_path / "copy")


def artifact(config: Config, stage: str) -> Path:
    step = next(step for step in plan(config) if step.stage == stage)
    return store_of(config).path(stage, step.key)


def test_second_run_computes_nothing(folder: Path, run: Any) -> None:
    outcome = run(tiny_config(folder))
    assert outcome.computed == []
    assert outcome.cached == ALL


def test_a_bound_of_the_filter_changes(folder: Path, run: Any) -> None:
    outcome = run(tiny_config(folder, filter={"tau_pos": {"quantile": 0.2}}))
    assert outcome.cached == ["prepare", "teach", "score"]
    assert outcome.computed == ["filter", "distill", "export"]


def test_refresh_of_the_last_stage_alone(folder: Path, run: Any) -> None:
    outcome = run(tiny_config(folder), until="filter", refresh=["filter"])
    assert outcome.cached == ["prepare", "teach", "score"]
    assert outcome.computed == ["filter"]
    # What came out is the same, so nothing behind it has to run.
    after = run(tiny_config(folder))
    assert (after.cached, after.computed) == (ALL, [])


def test_one_changed_row_of_an_input(folder: Path, run: Any) -> None:
    pairs = folder / "pairs.csv"
    text = pairs.read_text(encoding="utf-8")
    pairs.write_text(text.replace(",1\n", " today,1\n", 1), encoding="utf-8")
    outcome = run(tiny_config(folder))
    assert outcome.cached == []
    assert outcome.computed == ALL


@pytest.mark.parametrize("stage", ["prepare", "score", "filter"])
def test_damaged_file(folder: Path, run: Any, stage: str) -> None:
    config = tiny_config(folder)
    victim = sorted(artifact(config, stage).glob("*.parquet"))[0]
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 0xFF
    victim.write_bytes(content)
    outcome = run(config, until="filter")
    assert outcome.computed == [stage]
    assert outcome.cached == [other for other in ALL[:4] if other != stage]
    assert f"{victim.name} differs from its digest" in outcome.log


def test_deleted_file_and_deleted_artifact(folder: Path, run: Any) -> None:
    config = tiny_config(folder)
    victim = artifact(config, "score") / "scores.parquet"
    victim.unlink()
    shutil.rmtree(artifact(config, "filter"))
    outcome = run(config, until="filter")
    assert outcome.computed == ["score", "filter"]
    assert outcome.cached == ["prepare", "teach"]
    assert "scores.parquet is missing" in outcome.log


def test_damaged_record_of_prefect(folder: Path, run: Any) -> None:
    """Prefect's own record is not the artifact: the stage need not be computed again."""
    config = tiny_config(folder)
    (artifact(config, "prepare") / PREFECT_RECORD).write_text("{", encoding="utf-8")
    assert run(config, until="teach").computed == []
    assert run(config, until="teach").cached == ["prepare", "teach"]


def test_configs_that_differ_in_distillation_share_the_teacher(folder: Path, run: Any) -> None:
    config, other = tiny_config(folder), tiny_config(folder, distill={"objective": "sft", "epochs": 2})
    keys, others = ({step.stage: step.key for step in plan(one)} for one in (config, other))
    assert [stage for stage in ALL if keys[stage] == others[stage]] == ["prepare", "teach", "score", "filter"]
    outcome = run(other, until="distill")
    assert outcome.cached == ["prepare", "teach", "score", "filter"]
    assert outcome.computed == ["distill"]


def test_a_stage_that_raises_leaves_nothing_and_is_resumed(
    folder: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pipeline.stages.filter.run

    config = tiny_config(folder, filter={"tau_pos": {"quantile": 0.1}})

    def broken(config: Any, inputs: Any, out: Path, context: Any) -> dict[str, Any]:
        (out / "filtered.parquet").write_text("half of it", encoding="utf-8")
        raise RuntimeError("the disk is on fire")

    with monkeypatch.context() as patch:
        patch.setattr(pipeline.stages.filter.run, "run", broken)
        with pytest.raises(RuntimeError, match="on fire"):
            run(config, until="filter")
    assert not artifact(config, "filter").exists()
    assert not list(artifact(config, "filter").parent.glob(".*"))
    outcome = run(config, until="filter")
    assert outcome.cached == ["prepare", "teach", "score"]
    assert outcome.computed == ["filter"]


def test_a_wrong_config_stops_before_any_work(folder: Path, run: Any) -> None:
    shutil.rmtree(folder / "store")
    config = tiny_config(folder, distill={"sites": {"modules": ["query"]}})
    with pytest.raises(FlipkdError, match=r"distill\.sites\.modules.*query.*q_proj"):
        run(config)
    assert not (folder / "store" / "artifacts").exists()


def test_parameters_survive_json(folder: Path) -> None:
    """A deployment's parameters travel as JSON."""
    config = tiny_config(folder, filter={"tau_pos": 0.25}, distill={"lora": {"modules": ["q_proj"]}})
    again = Config.model_validate(json.loads(config.model_dump_json()))
    assert again == config
    assert [step.key for step in plan(again)] == [step.key for step in plan(config)]
    validated = flip.validate_parameters({"config": json.loads(config.model_dump_json()), "refresh": ["filter"]})
    assert validated["config"] == config


@pytest.mark.parametrize("wrong", [{"refresh": ["fliter"]}, {"until": "end"}])
def test_stage_names_are_validated(folder: Path, wrong: dict[str, Any]) -> None:
    from prefect.exceptions import ParameterTypeError

    with pytest.raises(ParameterTypeError):
        flip.validate_parameters({"config": tiny_config(folder), **wrong})


def test_stage_names_are_the_stages() -> None:
    assert list(get_args(StageName)) == ALL


def test_schema_tells_a_deployment_what_is_allowed() -> None:
    schema = flip.parameters.model_dump()
    assert schema["required"] == ["config"]
    assert schema["definitions"]["FilterConfig"]["additionalProperties"] is False
    assert schema["properties"]["refresh"]["items"]["enum"] == ALL


def test_artifacts_are_published_from_cached_runs_too(folder: Path) -> None:
    from prefect.artifacts import Artifact

    flip(tiny_config(folder))
    found: Any = Artifact.get(key="flipkd-result")
    assert [name for name in ("teacher", "decoder", "encoder", "fused") if f"| {name} | " not in found.data] == []
    assert " s  train keeps " in found.data
    assert "report.html" in found.data


def test_it_is_a_deployment_entrypoint_whose_form_knows_the_ranges() -> None:
    from prefect.flows import load_flow_from_entrypoint
    from prefect.utilities.callables import parameter_schema

    entrypoint = ROOT / "flows" / "flip.py"
    schema = parameter_schema(load_flow_from_entrypoint(f"{entrypoint}:flip")).model_dump()
    assert list(schema["properties"]) == ["config", "until", "refresh"]
    rank = schema["definitions"]["LoraSettings"]["properties"]["rank"]
    assert (rank["minimum"], rank["maximum"]) == (1, 1024)
    assert rank["description"]
