"""The six stages, what each reads, and the keys of their artifacts.

Keys follow from the config and the content of raw files and models alone, so the keys of a whole run are known
before anything runs.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from data.errors import FlipkdError
from data.locate import PACKAGE, digest, package_path, user_path
from models.loading.names import find_model
from pipeline.config.config import Config, PrepareConfig, TeachConfig, UtterancesFile
from pipeline.contract.section import IN_KEY_IF_SET, NOT_IN_KEY
from pipeline.store.store import artifact_key


@dataclass(frozen=True)
class Context:
    """What a stage may use besides its config and inputs.

    Attributes:
        seed: of everything random.
        final: where the artifact will lie when it is complete.
        work: scratch folder that survives a crash (checkpoints), removed once the artifact is complete.
        models: folder of converted models, shared by all runs.
        base_model: the student's base as the config names it now. Keys go by content, so since `distill` ran it
            may have moved.
        embeddings: folder of vectors from earlier runs; None keeps and reuses none.
    """

    seed: int
    final: Path
    work: Path
    models: Path
    base_model: str = ""
    embeddings: Path | None = None


# A stage: (its config, its inputs' folders by stage name, the folder to fill, the context) -> summary.
StageFunction = Callable[[Any, Mapping[str, Path], Path, Context], dict[str, Any]]


@dataclass(frozen=True)
class Stage:
    """A stage's place in the pipeline.

    Attributes:
        version: goes up when the same input would give another output.
        reads: the stages whose artifacts it reads.
        seeded: whether anything in it is random.
        section: of the config, if it is not called like the stage.
    """

    name: str
    version: int
    reads: tuple[str, ...]
    title: str
    seeded: bool = True
    section: str = ""

    @property
    def function(self) -> StageFunction:
        """`run` of the stage's module, imported only now: most of them take torch."""
        return importlib.import_module(f"pipeline.stages.{self.name}.run").run


STAGES: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        Stage("prepare", 2, (), "read and check the pairs"),
        Stage("teach", 1, ("prepare",), "tune the teacher"),
        Stage("score", 2, ("prepare", "teach"), "score every pair with the teacher", seeded=False),
        Stage("filter", 1, ("score",), "keep the pairs the teacher vouches for", seeded=False),
        Stage("distill", 2, ("filter", "score"), "train the student"),
        Stage("export", 1, ("prepare", "teach", "score", "filter", "distill"), "measure and export the student"),
    )
}
# Beside the main line. Comparisons measure many students without exporting them; the others look at one closer.
SIDE_STAGES: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        Stage("measure", 2, ("score", "filter", "distill"), "measure the student", section="export"),
        Stage("retrieve", 1, ("prepare", "teach", "distill", "measure"), "rank FAQ entries with the student"),
        # All that it needs of the section stands in the key already, as distill's.
        Stage("attribution", 2, ("score", "distill"), "look for the signal, site by site", False, "distill"),
    )
}
ALL_STAGES = STAGES | SIDE_STAGES


@dataclass(frozen=True)
class Step:
    """One stage of one run.

    Attributes:
        stage: the stage's name.
        key: of its artifact.
        seed: of everything random in it; 0 if nothing is.
        config: its part of the config, as it entered the key.
        inputs: keys of the artifacts, and identities of the files and models, that it reads.
    """

    stage: str
    key: str
    seed: int
    config: dict[str, Any] = field(hash=False)
    inputs: dict[str, str] = field(hash=False)

    @property
    def artifacts(self) -> dict[str, str]:
        """Those of the inputs that are artifacts: stage name to key."""
        return {name: self.inputs[name] for name in ALL_STAGES[self.stage].reads}


def plan(config: Config, until: str | None = None, *, download: bool = True) -> list[Step]:
    """The steps of a run, in order, with their keys; nothing is computed but digests.

    Args:
        download: fetch a hub model that is not on this machine; without it its key cannot be known.

    Raises:
        FlipkdError: a raw file or model is not there, or `until` names no stage.
    """
    if until is not None and until not in STAGES:
        raise FlipkdError(f"no stage is called {until!r}; the stages are {', '.join(STAGES)}")
    steps: dict[str, Step] = {}
    for stage in STAGES.values():
        section = getattr(config, stage.name)
        inputs = {name: steps[name].key for name in stage.reads} | _raw_inputs(stage.name, section, download)
        keyed = key_config(section)
        seed = _seed(stage, config)
        key = artifact_key(stage.name, stage.version, keyed, seed, inputs)
        steps[stage.name] = Step(stage.name, key, seed, keyed, inputs)
        if stage.name == until:
            break
    return list(steps.values())


