"""Nothing that is read can run code by being unpickled: not in a run, not on resume, not in a model's folder."""

from __future__ import annotations

import ast
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from data.errors import FlipkdError
from data.shards import read_shard
from models.loading.names import find_model
from models.loading.weights import PICKLES
from models.student.student import load_base
from models.teacher.bi_encoder import load_teacher, pair_scores
from models.teacher.training_sets import LabelledPairs, training_sets
from models.teacher.tuning import last_checkpoint, tune
from tests.safety import audit
from tests.safety.conftest import Watched
from tests.teacher_half import word_pairs
from tests.tiny import tiny_student, tiny_teacher

READERS = {"pickle.load", "pickle.loads", "torch.load", "joblib.load", "dill.load", "dill.loads", "eval", "exec"}


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.folder),)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_teacher(tmp_path_factory.mktemp("pickles") / "teacher")


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_student(tmp_path_factory.mktemp("pickles") / "student")


def test_the_trap_works(tmp_path: Path) -> None:
    torch.save(Trap(tmp_path / "sprung"), tmp_path / "trap.bin")
    torch.load(tmp_path / "trap.bin", weights_only=False)
    assert (tmp_path / "sprung").is_dir()


def test_a_whole_run_unpickles_nothing(watched: Watched) -> None:
    assert audit.events(watched.folder / "watch", "start"), "the run was watched"
    assert audit.events(watched.folder / "watch", "pickle.find_class") == set()


def test_the_store_holds_no_pickle(watched: Watched) -> None:
    files = [path for path in (watched.folder / "store").rglob("*") if path.is_file()]
    assert not {path.suffix for path in files} & PICKLES
    kept = {path.suffix for path in files if "artifacts" in path.parts}
    assert kept <= {".parquet", ".json", ".jsonl", ".safetensors", ".svg", ".html", ".md", ".py", ".txt"}


def test_our_code_has_no_reader_of_pickles() -> None:
    for package in ("pipeline", "flows", "models", "data"):
        for path in (audit.ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if not isinstance(node, ast.Call):
                    continue
                called = ast.unparse(node.func)
                assert called not in {
                    "pickle.load",
                    "pickle.loads",
                    "torch.load",
                    "joblib.load",
                    "eval",
                    "exec",
                }, path
                if called == "np.load":
                    assert "allow_pickle=False" in ast.unparse(node), path


SETTINGS: dict[str, Any] = {
    "learning_rate": 1e-3,
    "warmup_ratio": 0.0,
    "weight_decay": 0.0,
    "evaluations": 3,
    "seed": 1,
}
ROWS = word_pairs(24, 1)
PAIRS = LabelledPairs(
    [row["text_a"] for row in ROWS], [row["text_b"] for row in ROWS], [row["label"] for row in ROWS], [None] * 24
)
SETS = training_sets(PAIRS, None, loss="CoSENTLoss", batch_size=8, epochs=1, seed=1)


@pytest.fixture(scope="module")
def stopped(teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoints of a tuning that was stopped after its first one."""
    folder = tmp_path_factory.mktemp("stopped") / "checkpoints"

    def stop(*_: Any) -> None:
        if last_checkpoint(folder):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(load_teacher(teacher), SETS, PAIRS, advance=stop, folder=folder, **SETTINGS)
    return folder


@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth"])
def test_a_checkpoint_of_the_teacher_cannot_run_code_on_resume(
    teacher: Path, stopped: Path, tmp_path: Path, name: str
) -> None:
    """The trainer of transformers keeps its state by torch.save; it reads tensors and numbers alone."""
    folder = tmp_path / "checkpoints"
    shutil.copytree(stopped, folder)
    found = last_checkpoint(folder)
    assert found is not None
    assert (found[0] / name).is_file()
    torch.save({"state": Trap(tmp_path / "sprung")}, found[0] / name)
    with pytest.raises(FlipkdError, match="nothing in them was run"):
        tune(load_teacher(teacher), SETS, PAIRS, advance=lambda *_: None, folder=folder, **SETTINGS)
    assert not (tmp_path / "sprung").exists()


def test_a_shard_with_objects_is_not_read(tmp_path: Path) -> None:
    import numpy as np

    np.save(tmp_path / "shard.npy", np.array([Trap(tmp_path / "sprung")], dtype=object), allow_pickle=True)
    assert read_shard(tmp_path / "shard.npy", (1, 1)) is None
    assert not (tmp_path / "sprung").exists()


def test_pickles_beside_the_safetensors_of_a_teacher_stay_unread(teacher: Path, tmp_path: Path) -> None:
    """Even where the model's own settings ask for the pickle, and for no care in reading it."""
    folder = tmp_path / "teacher"
    shutil.copytree(teacher, folder)
    for name in ("pytorch_model.bin", "optimizer.pt", "training_args.bin"):
        torch.save(Trap(tmp_path / "sprung"), folder / name)
    settings = json.loads((folder / "sentence_bert_config.json").read_text("utf-8"))
    settings["model_args"] = {"use_safetensors": False, "weights_only": False}
    settings.pop("model_kwargs", None)
    (folder / "sentence_bert_config.json").write_text(json.dumps(settings), "utf-8")
    assert find_model(str(folder)).path == folder
    texts = ["freeze my card"], ["block my card"]
    assert pair_scores(load_teacher(folder), *texts) == pair_scores(load_teacher(teacher), *texts)
    assert not (tmp_path / "sprung").exists()


def test_pickles_beside_the_safetensors_of_a_student_stay_unread(student: Path, tmp_path: Path) -> None:
    folder = tmp_path / "student"
    shutil.copytree(student, folder)
    torch.save(Trap(tmp_path / "sprung"), folder / "pytorch_model.bin")
    assert find_model(str(folder)).path == folder
    lm, _ = load_base(folder)
    weights = load_file(student / "model.safetensors")
    assert all(torch.equal(lm.state_dict()[name], weight) for name, weight in weights.items())
    assert not (tmp_path / "sprung").exists()
