"""What of a store is needed, and by whom: configs, students in use, runs. The other side of `garbage`.

Needed artifacts are closed under lineage: what an export came from is needed with it.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from data.errors import FlipkdError
from models.loading.convert import kept_name
from pipeline.runner.plan import ALL_STAGES, Step
from pipeline.runner.runs import Run, runs
from pipeline.store.manifest import Manifest
from pipeline.store.store import KEY_LENGTH, Store

Artifact = tuple[str, str]  # stage, key
Reason = Literal["config", "promoted", "running", "recent"]
DAY = 86_400.0
CLOCK_SLACK = 120.0  # clocks of two machines on one store
_KEY = re.compile(rf"[0-9a-f]{{{KEY_LENGTH}}}")


@dataclass
class Needs:
    """What must stay.

    Attributes:
        artifacts: to the first reason found, the strongest first.
        planned: artifacts, there or not, that a run or config is going to use: their checkpoints stay.
        identities: of models and files behind all of them (`sha256:...`, `hub:...`).
    """

    artifacts: dict[Artifact, Reason] = field(default_factory=dict)
    planned: set[Artifact] = field(default_factory=set)
    identities: set[str] = field(default_factory=set)

    @property
    def models(self) -> set[str]:
        """Names of the converted models (see `models.loading.convert`) among the identities."""
        return {kept_name(identity) for identity in self.identities}

    def model(self, name: str) -> bool:
        """Whether a converted model is needed; one of some first layers is as long as the whole one is."""
        return name.partition("-")[0] in self.models


@dataclass(frozen=True)
class Scan:
    """The artifacts of a store at one time; `manifests` lacks those whose manifest cannot be read."""

    artifacts: list[Artifact]
    manifests: dict[Artifact, Manifest]

    def inputs(self, artifact: Artifact) -> list[Artifact]:
        """The artifacts that one was made from."""
        manifest = self.manifests.get(artifact)
        return artifact_inputs(artifact[0], manifest.inputs) if manifest else []

    def dependents(self) -> dict[Artifact, set[Artifact]]:
        """For each artifact those that were made from it."""
        found: dict[Artifact, set[Artifact]] = {}
        for artifact in self.artifacts:
            for source in self.inputs(artifact):
                found.setdefault(source, set()).add(artifact)
        return found


def is_artifact(stage: str, key: str) -> bool:
    """Whether this can be an artifact's name: nothing else in a store's folders is flipkd's to remove."""
    return stage in ALL_STAGES and _KEY.fullmatch(key) is not None


def artifact_inputs(stage: str, inputs: Mapping[str, str]) -> list[Artifact]:
    """Those of a manifest's inputs that are artifacts."""
    return [(name, inputs[name]) for name in ALL_STAGES[stage].reads if name in inputs]


def scan(store: Store) -> Scan:
    """Read every manifest; digests are not looked at."""
    artifacts = [artifact for artifact in store.artifacts() if is_artifact(*artifact)]
    manifests = {}
    for artifact in artifacts:
        try:
            manifests[artifact] = store.manifest(*artifact)
        except FlipkdError:
            continue
    return Scan(artifacts, manifests)


def urgent_needs(store: Store, found: Scan, ended_runs: Container[str]) -> Needs:
    """What must stay now: what students in use, and runs in progress or begun since a look at the store, need.

    Args:
        ended_runs: ids of the runs that had ended at that look.

    Raises:
        FlipkdError: it cannot be known, because a record or manifest that says it cannot be read.
    """
    needs = Needs()
    for run in runs(store, without=ended_runs):
        need_run(needs, run, "running")
    need_promoted(needs, store, found)
    close(needs, found)
    return needs


def need_steps(needs: Needs, steps: Sequence[Step]) -> None:
    """A config's whole plan."""
    for step in steps:
        _need(needs, step.stage, step.key, step.inputs, "config")


def need_run(needs: Needs, run: Run, reason: Reason) -> None:
    """What a run planned.

    Raises:
        FlipkdError: it is in progress and its record cannot be read.
    """
    if run.record is None:
        if run.state == "running":
            raise FlipkdError(
                f"{run.problem}; this run is in progress, so wait for its end before removing anything"
            )
        return
    for stage, step in run.record.steps.items():
        if is_artifact(stage, step.key):
            _need(needs, stage, step.key, step.inputs, reason)


def need_promoted(needs: Needs, store: Store, found: Scan) -> None:
    """The students in use, and those that a rollback would return to.

    Raises:
        FlipkdError: it cannot be known which, or what they came from.
    """
    from pipeline.promotion.link import promoted_keys

    for name, keys in promoted_keys(store).items():
        for key in keys:
            artifact = ("export", key)
            needs.artifacts.setdefault(artifact, "promoted")
            if artifact in found.artifacts and artifact not in found.manifests:
                raise FlipkdError(
                    f"{store.path(*artifact)} is promoted ({name}), but its manifest cannot be read, so what it "
                    "came from is not known. `flipkd verify` says more; run its config again, or promote another"
                )


def close(needs: Needs, found: Scan) -> None:
    """Add what the needed artifacts came from, under the same reason."""
    todo = list(needs.artifacts.items())
    while todo:
        artifact, reason = todo.pop()
        manifest = found.manifests.get(artifact)
        if manifest is None:
            continue
        needs.identities.update(manifest.inputs.values())
        for source in found.inputs(artifact):
            if source not in needs.artifacts:
                needs.artifacts[source] = reason
                todo.append((source, reason))


def _need(needs: Needs, stage: str, key: str, inputs: Mapping[str, str], reason: Reason) -> None:
    needs.artifacts.setdefault((stage, key), reason)
    needs.planned.add((stage, key))
    needs.identities.update(inputs.values())


# --------------------------------------------------------------------------------------------------- time


def trusted(times: Iterable[float | None], now: float) -> float:
    """When something was last used: the latest of some times that does not lie in the future.

    A clock that went wrong leaves times in the future, which say nothing. If there are no others the answer is
    now: nothing is removed for a wrong clock's sake.
    """
    return max((time for time in times if time is not None and time <= now + CLOCK_SLACK), default=now)


def timestamp(text: str | None) -> float | None:
    """Seconds since 1970 of a manifest's or record's time; None if it is none."""
    try:
        return datetime.fromisoformat(text).timestamp() if text else None
    except (ValueError, OverflowError, OSError):
        return None


def used_at(run: Run, now: float) -> float:
    """When a run last used its artifacts."""
    record = run.record
    times = [timestamp(record.started), timestamp(record.ended)] if record else []
    return trusted([*times, run.modified], now)
