"""The stage's work: from its inputs' artifacts to the training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pipeline.contract.stage import Context
from pipeline.stages.distill.run import run
from pipeline.store.store import Store
from tests.pipeline.stages.distill.jobs import adapter, job, training_log
from tests.stores import write_manifest


def ran(folder: Path, base: Path, **changes: Any) -> dict[str, Any]:
    """The summary of the stage on the texts and pairs of `job`, with its bounds and seed."""
    asked = job(folder, base, **changes)
    bounds = dict(zip(("tau_pos", "tau_neg"), ({"bound": bound} for bound in asked.bounds), strict=True))
    write_manifest(folder, "filter", {}, {"bounds": bounds})
    context = Context(asked.seed, folder / "final", asked.work, Store(folder / "store"))
    return run(asked.config, {"filter": folder, "score": folder}, asked.out, context)


def test_it_is_the_training_of_its_inputs(
    undisturbed: tuple[Path, dict[str, Any]], base: Path, tmp_path: Path
) -> None:
    summary = ran(tmp_path, base)
    assert summary["best_step"] == undisturbed[1]["best_step"]
    assert training_log(tmp_path).equals(training_log(undisturbed[0]))
    for name, tensor in adapter(undisturbed[0]).items():
        np.testing.assert_array_equal(adapter(tmp_path)[name], tensor)
    assert list((tmp_path / "store/text_passes").glob("*/checkpoint.safetensors"))


def test_it_goes_on_in_the_precision_that_it_began_in(base: Path, tmp_path: Path) -> None:
    """What `auto` came to before a crash is kept, whatever this machine would choose."""
    short: dict[str, Any] = {"precision": "auto", "epochs": 0.2, "text_epochs": 0, "warm_up": {"epochs": 0}}
    for name in ("fp32", "bf16"):
        (tmp_path / name / "work").mkdir(parents=True)
        (tmp_path / name / "work/matrix_precision").write_text(name, "utf-8")
        assert ran(tmp_path / name, base, **short)["matrix_precision"] == name


def test_the_models_first_layers_alone(base: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"first_layers": 1, "epochs": 0.2, "text_epochs": 0, "warm_up": {"epochs": 0}}
    assert ran(tmp_path, base, **settings)["sites"] == 1
    assert not any("layers.1." in name for name in adapter(tmp_path))
