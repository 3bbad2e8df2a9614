"""Names of files and folders, and what is in them."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

import pytest

from data.errors import FlipkdError
from data.locate import digest, named_path, package_path, shortened, user_path


def test_a_package_is_found_without_importing_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "held_model"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('imported')")
    (package / "model.gguf").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert package_path("package:held_model/model.gguf") == package / "model.gguf"
    assert package_path("package:held_model") == package
    assert "held_model" not in sys.modules
    with pytest.raises(FlipkdError, match=r"package:held_model/other: the package `held_model` holds no `other`"):
        package_path("package:held_model/other")


@pytest.mark.parametrize("name", ["no_such_package", "no.such", "..", "", "json "])
def test_no_such_package(name: str) -> None:
    with pytest.raises(FlipkdError, match="is installed here; try: pip install"):
        package_path(f"package:{name}/file")


def test_a_users_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_path("~/model") == tmp_path / "model"
    assert user_path("not/there") == Path("not/there")
    with pytest.raises(FlipkdError, match="'~no-such-user/model' cannot be a path"):
        user_path("~no-such-user/model")
    with pytest.raises(FlipkdError, match="cannot be a path"):
        user_path("a\0b")
    with pytest.raises(FlipkdError, match=r"^x{200}…: File name too long$"):
        user_path("x" * 5000)


def test_only_long_names_are_shortened() -> None:
    assert shortened("x" * 200) == "x" * 200
    assert shortened("x" * 201) == "x" * 200 + "…"


def test_the_digest_of_a_file_is_its_sha256(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(100_000))
    assert digest(path) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_digest_of_a_folder_is_that_of_names_and_contents(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "inner").mkdir(parents=True)
    (folder / "b.txt").write_bytes(b"second")
    (folder / "inner" / "a.txt").write_bytes(b"first")
    parts = [("b.txt", b"second"), ("inner/a.txt", b"first")]
    expected = "".join(f"{name}\0{hashlib.sha256(content).hexdigest()}\0" for name, content in parts)
    before = digest(folder)
    assert before == hashlib.sha256(expected.encode()).hexdigest()
    folder.rename(tmp_path / "moved")
    folder = tmp_path / "moved"
    assert digest(folder) == before


def test_hidden_files_are_no_part_of_a_digest_and_names_are(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    before = digest(tmp_path)
    for name in (".git/config", ".hidden", "__pycache__/a.pyc"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert digest(tmp_path) == before
    (tmp_path / "a").rename(tmp_path / "b")
    assert digest(tmp_path) != before


def test_a_name_is_a_path_or_leads_into_a_package(tmp_path: Path) -> None:
    assert named_path(str(tmp_path)) == tmp_path
    assert named_path("package:data/sample/faq.csv") == package_path("package:data/sample/faq.csv")
