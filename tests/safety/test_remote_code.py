"""A model's own code does not run unless the config says so for that model; the manifest then says it too."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from data.errors import FlipkdError
from models.student.folder import MODULES
from pipeline.config.config import Config
from pipeline.config.location import store_of
from pipeline.runner.check import checked_plan
from pipeline.runner.execute import execute
from pipeline.runner.plan import plan
from pipeline.stages.export.predict import predict
from pipeline.stages.prepare.built_pairs import encode
from tests.safety.conftest import Watched
from tests.tiny import tiny_config

MARK = "from pathlib import Path\nPath({mark!r}).touch()\n"
CODE = MARK + (
    "from transformers import {config}, {model}\n"
    "class Config({config}): model_type = 'own-{model}'.lower()\n"
    "class Model({model}): config_class = Config\n"
)
LLAMA = ("LlamaConfig", "LlamaForCausalLM", "AutoModelForCausalLM")
POOLING_CODE = MARK + (
    "from sentence_transformers.sentence_transformer.modules import Pooling as Given\nclass Own(Given): pass\n"
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Models' code is copied to a cache before it runs; not to the user's."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """A file that is there once a model's code has run."""
    return tmp_path / "ran"


def give_code(folder: Path, mark: Path, config_class: str, model_class: str, auto_class: str) -> None:
    """Make a model folder one that brings its own classes, as models on the hub do."""
    code = CODE.format(mark=str(mark), config=config_class, model=model_class)
    (folder / "own_code.py").write_text(code, encoding="utf-8")
    config = json.loads((folder / "config.json").read_text("utf-8"))
    config |= {
        "model_type": f"own-{model_class.lower()}",
        "auto_map": {"AutoConfig": "own_code.Config", auto_class: "own_code.Model"},
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")


def give_module(folder: Path, mark: Path) -> None:
    """Make the pooling of a sentence-transformers folder a class of the folder's own."""
    (folder / "own_pooling.py").write_text(POOLING_CODE.format(mark=str(mark)), encoding="utf-8")
    modules = json.loads((folder / "modules.json").read_text("utf-8"))
    modules[1]["type"] = "own_pooling.Own"
    (folder / "modules.json").write_text(json.dumps(modules), encoding="utf-8")


def run_until(config: Config, stage: str) -> dict[str, object]:
    """Run the stages in this process; the config in the last one's manifest."""
    store = store_of(config)
    steps = plan(config, stage)
    for step in steps:
        execute(step, config, store)
    return store.manifest(stage, steps[-1].key).config


@pytest.mark.parametrize("kind", ["class", "module"])
def test_a_teacher_s_code(tmp_path: Path, mark: Path, kind: str) -> None:
    config = tiny_config(tmp_path, teach={"tune": False, "trust_remote_code": False})
    if kind == "class":
        give_code(tmp_path / "teacher", mark, "BertConfig", "BertModel", "AutoModel")
    else:
        give_module(tmp_path / "teacher", mark)
    with pytest.raises(FlipkdError, match=r"brings code of its own.* set teach\.trust_remote_code: true"):
        run_until(config, "teach")
    encoder = config.prepare.pairs.model_copy(update={"encoder": str(tmp_path / "teacher")})
    with pytest.raises(FlipkdError, match=r"set prepare\.pairs\.trust_remote_code: true"):
        encode(encoder, ["a text"])
    assert not mark.exists()

    trusted = tiny_config(tmp_path, teach={"tune": False, "trust_remote_code": True})
    assert run_until(trusted, "score") is not None
    assert mark.exists()
    found = {step.stage: step for step in plan(trusted, "score")}
    manifest = store_of(trusted).manifest("teach", found["teach"].key)
    assert manifest.config["trust_remote_code"] is True
    assert found["teach"].key != {step.stage: step for step in plan(config, "score")}["teach"].key


def test_a_student_s_code(watched: Watched, tmp_path: Path, mark: Path) -> None:
    for name in ("store", "student"):
        shutil.copytree(watched.folder / name, tmp_path / name)
    give_code(tmp_path / "student", mark, *LLAMA)
    settings = yaml.safe_load((watched.folder / "config.yaml").read_text("utf-8"))
    settings |= {"store": str(tmp_path / "store")}
    settings["distill"] |= {"model": str(tmp_path / "student"), "trust_remote_code": False}
    config = Config.model_validate(settings)
    with pytest.raises(FlipkdError, match=r"brings code of its own.* set distill\.trust_remote_code: true"):
        checked_plan(config)
    assert not mark.exists()
    settings["distill"]["trust_remote_code"] = True
    trusted = Config.model_validate(settings)
    checked_plan(trusted)
    assert mark.exists()
    assert run_until(trusted, "distill")["trust_remote_code"] is True


@pytest.fixture
def saved(watched: Watched, tmp_path: Path) -> Path:
    """A student that somebody sent us, and pairs to score."""
    shutil.copytree(watched.artifact("export") / "student", tmp_path / "sent")
    (tmp_path / "asked.csv").write_text("text_a,text_b\nfreeze my card,block my card\n", encoding="utf-8")
    return tmp_path / "sent"


def test_predict_reads_no_code_of_the_student_s_folder(saved: Path, tmp_path: Path, mark: Path) -> None:
    (saved / "flipkd_student.py").write_text(MARK.format(mark=str(mark)), encoding="utf-8")
    (saved / "modules.json").write_text(json.dumps([MODULES[0] | {"type": "flipkd_student.Trap"}]), "utf-8")
    assert predict(saved, tmp_path / "asked.csv", tmp_path / "out.parquet")["pairs"] == 1
    assert not mark.exists()


def test_a_student_s_folder_cannot_allow_itself_code(saved: Path, tmp_path: Path, mark: Path) -> None:
    settings = json.loads((saved / "student.json").read_text("utf-8")) | {"trust_remote_code": True}
    (saved / "student.json").write_text(json.dumps(settings), encoding="utf-8")
    give_code(saved / "base", mark, *LLAMA)
    with pytest.raises(FlipkdError, match=r"brings code of its own.*--trust-remote-code"):
        predict(saved, tmp_path / "asked.csv", tmp_path / "out.parquet")
    assert not mark.exists()
    assert not (tmp_path / "out.parquet").exists()
    predict(saved, tmp_path / "asked.csv", tmp_path / "out.parquet", trust_remote_code=True)
    assert mark.exists()


def test_a_student_whose_base_is_pickled_is_refused(saved: Path, tmp_path: Path) -> None:
    (saved / "base/model.safetensors").rename(saved / "base/pytorch_model.bin")
    with pytest.raises(FlipkdError, match="only pickled weights"):
        predict(saved, tmp_path / "asked.csv", tmp_path / "out.parquet")
