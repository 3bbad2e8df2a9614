"""The moments at which a run is killed: before, after or in the middle of a call, in a given stage.

Test code alone knows them: product functions are wrapped from outside, in a process that is about to die.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipeline.contract.stage_names import StageName


@dataclass(frozen=True)
class Moment:
    """A point in a stage.

    Attributes:
        name: in words, for tables.
        target: the function to wrap, `module:attribute` or `module:Class.method`.
        where: a pattern that the call's arguments must match.
        when: `before` or `after` the call; `within`: the call is made, then the newest file that matches
            `halved` (below the store) loses its second half, as if the process had died while writing it.
        call: the how-many-th such call in the stage.
        published: the artifact is in its place by then, so a run that finds it there still comes by.
    """

    stage: StageName
    name: str
    target: str
    when: Literal["before", "after", "within"] = "before"
    where: str = ""
    halved: str = ""
    call: int = 1
    published: bool = False


def generic(stage: StageName) -> list[Moment]:
    """Moments that every stage has: they are the store's and Prefect's."""
    folder, writing = f"artifacts/{stage}", rf"artifacts/{stage}/\.\w+\.writing"
    hidden = f"{folder}/.*.writing"
    record = "prefect.results:ResultStore._persist_result_record"
    return [
        Moment(stage, "data files there, no manifest", "pipeline.runner.execute:describe_files"),
        Moment(stage, "inside the manifest", "pathlib:Path.write_text", "within", "manifest.json",
               f"{hidden}/manifest.json"),
        Moment(stage, "manifest there, not flushed", "pipeline.store.store:flush", where=writing),
        Moment(stage, "between flush and rename", "os:replace", where=writing),
        Moment(stage, "after the rename", "os:replace", "after", where=writing),
        Moment(stage, "before the scratch folder is swept", "shutil:rmtree", where=f"work/{stage}",
               published=True),
        Moment(stage, "before Prefect's record", record, published=True),
        Moment(stage, "inside Prefect's record", record, "within", "", f"{folder}/*/prefect-result.json",
               published=True),
        Moment(stage, "after Prefect's record", record, "after", published=True),
    ]  # fmt: skip


TABLE, BATCH = "pyarrow.parquet:ParquetWriter.write_table", "pyarrow.parquet:ParquetWriter.write_batch"
TRAINER = "transformers.trainer:Trainer"
CHECKPOINT = r"checkpoint\.(safetensors\.)?writing"
SPECIFIC: dict[StageName, list[Moment]] = {
    "prepare": [
        Moment("prepare", "Parquet file without its footer", TABLE, "after"),
        Moment("prepare", "between two Parquet files", TABLE, call=2),
    ],
    "teach": [
        Moment("teach", "optimiser step 4", "torch.optim:AdamW.step", call=4),
        Moment("teach", "checkpoint: weights alone", f"{TRAINER}._save_optimizer_and_scheduler"),
        Moment("teach", "checkpoint: no random state", f"{TRAINER}._save_rng_state", call=2),
        Moment("teach", "checkpoint: inside its state", "transformers.trainer_callback:TrainerState.save_to_json",
               "within", "", "work/teach/*/checkpoints/checkpoint-*/trainer_state.json", call=2),
        Moment("teach", "checkpoint: old ones not removed", "transformers.trainer:rotate_checkpoints", call=2),
        Moment("teach", "teacher saved, no metrics", "pipeline.stages.teach.run:save", "after"),
    ],
    "score": [
        Moment("score", "inside a shard", "numpy:save", "within", "", "work/score/*/shards/*.writing", call=2),
        Moment("score", "before a shard's rename", "os:replace", where=r"shard-.*\.writing", call=3),
        Moment("score", "after a shard's rename", "os:replace", "after", r"shard-.*\.writing", call=2),
        Moment("score", "inside a part of the text cache", BATCH, "after"),
        Moment("score", "before the cache part's rename", "os:replace", where=r"part\.writing"),
        Moment("score", "after the cache part's rename", "os:replace", "after", r"part\.writing"),
        Moment("score", "Parquet file without its footer", BATCH, "after", call=2),
        Moment("score", "embeddings there, no scores", "pipeline.stages.score.run:write_scores"),
    ],
    "filter": [
        Moment("filter", "Parquet file without its footer", TABLE, "after"),
        Moment("filter", "before the first row group", TABLE),
    ],
    "distill": [
        Moment("distill", "activations kept, not renamed", "os:replace", where=r"activations/\.\w+\.writing"),
        Moment("distill", "optimiser step 4", "pipeline.stages.distill.loop:_update", call=4),
        Moment("distill", "inside a checkpoint", "models.student.checkpoint:save_file", "within", "",
               "work/distill/*/*writing", call=2),
        Moment("distill", "before a checkpoint's rename", "os:replace", where=CHECKPOINT, call=2),
        Moment("distill", "after a checkpoint's rename", "os:replace", "after", where=CHECKPOINT, call=3),
        Moment("distill", "adapter there, no log", "pipeline.stages.distill.job:write_table"),
        Moment("distill", "log without its footer", TABLE, "after"),
    ],
    "export": [
        Moment("export", "student half assembled", "shutil:copytree", "after", call=2),
        Moment("export", "student there, no decision", "pipeline.stages.export.run:set_decision"),
        Moment("export", "clean process starting", "subprocess:Popen.__init__", "after"),
        Moment("export", "predictions without a footer", TABLE, "after"),
        Moment("export", "metrics there, no report", "pipeline.stages.export.run:write_report"),
    ],
}  # fmt: skip
MOMENTS: dict[StageName, list[Moment]] = {stage: own + generic(stage) for stage, own in SPECIFIC.items()}


def arm(moment: Moment, signal: int, store: Path, stage_now: Callable[[], str]) -> None:
    """Wrap the moment's target in this process: when the moment comes, the process gets the signal.

    Args:
        stage_now: the stage that the run is in.
    """
    module, _, path = moment.target.partition(":")
    *owners, name = path.split(".")
    owner: Any = importlib.import_module(module)
    for part in owners:
        owner = getattr(owner, part)
    real, calls = getattr(owner, name), 0

    def wrapped(*args: Any, **settings: Any) -> Any:
        nonlocal calls
        texts = [str(arg) for arg in args if isinstance(arg, str | Path)]
        here = stage_now() == moment.stage and re.search(moment.where, " ".join(texts))
        calls += bool(here)
        if not here or calls != moment.call:
            return real(*args, **settings)
        if moment.when == "before":
            die(signal)
        result = real(*args, **settings)
        if moment.when == "within":
            halve(max(store.glob(moment.halved), key=lambda file: file.stat().st_mtime_ns))
        if moment.when != "before":
            die(signal)
        return result

    setattr(owner, name, wrapped)


# What Python tells an audit hook before it does it, and what changes files.
CHANGES = {
    "os.rename",
    "os.mkdir",
    "os.remove",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "shutil.rmtree",
}


def count_changes(
    store: Path, stage_now: Callable[[], str], at: tuple[str, int] | None, signal: int
) -> Counter[str]:
    """Count by stage what changes files of the store: opening one to write, renames, removals.

    Args:
        at: stage and number of a change before which this process gets the signal.
    """
    found: Counter[str] = Counter()
    root, writes = str(store), os.O_WRONLY | os.O_RDWR | os.O_CREAT

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if not (event in CHANGES or (event == "open" and isinstance(args[2], int) and args[2] & writes)):
            return
        if isinstance(args[0], str | Path) and str(args[0]).startswith(root):
            found[stage_now()] += 1
            if at == (stage_now(), found[stage_now()]):
                die(signal)

    sys.addaudithook(hook)
    return found


def halve(file: Path) -> None:
    """Take away the second half of a file."""
    os.truncate(file, file.stat().st_size // 2)


def die(signal: int) -> None:
    """Send this process a signal."""
    os.kill(os.getpid(), signal)
