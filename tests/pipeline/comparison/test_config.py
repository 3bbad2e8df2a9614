"""The config of a comparison: what is wrong with it is said before anything is trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from data.errors import FlipkdError
from pipeline.comparison.config import CompareConfig, all_jobs, load_comparison
from pipeline.config.load import load_config
from tests.comparisons import comparison_file


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"variants": {}}, "give a preset or variants"),
        ({"preset": "papers"}, "preset"),
        ({"only": ["flop"]}, "no variant is called flop"),
        ({"seeds": [1, 1]}, "stands there twice"),
        ({"variants": {"flip": {"distill.weihgts": 1}}}, "variant flip: .*weihgts: unknown key"),
        ({"datasets": {"tiny": "gone.yaml"}}, "datasets.tiny.*no such config"),
        ({"datasets": {}}, "datasets"),
        ({"against": "stf"}, "against: no variant here is called stf; .*, sft, .* are"),
        ({"only": ["flip"], "against": "sft"}, "against: no variant here is called sft"),
        ({"variants": {"teacher": {}}}, "variants: teacher is the teacher's own row"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_trained(
    tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    path = comparison_file(tmp_path, **changes)
    with pytest.raises(FlipkdError, match=rf"(?s){said}"):
        everything(load_comparison(path))


def test_a_dataset_may_be_the_demo(tmp_path: Path) -> None:
    path = comparison_file(tmp_path, datasets={"faq": "demo"}, seeds=[1], only=["sft"])
    (job,) = all_jobs(load_comparison(path), None)
    assert job[3].prepare == load_config("demo").prepare
    assert job[3].distill.objective == "sft"


def everything(config: CompareConfig) -> None:
    all_jobs(config, None)
