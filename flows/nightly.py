"""The whole pipeline as a deployment: the config is a file, read when the run starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect import flow

from flows.flip import Reference, run_pipeline
from flows.parameters import ConfigFile, changes_of, load_changed
from flows.summary import HOOKS
from pipeline.config.config import Config
from pipeline.contract.stage_names import StageName

if TYPE_CHECKING:
    from flows.parameters import Changes as Everything
else:  # a class that is made when this is imported, out of the config's sections
    Everything = changes_of(Config)
UNCHANGED = Everything()


@flow(name="nightly", persist_result=False, **HOOKS)
def nightly(
    config: ConfigFile,
    changes: Everything = UNCHANGED,
    until: StageName | None = None,
    refresh: list[StageName] = [],  # noqa: B006
) -> dict[str, Reference]:
    """Run the pipeline: only the stages whose input or settings have changed are computed.

    Args:
        config: YAML or TOML file on the worker's machine, with its whole path; or `demo`.
        changes: Other settings for this run. What is left out is as in the file.
        until: The last stage to run; all by default.
        refresh: Stages to run even if their results are in the store.

    Returns:
        For each stage a reference `{"stage", "key"}` to its artifact.

    Raises:
        FlipkdError: the file, the input, the config or a model is wrong.
    """
    return run_pipeline(load_changed(config, changes), until, refresh)
