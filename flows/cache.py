"""When Prefect may take a stage from the store: the artifact is there, and every file in it has its digest.

Prefect's record of a result lies inside the artifact it stands for, so removing the artifact removes the cache
entry, and a copied store keeps its cache.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import Any

from prefect.cache_policies import CachePolicy
from prefect.context import TaskRunContext

from pipeline.runner.plan import Step
from pipeline.store.store import PREFECT_RECORD, Store

log = logging.getLogger("flipkd.run")


@dataclass
class ArtifactPolicy(CachePolicy):
    """Cache key `<stage>/<key>/prefect-result.json` of a task with the parameters `step` and `store`."""

    def compute_key(
        self,
        task_ctx: TaskRunContext,
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],
        **kwargs: Any,
    ) -> str | None:
        """The key under the artifact store; a record whose artifact is damaged is removed first.

        What is wrong with the artifact is logged by `pipeline.runner.execute`, which then runs the stage again.
        """
        step, store = inputs["step"], inputs["store"]
        try:
            drop_stale_record(step, store)
        except Exception:  # Prefect would only log it, and run the task without a cache
            log.exception("%s: the artifact %s could not be verified", step.stage, step.key)
            return None
        return f"{step.stage}/{step.key}/{PREFECT_RECORD}"


def drop_stale_record(step: Step, store: Store) -> None:
    """Remove Prefect's record of an artifact that is damaged, or a record that cannot be read."""
    record = store.path(step.stage, step.key) / PREFECT_RECORD
    if not record.exists():
        return
    if store.problems(step.stage, step.key) != [] or not _readable(record.read_bytes()):
        record.unlink(missing_ok=True)


def _readable(record: bytes) -> bool:
    try:
        json.loads(record)
    except ValueError:
        return False
    return True