def measure_step(config: Config, steps: list[Step]) -> Step:
    """The step that measures the student of a plan which reaches `distill`."""
    return side_step("measure", config, steps)


def side_step(name: str, config: Config, steps: list[Step]) -> Step:
    """A step beside the main line, from a plan that holds all that it reads."""
    stage = SIDE_STAGES[name]
    keys = {step.stage: step.key for step in steps}
    inputs = {name: keys[name] for name in stage.reads}
    keyed = key_config(getattr(config, stage.section or name))
    seed = _seed(stage, config)
    return Step(name, artifact_key(name, stage.version, keyed, seed, inputs), seed, keyed, inputs)


def _seed(stage: Stage, config: Config) -> int:
    if stage.name == "distill" and config.distill.seed is not None:
        return config.distill.seed
    return config.seed if stage.seeded else 0


def _raw_inputs(stage: str, section: Any, download: bool) -> dict[str, str]:
    """Identities of what a stage reads from outside the store: raw files and models, by content."""
    if stage == "prepare":
        paths = [input_path(file.path, f"prepare.inputs.{n}") for n, file in enumerate(section.inputs)]
        # The name enters too: it stands in the column `source`.
        found = {f"file {n}": f"{path.name} sha256:{_digest(path, n)}" for n, path in enumerate(paths)}
        if _builds_pairs(section):
            found["encoder"] = _identity("prepare.pairs.encoder", section.pairs.encoder, download)
        return found
    if stage == "score" and section.cross_encoder is not None:
        named = section.cross_encoder.model
        return {"cross_encoder": _identity("score.cross_encoder.model", named, download)}
    if stage in {"teach", "distill"}:
        found = {"model": _identity(f"{stage}.model", section.model, download)}
        for n, other in enumerate(section.others if isinstance(section, TeachConfig) else ()):
            found[f"other {n}"] = _identity(f"teach.others.{n}.model", other.model, download)
        return found
    return {}


def _digest(path: Path, number: int) -> str:
    try:
        return digest(path)
    except OSError as error:
        reason = error.strerror or error
        raise FlipkdError(
            f"prepare.inputs.{number}: {path} cannot be read: {reason}. Mend its rights or its disk"
        ) from None


def _identity(key: str, name: str, download: bool) -> str:
    try:
        return find_model(name, download=download).identity
    except FlipkdError as error:
        raise FlipkdError(f"{key}: {error}") from None
    except OSError as error:
        where = error.filename or name
        raise FlipkdError(
            f"{key}: {where} cannot be read: {error.strerror or error}. Mend its rights or its disk"
        ) from None


def _builds_pairs(section: PrepareConfig) -> bool:
    return any(isinstance(file, UtterancesFile) for file in section.inputs)


def input_path(name: str, key: str = "prepare.inputs") -> Path:
    """The file that a path of the config stands for.

    Args:
        key: of the config, for messages.

    Raises:
        FlipkdError: it is not there, or is a folder.
    """
    try:
        path = package_path(name) if name.startswith(PACKAGE) else user_path(name)
    except FlipkdError as error:
        raise FlipkdError(f"{key}: {error}") from None
    if path.is_dir():
        raise FlipkdError(f"{key}: {name} is a folder; name the files in it one by one")
    if path.exists() and not path.is_file():
        raise FlipkdError(
            f"{key}: {name} is a pipe or device; write its content to a file, it is read several times"
        )
    if path.is_symlink() and not path.exists():
        raise FlipkdError(f"{key}: {path} is a link to {path.readlink()}, which is not there")
    if not path.is_file():
        raise FlipkdError(f"{key}: no such file: {path}")
    return path


# A name is replaced by the identity of what it names: a moved file is still the same file. The seed stands apart.
_NAMES = frozenset({"path", "model", "encoder", "seed"})


def key_config(section: BaseModel) -> dict[str, Any]:
    """A section as it enters the key: without what cannot change the result, and without names."""
    kept: dict[str, Any] = {}
    for name, info in type(section).model_fields.items():
        extra = info.json_schema_extra
        marks = extra if isinstance(extra, dict) else {}
        value = getattr(section, name)
        if name in _NAMES or NOT_IN_KEY in marks or (IN_KEY_IF_SET in marks and value == info.get_default()):
            continue
        kept[name] = _plain(value)
    if isinstance(section, PrepareConfig) and not _builds_pairs(section):
        kept.pop("pairs")
    return kept


@functools.singledispatch
def _plain(value: Any) -> Any:
    return value


@_plain.register
def _(value: BaseModel) -> Any:
    return key_config(value)


@_plain.register(list)
@_plain.register(tuple)
def _(value: Any) -> Any:
    return [_plain(item) for item in value]
