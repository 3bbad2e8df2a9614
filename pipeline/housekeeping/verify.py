"""`flipkd verify`: every file of every artifact against its digest, and what else is wrong in a store.

`pipeline.stages.export.clean_process` is something else: whether an exported student gives the reported numbers
in a clean process.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from data.errors import FlipkdError
from pipeline.housekeeping.retention import artifact_inputs, is_artifact
from pipeline.runner.runs import runs
from pipeline.store.disk import files_below
from pipeline.store.manifest import MANIFEST, Manifest
from pipeline.store.store import PREFECT_RECORD, Store, file_problem
from pipeline.terminal.progress import progress

THREADS = 2  # hashing leaves the interpreter free
MEGABYTE = 1_000_000


@dataclass
class Finding:
    """What is wrong with one artifact.

    Attributes:
        damage: what a rerun heals: a file that is missing or differs from its digest, a wrong manifest.
        foreign: files that the manifest does not name: somebody put them there, so they are not removed.
        notes: nothing to worry about.
    """

    stage: str
    key: str
    damage: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Verdict:
    """What was checked, and what was found.

    Attributes:
        findings: artifacts with something to say about.
        others: problems outside of the artifacts: links of students in use, records of runs.
    """

    artifacts: int
    files: int
    bytes: int
    findings: list[Finding]
    others: list[str]

    @property
    def damaged(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.damage]

    @property
    def ok(self) -> bool:
        """Whether all that is in the store can be trusted; notes do not count."""
        return not self.others and not any(finding.damage or finding.foreign for finding in self.findings)


def verify_store(store: Store) -> Verdict:
    """Check every artifact of a store; reads every byte.

    Raises:
        FlipkdError: there is no store.
    """
    if not store.root.is_dir():
        raise FlipkdError(f"there is no store at {store.root}")
    found = {artifact: Finding(*artifact) for artifact in store.artifacts()}
    manifests: dict[tuple[str, str], Manifest] = {}
    for artifact, finding in found.items():
        try:
            if not is_artifact(*artifact):
                raise FlipkdError(f"{store.path(*artifact)} is no artifact's name, <stage>/<key>")
            manifests[artifact] = store.manifest(*artifact)
        except FlipkdError as error:
            finding.damage.append(str(error))
    for artifact, manifest in manifests.items():
        finding = found[artifact]
        finding.foreign += foreign_files(store.path(*artifact), manifest)
        finding.notes += [
            f"came from {stage}/{key}, which is not in the store any more"
            for stage, key in artifact_inputs(manifest.stage, manifest.inputs)
            if (stage, key) not in found
        ]
    jobs = [(artifact, name) for artifact, manifest in manifests.items() for name in manifest.files]
    total = sum(manifests[artifact].files[name].bytes for artifact, name in jobs)
    with progress("verifying", total / MEGABYTE, "MB") as advance, ThreadPoolExecutor(THREADS) as pool:

        def check(job: tuple[tuple[str, str], str]) -> str | None:
            artifact, name = job
            entry = manifests[artifact].files[name]
            return file_problem(store.path(*artifact) / name, name, entry)

        for (artifact, name), problem in zip(jobs, pool.map(check, jobs), strict=True):
            if problem:
                found[artifact].damage.append(problem)
            advance(manifests[artifact].files[name].bytes / MEGABYTE)
    findings = [one for one in found.values() if one.damage or one.foreign or one.notes]
    return Verdict(len(found), len(jobs), total, findings, other_problems(store))


def foreign_files(folder: Path, manifest: Manifest) -> list[str]:
    """Files in an artifact that its manifest does not name; hidden ones do not count, as in digests of folders."""
    known = {*manifest.files, MANIFEST, PREFECT_RECORD}
    inner = (path.relative_to(folder) for path in files_below(folder))
    seen = (path for path in inner if not any(part.startswith((".", "__pycache__")) for part in path.parts))
    return sorted(path.as_posix() for path in seen if path.as_posix() not in known)


def other_problems(store: Store) -> list[str]:
    """Records of runs that cannot be read, and students in use that are not there."""
    from pipeline.promotion.link import in_use, promoted_keys

    found = [run.problem for run in runs(store) if run.problem]
    try:
        for name in promoted_keys(store):
            in_use(store, name)
    except FlipkdError as error:
        found.append(str(error))
    return found


def remove_damaged(store: Store, verdict: Verdict) -> tuple[list[Finding], list[tuple[Finding, str]]]:
    """Remove the damaged artifacts, each while nobody writes it, after a second look.

    Returns:
        What was removed; and what stays, with the reason.

    Raises:
        FlipkdError: the store cannot be written.
    """
    removed: list[Finding] = []
    stays: list[tuple[Finding, str]] = []
    for finding in verdict.damaged:
        if not is_artifact(finding.stage, finding.key):
            stays.append((finding, "not an artifact of flipkd's; move it elsewhere"))
            continue
        if finding.foreign:
            stays.append((finding, f"holds files of somebody else ({', '.join(finding.foreign)})"))
            continue
        with store.lock(finding.stage, finding.key).held() as held:
            busy = {artifact for run in runs(store) if run.state == "running" for artifact in run.planned}
            if not held or (finding.stage, finding.key) in busy:
                stays.append((finding, "in use by a run in progress"))
            elif store.problems(finding.stage, finding.key):
                store.discard(finding.stage, finding.key)
                removed.append(finding)
            else:
                stays.append((finding, "whole again"))
    return removed, stays
