"""A thin flow for each stage: what stands before it is taken from the store, the stage itself runs again."""

from __future__ import annotations

from prefect import Flow, flow

from flows.flip import Reference, run_pipeline
from flows.parameters import Changes, ConfigFile, changes_of, load_changed
from flows.summary import HOOKS
from pipeline.config.config import Config
from pipeline.contract.stage_names import StageName
from pipeline.stages.registry import STAGES

# Prefect's form takes the parameters' descriptions from here.
DOC = """{title}. The stages before it come from the store.

    Args:
        config: YAML or TOML file on the worker's machine, with its whole path; or `demo`.
        changes: Other settings of `{stage}` for this run. What is left out is as in the file.
        rerun: Run `{stage}` even if its result for these settings is in the store.
    """


def _stage_flow(stage: StageName) -> Flow[..., dict[str, Reference]]:
    form = changes_of(Config.model_fields[stage].annotation)  # type: ignore[arg-type]
    unchanged = form()

    def run(config: str, changes: Changes = unchanged, rerun: bool = True) -> dict[str, Reference]:
        whole = changes_of(Config).model_validate({stage: changes})
        return run_pipeline(load_changed(config, whole), stage, [stage] if rerun else [])

    run.__annotations__ |= {"config": ConfigFile, "changes": form}
    run.__doc__ = DOC.format(title=STAGES[stage].title.capitalize(), stage=stage)
    run.__name__ = run.__qualname__ = stage
    return flow(name=stage, persist_result=False, **HOOKS)(run)


prepare = _stage_flow("prepare")
teach = _stage_flow("teach")
score = _stage_flow("score")
filter = _stage_flow("filter")
distill = _stage_flow("distill")
export = _stage_flow("export")
