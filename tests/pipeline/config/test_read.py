"""What a config file may be; the bad ones are in `tests/bad_input/configs.py`."""

from __future__ import annotations

from pathlib import Path

import pytest

from data.errors import FlipkdError
from pipeline.config.read import MOST_BYTES, parse_yaml, read_config


def test_yaml_and_toml_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("\ufeffseed: 3\nteach:\n  epochs: 1.5\n", encoding="utf-8")
    (tmp_path / "a.toml").write_text("seed = 3\n[teach]\nepochs = 1.5\n", encoding="utf-8")
    assert (
        read_config(tmp_path / "a.yaml")
        == read_config(tmp_path / "a.toml")
        == {"seed": 3, "teach": {"epochs": 1.5}}
    )


def test_aliases_may_be_used_as_long_as_they_stay_small() -> None:
    assert parse_yaml("a: &x [1, 2]\nb: *x\n", "it") == {"a": [1, 2], "b": [1, 2]}
    bomb = "a0: &a0 [1]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30))
    with pytest.raises(FlipkdError, match=r"it: not valid YAML: with its aliases .* more than 100,000 values"):
        parse_yaml(bomb, "it")


def test_the_largest_config(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("#" * (MOST_BYTES - 9) + "\nseed: 1\n")
    assert read_config(path) == {"seed": 1}
    path.write_text("#" * MOST_BYTES + "\nseed: 1\n")
    with pytest.raises(FlipkdError, match="at most 256 kB"):
        read_config(path)


def test_no_python_is_run(tmp_path: Path) -> None:
    target = tmp_path / "made"
    with pytest.raises(FlipkdError, match="line 1, column 4"):
        parse_yaml(
            f"a: !!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ['{target}']]", "it"
        )
    assert not target.exists()


def test_a_folder_is_told_the_file_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FlipkdError, match=r"^\. is a folder; name a config file, such as flipkd\.yaml$"):
        read_config(Path())
    (tmp_path / "configs").mkdir()
    with pytest.raises(FlipkdError, match=r"such as configs/flipkd\.yaml$"):
        read_config(Path("configs"))
