"""The objective by config word: which terms take part, what they are given, how they are weighed."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.nn import functional

from models.objectives.alignment import alignment_loss
from models.objectives.answer import answer_loss
from models.objectives.arccse import arccse_loss
from models.objectives.cosent import cosent_loss
from models.objectives.infonce import infonce_loss
from models.objectives.kdmcse import kdmcse_loss
from models.objectives.margin import margin_loss
from models.objectives.mse import mse_loss
from models.objectives.screen import screen, unscreened
from pipeline.config.config import DistillConfig
from pipeline.stages.distill.objective import BALANCE_STEPS, pair_terms, shares, weights
from pipeline.stages.distill.pair_data import PairData
from pipeline.stages.distill.schedule import steps

BASELINES = ["infonce", "arccse", "kdmcse", "cosent", "mse"]
BOUNDS = (0.3, 0.6)
ROWS = np.array([4, 0, 7, 2, 9, 5])


def configured(**settings: Any) -> DistillConfig:
    return DistillConfig.model_validate(settings)


def unit(seed: int, n: int) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(n, 4)).astype(np.float32) + 0.4
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def data() -> PairData:
    """Ten pairs of twelve texts; texts stand in several pairs."""
    random = np.random.default_rng(0)
    first = random.integers(0, 12, 10)
    second = (first + random.integers(1, 12, 10)) % 12
    targets = np.array([1, 0, 1, 1, 0, 1, 0, 0, 1, 0])
    return PairData(first, second, targets, [[1, 2]] * 12, unit(1, 12), unit(2, 10)[:, 0].clip(0, 1))


@pytest.fixture(scope="module")
def output() -> tuple[Tensor, Tensor]:
    """What the student gives for six pairs in both orders: z and the answer's logits."""
    return torch.from_numpy(unit(3, 12)), torch.from_numpy(np.random.default_rng(4).normal(size=(12, 2)))


def terms(output: tuple[Tensor, Tensor], data: PairData, **settings: Any) -> dict[str, Tensor]:
    return pair_terms(*output, data, ROWS, configured(**settings), BOUNDS)


def expected_contrastive(name: str, z: Tensor, data: PairData, settings: dict[str, Any]) -> Tensor:
    """Each term called with what the config says it gets."""
    s, t = z[:6] @ z[6:].T, data.teacher(ROWS)
    y, same = torch.from_numpy(data.targets[ROWS]), data.same(ROWS)
    tau, m_pos, m_neg = settings["temperature"], settings["positive"], settings["negative"]
    screened, negatives = screen(t, BOUNDS[1], same), unscreened(same)
    return {
        "margin": lambda: margin_loss(
            s, t, y, screened, tau_pos=0.3, tau_neg=0.6, m_pos=m_pos, m_neg=m_neg, temperature=tau
        ),
        "infonce": lambda: infonce_loss(s, y, negatives, temperature=tau),
        "arccse": lambda: arccse_loss(s, y, negatives, margin=m_pos, temperature=tau),
        "kdmcse": lambda: kdmcse_loss(s, t, y, screened, margin=m_neg, temperature=tau),
        "cosent": lambda: cosent_loss(s, y, scale=1 / tau),
        "mse": lambda: mse_loss(s, t),
    }[name]()


@pytest.mark.parametrize("name", ["margin", *BASELINES])
def test_flip_takes_any_contrastive_term_and_keeps_the_others(
    name: str, output: tuple[Tensor, Tensor], data: PairData
):
    margins = {"positive": 0.3, "negative": 0.1, "temperature": 0.2}
    found = terms(output, data, contrastive=name, margins=margins)
    assert found.keys() == {"ce", "mcl", "dist"}
    assert found["mcl"].item() == pytest.approx(expected_contrastive(name, output[0], data, margins).item())
    plain = terms(output, data)
    assert found["ce"].item() == plain["ce"].item()
    assert found["dist"].item() == plain["dist"].item()


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_is_the_answer_and_its_own_term(name: str, output: tuple[Tensor, Tensor], data: PairData):
    settings: dict[str, Any] = {"weights": {"ce": 0.7, "mcl": 2.0, "dist": 3.0}, "soft_targets": 0.5}
    found = terms(output, data, objective=name, **settings)
    assert weights(configured(objective=name, **settings)) == {"ce": 0.7, "mcl": 2.0}
    assert found.keys() == {"ce", "mcl"}
    assert found["mcl"].item() == terms(output, data, contrastive=name)["mcl"].item()
    # The labels alone: soft targets are flip's.
    assert found["ce"].item() == answer_loss(output[1].float(), torch.from_numpy(data.targets[ROWS])).item()


@pytest.mark.parametrize("name", ["sft", *BASELINES])
def test_baselines_see_no_texts_alone(name: str, data: PairData):
    assert steps(data, configured(objective=name, batch_texts=4))[0] == 0
    assert steps(data, configured(objective="flip", batch_texts=4))[0] > 0


