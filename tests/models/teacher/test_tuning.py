from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sklearn.metrics import roc_auc_score

from data.errors import FlipkdError
from models.teacher.bi_encoder import load_teacher, pair_scores
from models.teacher.training_sets import LabelledPairs, step_count, training_sets
from models.teacher.tuning import Tuned, last_checkpoint, tune
from models.teacher.tuning_texts import LabelledTexts
from tests.teacher_half import word_pairs
from tests.tiny import WORDS, tiny_teacher

SETTINGS: dict[str, Any] = {
    "loss": "CoSENTLoss",
    "epochs": 2,
    "batch_size": 8,
    "learning_rate": 1e-3,
    "warmup_ratio": 0.1,
    "weight_decay": 0.01,
    "evaluations": 4,
    "seed": 5,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_teacher(tmp_path_factory.mktemp("tuning") / "model")


def _pairs(count: int, seed: int) -> LabelledPairs:
    rows = word_pairs(count, seed)
    return LabelledPairs(
        [row["text_a"] for row in rows],
        [row["text_b"] for row in rows],
        [row["label"] for row in rows],
        [f"group {n % 20}" for n in range(count)],
    )


TRAIN, DEV = _pairs(84, 1), _pairs(60, 2)


def _tune(
    folder: Path,
    work: Path,
    advance: Any = lambda *_: None,
    *,
    train: LabelledPairs = TRAIN,
    texts: LabelledTexts | None = None,
    dev: LabelledPairs = DEV,
    **settings: Any,
) -> Tuned:
    asked = SETTINGS | settings
    learnt_from = {name: asked.pop(name) for name in ("loss", "epochs", "batch_size")}
    sets = training_sets(train, texts, seed=asked["seed"], **learnt_from)
    return tune(load_teacher(folder), sets, dev, folder=work / "checkpoints", advance=advance, **asked)


def _killed(folder: Path, work: Path, at: int, **settings: Any) -> None:
    """Begin a tuning that ends at a step, as by Ctrl-C."""
    steps = 0

    def kill(*_: Any) -> None:
        nonlocal steps
        steps += 1
        if steps == at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _tune(folder, work, kill, **settings)


def _weights(tuned: Tuned) -> dict[str, torch.Tensor]:
    return load_file(tuned.folder / "model.safetensors")


def test_the_best_checkpoint_has_the_auroc_that_was_measured(folder: Path, tmp_path: Path) -> None:
    torch.set_float32_matmul_precision("high")
    done: list[float] = []
    tuned = _tune(folder, tmp_path, lambda steps, note: done.append(steps))
    assert torch.get_float32_matmul_precision() == "high"
    torch.set_float32_matmul_precision("highest")
    assert step_count(84, 8, 2) == 22 == sum(done)
    assert [entry["step"] for entry in tuned.evaluations] == [6, 11, 16, 22]
    best = max(tuned.evaluations, key=lambda entry: entry["auroc"])
    assert tuned.step == best["step"]
    scores = pair_scores(load_teacher(tuned.folder), DEV.text_a, DEV.text_b)
    assert roc_auc_score(DEV.label, scores) == pytest.approx(best["auroc"], abs=1e-9)


def test_tuning_is_deterministic_and_goes_by_the_seed(folder: Path, tmp_path: Path) -> None:
    first, second, other = (
        _tune(folder, tmp_path / str(n), epochs=0.5, evaluations=1, seed=seed) for n, seed in enumerate((5, 5, 6))
    )
    assert all(torch.equal(weight, _weights(second)[name]) for name, weight in _weights(first).items())
    assert not all(torch.equal(weight, _weights(other)[name]) for name, weight in _weights(first).items())


@pytest.mark.parametrize("killed_at", [8, 13])  # in the first epoch's tail, in the middle of the second
def test_a_killed_run_goes_on_and_ends_like_one_that_was_not(folder: Path, tmp_path: Path, killed_at: int) -> None:
    _killed(folder, tmp_path / "killed", killed_at)
    found = last_checkpoint(tmp_path / "killed" / "checkpoints")
    assert found is not None
    done: list[float] = []
    resumed = _tune(folder, tmp_path / "killed", lambda *_: done.append(1))
    whole = _tune(folder, tmp_path / "whole")
    assert resumed.resumed_from == found[1] in {6, 11}
    assert len(done) == 22 - found[1]
    assert resumed.evaluations == whole.evaluations
    assert resumed.step == whole.step
    assert all(torch.equal(weight, _weights(resumed)[name]) for name, weight in _weights(whole).items())


def test_checkpoints_by_the_clock_change_nothing(folder: Path, tmp_path: Path) -> None:
    often = _tune(folder, tmp_path / "often", checkpoint_minutes=1e-9)
    rarely = _tune(folder, tmp_path / "rarely")
    assert (often.step, often.evaluations) == (rarely.step, rarely.evaluations)
    assert all(torch.equal(weight, _weights(rarely)[name]) for name, weight in _weights(often).items())


@pytest.mark.parametrize("killed_at", [4, 17])
def test_a_run_goes_on_from_a_checkpoint_between_evaluations(folder: Path, tmp_path: Path, killed_at: int) -> None:
    _killed(folder, tmp_path / "killed", killed_at, checkpoint_minutes=1e-9)
    resumed = _tune(folder, tmp_path / "killed")
    whole = _tune(folder, tmp_path / "whole")
    assert resumed.resumed_from == killed_at - 1
    assert (resumed.step, resumed.evaluations) == (whole.step, whole.evaluations)
    assert all(torch.equal(weight, _weights(resumed)[name]) for name, weight in _weights(whole).items())


def test_a_damaged_checkpoint_is_passed_over(folder: Path, tmp_path: Path) -> None:
    """The trainer flushes nothing: after a power cut the newest files may be short."""
    whole = _tune(folder, tmp_path / "run")
    checkpoints = tmp_path / "run" / "checkpoints"
    found = last_checkpoint(checkpoints)
    assert found is not None
    for file in ("model.safetensors", "optimizer.pt", "rng_state.pth"):
        content = (found[0] / file).read_bytes()
        (found[0] / file).write_bytes(content[: len(content) // 2])
        older = last_checkpoint(checkpoints)
        assert older is None or older[1] < found[1]
        (found[0] / file).write_bytes(content)
    assert last_checkpoint(checkpoints) == found
    (found[0] / "optimizer.pt").write_bytes(b"")
    assert _tune(folder, tmp_path / "run").evaluations[-1] == whole.evaluations[-1]


def test_a_run_killed_after_its_last_step_is_not_repeated(folder: Path, tmp_path: Path) -> None:
    first = _tune(folder, tmp_path / "here")
    (tmp_path / "here").rename(tmp_path / "moved")
    done: list[float] = []
    second = _tune(folder, tmp_path / "moved", lambda *_: done.append(1))
    assert not done
    assert second.resumed_from == 22
    assert (second.step, second.evaluations) == (first.step, first.evaluations)
    assert second.folder.is_dir()


def test_a_checkpoint_that_was_cut_off_is_passed_over(tmp_path: Path) -> None:
    for step, state in ((4, {"global_step": 4}), (10, {"global_step": 10}), (12, None), (14, "")):
        checkpoint = tmp_path / f"checkpoint-{step}"
        checkpoint.mkdir()
        if state is not None:
            (checkpoint / "trainer_state.json").write_text(json.dumps(state) if state else "{")
    assert last_checkpoint(tmp_path) == (tmp_path / "checkpoint-10", 10)
    shutil.rmtree(tmp_path / "checkpoint-4")
    shutil.rmtree(tmp_path / "checkpoint-10")
    assert last_checkpoint(tmp_path) is None


@pytest.mark.parametrize(
    "loss",
    [
        "AnglELoss",
        "CosineSimilarityLoss",
        "ContrastiveLoss",
        "OnlineContrastiveLoss",
        "MultipleNegativesRankingLoss",
        "MultipleNegativesSymmetricRankingLoss",
    ],
)
def test_every_loss_learns(folder: Path, tmp_path: Path, loss: str) -> None:
    before = roc_auc_score(TRAIN.label, pair_scores(load_teacher(folder), TRAIN.text_a, TRAIN.text_b))
    tuned = _tune(folder, tmp_path, dev=TRAIN, loss=loss, epochs=4, evaluations=1)
    assert tuned.evaluations[-1]["auroc"] > before + 0.005


def test_positives_only_losses_take_positives_alone(folder: Path, tmp_path: Path) -> None:
    tuned = _tune(folder, tmp_path, loss="MultipleNegativesRankingLoss", evaluations=1, epochs=1)
    assert sum(TRAIN.label) == 42
    assert tuned.evaluations[-1]["step"] == step_count(42, 8, 1) == 6


TEXTS = LabelledTexts(
    [f"{name} {row['text_a']}" for n, row in enumerate(word_pairs(60, 3)) for name in [WORDS.split()[n % 6]]],
    [f"id {n % 6}" for n in range(60)],
)


def test_texts_with_ids_are_learnt_from(folder: Path, tmp_path: Path) -> None:
    first, second = TEXTS.text[:30], [*TEXTS.text[36:60], *TEXTS.text[31:36], TEXTS.text[30]]
    same = [int(TEXTS.id[a] == TEXTS.id[36 + a if a < 24 else (31 + a - 24 if a < 29 else 30)]) for a in range(30)]
    dev = LabelledPairs(first, second, same, [None] * 30)
    before = roc_auc_score(dev.label, pair_scores(load_teacher(folder), dev.text_a, dev.text_b))
    nothing = LabelledPairs([], [], [], [])
    tuned = _tune(folder, tmp_path, train=nothing, texts=TEXTS, dev=dev, epochs=6, evaluations=1)
    assert tuned.evaluations[-1]["auroc"] > before + 0.1


@pytest.mark.parametrize("killed_at", [4, 9])
def test_texts_beside_pairs_go_on_after_a_kill_as_if_there_were_none(
    folder: Path, tmp_path: Path, killed_at: int
) -> None:
    _killed(folder, tmp_path / "killed", killed_at, texts=TEXTS, epochs=1, checkpoint_minutes=1e-9)
    resumed = _tune(folder, tmp_path / "killed", texts=TEXTS, epochs=1)
    whole = _tune(folder, tmp_path / "whole", texts=TEXTS, epochs=1)
    assert resumed.resumed_from == killed_at - 1
    assert whole.evaluations[-1]["step"] == 11 + 5  # batches of pairs, of texts
    assert (resumed.step, resumed.evaluations) == (whole.step, whole.evaluations)
    assert all(torch.equal(weight, _weights(resumed)[name]) for name, weight in _weights(whole).items())


def test_patience_ends_what_no_longer_gains_also_after_a_kill(folder: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"learning_rate": 0.1, "evaluations": 11, "epochs": 4}
    whole = _tune(folder, tmp_path / "whole", **settings)
    curve = [entry["auroc"] for entry in whole.evaluations]
    stop = next(n for n in range(1, 12) if n - int(np.argmax(curve[: n + 1])) >= 2)
    assert stop < 10
    steps: list[float] = []
    stopped = _tune(folder, tmp_path / "stopped", lambda *_: steps.append(1), patience=2, **settings)
    assert stopped.evaluations == whole.evaluations[: stop + 1]
    assert len(steps) == stopped.evaluations[-1]["step"]
    assert stopped.step == whole.evaluations[int(np.argmax(curve[: stop + 1]))]["step"]
    again = _tune(folder, tmp_path / "stopped", patience=2, **settings)
    assert (again.step, again.evaluations) == (stopped.step, stopped.evaluations)


def test_a_teacher_with_a_prompt_is_tuned_with_it(folder: Path, tmp_path: Path) -> None:
    """As it scores: the same training on texts that begin with the prompt gives the same weights."""
    prompted = load_teacher(folder)
    prompted.prompts.update(match="card ")
    prompted.default_prompt_name = "match"
    prompted.save_pretrained(str(tmp_path / "prompted"))
    written = TRAIN._replace(
        text_a=[f"card {text}" for text in TRAIN.text_a], text_b=[f"card {text}" for text in TRAIN.text_b]
    )
    with_prompt = _tune(tmp_path / "prompted", tmp_path / "a", epochs=1, evaluations=1)
    by_hand = _tune(folder, tmp_path / "b", epochs=1, evaluations=1, train=written)
    plain = _tune(folder, tmp_path / "c", epochs=1, evaluations=1)
    for name, weight in _weights(by_hand).items():
        torch.testing.assert_close(_weights(with_prompt)[name], weight)
    assert not all(torch.equal(weight, _weights(plain)[name]) for name, weight in _weights(by_hand).items())


def test_scores_that_are_not_numbers_stop_the_run(folder: Path, tmp_path: Path) -> None:
    teacher = load_teacher(folder)
    with torch.no_grad():
        next(teacher.parameters()).fill_(np.nan)
    teacher.save_pretrained(str(tmp_path / "model"))
    with pytest.raises(FlipkdError, match="scores that are not numbers"):
        _tune(tmp_path / "model", tmp_path)


def test_nothing_is_printed(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    _tune(folder, tmp_path, evaluations=1, epochs=0.2)
    assert capfd.readouterr().out == ""
    assert not [record for record in caplog.records if not record.name.startswith("flipkd")]