def test_sft_is_the_answer_alone(output: tuple[Tensor, Tensor], data: PairData):
    assert weights(configured(objective="sft", weights={"ce": 0.2})) == {"ce": 1.0}
    found = terms(output, data, objective="sft", soft_targets=0.5)
    expected = answer_loss(output[1].float(), torch.from_numpy(data.targets[ROWS]))
    assert {name: value.item() for name, value in found.items()} == {"ce": expected.item()}


def test_asked_in_one_order_the_second_half_answers_nothing(output: tuple[Tensor, Tensor], data: PairData):
    once = terms(output, data, objective="sft", prompt={"orders": "one"})["ce"]
    expected = torch.nn.functional.cross_entropy(
        output[1][: len(ROWS)].float(), torch.from_numpy(data.targets[ROWS]).long()
    )
    assert once.item() == pytest.approx(expected.item(), abs=1e-6)
    assert once.item() != pytest.approx(terms(output, data, objective="sft")["ce"].item(), abs=1e-3)


def test_a_weight_of_zero_removes_a_term(output: tuple[Tensor, Tensor], data: PairData):
    assert terms(output, data, weights={"mcl": 0, "ce": 0}).keys() == {"dist"}
    assert terms(output, data, weights={"mcl": 0, "dist": 0}).keys() == {"ce"}


def test_soft_targets_mix_the_teachers_probability_into_the_answer(output: tuple[Tensor, Tensor], data: PairData):
    found = terms(output, data, soft_targets=0.4)["ce"].item()
    assert data.probabilities is not None
    q = torch.from_numpy(0.6 * data.targets[ROWS] + 0.4 * data.probabilities[ROWS]).repeat(2)
    logits = output[1]
    expected = functional.binary_cross_entropy_with_logits(logits[:, 1] - logits[:, 0], q.double())
    assert found == pytest.approx(expected.item(), rel=1e-5)
    with pytest.raises(ValueError, match="teacher's probabilities"):
        terms(output, replace(data, probabilities=None), soft_targets=0.4)


def test_l_dist_and_margin_use_the_teachers_screen(output: tuple[Tensor, Tensor], data: PairData):
    z, t = output[0], data.teacher(ROWS)
    expected = alignment_loss(z[:6] @ z[6:].T, t, screen(t, 0.6, data.same(ROWS)), temperature=0.3)
    assert terms(output, data, dist_temperature=0.3)["dist"].item() == pytest.approx(expected.item())


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_without_its_term_is_refused(name: str):
    with pytest.raises(ValidationError, match=f"{name} is weighed by weights.mcl, which must be above 0"):
        configured(objective=name, weights={"mcl": 0})


def test_balance_divides_each_term_by_its_mean_over_the_last_steps_of_its_kind():
    config = configured(balance="scale", weights={"ce": 1.0, "mcl": 0.5, "dist": 2.0})
    now = {"ce": torch.tensor(0.6), "mcl": torch.tensor(8.0), "dist": torch.tensor(1.0)}
    random = np.random.default_rng(0)
    texts = [{"ce": None, "mcl": None, "dist": 90.0}] * 5
    pairs = [dict(zip(now, random.random(3).tolist(), strict=True)) for _ in range(80)]
    # The first step of pairs has itself alone to go by; the texts' L_dist is another number.
    assert shares(config, now, texts) == pytest.approx({"ce": 1 / 0.6, "mcl": 0.5 / 8, "dist": 2 / 1})
    found = shares(config, now, [*texts, *pairs])
    for name, weight in config.weights.model_dump().items():
        window = [row[name] for row in pairs[-(BALANCE_STEPS - 1) :]] + [now[name].item()]
        assert found[name] == pytest.approx(weight / np.mean(window))
    # What a checkpoint keeps of the log gives the very same shares.
    assert shares(config, now, json.loads(json.dumps([*texts, *pairs]))) == found


def test_balance_leaves_a_lone_term_and_a_vanishing_one_in_peace():
    config = configured(balance="scale", weights={"ce": 1.0, "mcl": 0.5, "dist": 2.0})
    assert shares(config, {"dist": torch.tensor(7.0)}, []) == {"dist": 2.0}
    nothing = shares(config, {"ce": torch.tensor(0.5), "mcl": torch.tensor(0.0)}, [])
    assert nothing == {"ce": 2.0, "mcl": 500.0}


def test_without_balance_the_shares_are_the_weights():
    config = configured(weights={"ce": 1.0, "mcl": 0.5, "dist": 2.0})
    now = {"ce": torch.tensor(0.6), "dist": torch.tensor(1.0)}
    assert shares(config, now, [{"ce": 3.0, "mcl": 1.0, "dist": 2.0}]) == {"ce": 1.0, "dist": 2.0}


def test_balanced_terms_have_gradients_of_the_terms_alone():
    """The scale is a number, not a part of the graph."""
    config = configured(balance="scale", weights={"ce": 1.0, "mcl": 1.0})
    x = torch.tensor(3.0, requires_grad=True)
    now = {"ce": x * 2, "mcl": x * 10}
    share = shares(config, now, [])
    torch.stack([value * share[name] for name, value in now.items()]).sum().backward()
    assert x.grad is not None
    assert x.grad.item() == pytest.approx(2 / 6 + 10 / 30)
