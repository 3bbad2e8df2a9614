from __future__ import annotations

import multiprocessing
import shutil
from pathlib import Path

import duckdb
import numpy as np
import pytest

from data.errors import FlipkdError
from pipeline.stages.score import embedding_cache
from pipeline.stages.score.embedding_cache import (
    EmbeddingCache,
    add,
    cache_identities,
    cache_name,
    fill,
    open_cache,
)

TEXTS = [f"text {n} 卡" for n in range(50)]
MATRIX = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)


def _cache(folder: Path) -> EmbeddingCache:
    (folder / "scratch").mkdir(parents=True, exist_ok=True)
    return EmbeddingCache(folder / "embeddings" / "teacher" / "cpu-64")


def _add(folder: Path, rows: list[int]) -> Path:
    part = add(_cache(folder), TEXTS, MATRIX, np.array(rows), folder / "scratch")
    assert part is not None
    assert not list((folder / "scratch").iterdir())
    return part


def _fill(folder: Path, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    matrix = np.full((len(texts), 6), np.nan, dtype=np.float32)
    return fill(_cache(folder), texts, matrix), matrix


def test_what_was_added_is_found_to_the_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding_cache, "BLOCK_ROWS", 7)
    _add(tmp_path, [*range(0, 40, 2)])
    _add(tmp_path, [1, 3, 4])  # 4 stands in both
    asked = ["new", *TEXTS[::-1]]
    found, matrix = _fill(tmp_path, asked)
    known = {TEXTS[row]: row for row in (*range(0, 40, 2), 1, 3)}
    assert found.tolist() == [text in known for text in asked]
    assert np.array_equal(matrix[found], MATRIX[[known[text] for text in asked if text in known]])
    assert np.isnan(matrix[~found]).all()


def test_no_cache_no_text_no_row(tmp_path: Path) -> None:
    assert not _fill(tmp_path, TEXTS)[0].any()
    assert add(_cache(tmp_path), TEXTS, MATRIX, np.array([], dtype=np.int64), tmp_path) is None
    assert not _cache(tmp_path).folder.exists()
    _add(tmp_path, [1])
    assert _fill(tmp_path, [])[0].shape == (0,)


def test_duckdb_reads_a_part(tmp_path: Path) -> None:
    part = _add(tmp_path, [2, 0])
    rows = duckdb.connect().execute("SELECT text, embedding FROM read_parquet($1)", [str(part)]).fetchall()
    assert [text for text, _ in rows] == [TEXTS[2], TEXTS[0]]
    np.testing.assert_array_equal(np.array([vector for _, vector in rows], dtype=np.float32), MATRIX[[2, 0]])


@pytest.mark.parametrize("where", [0.0, 0.2, 0.5, 0.8, 1.0])
def test_one_damaged_byte_costs_the_part_and_no_wrong_vector(
    tmp_path: Path, where: float, flipkd_log: pytest.LogCaptureFixture
) -> None:
    part, other = _add(tmp_path, [0, 1, 2]), _add(tmp_path, [3])
    raw = bytearray(part.read_bytes())
    raw[round(where * (len(raw) - 1))] ^= 1
    part.write_bytes(raw)
    found, matrix = _fill(tmp_path, TEXTS)
    assert np.flatnonzero(found).tolist() == [3]
    assert np.array_equal(matrix[3], MATRIX[3])
    assert "are damaged; removed" in flipkd_log.text
    assert not part.exists()
    assert _add(tmp_path, [0, 1, 2]) == part
    assert other.exists()
    assert np.flatnonzero(_fill(tmp_path, TEXTS)[0]).tolist() == [0, 1, 2, 3]


def test_a_part_cut_short_is_no_part(tmp_path: Path) -> None:
    part = _add(tmp_path, [0, 1, 2])
    for size in (0, 1, 100, part.stat().st_size - 1):
        _add(tmp_path, [0, 1, 2])
        part.write_bytes(part.read_bytes()[:size])
        assert not _fill(tmp_path, TEXTS)[0].any()


def test_what_a_killed_writer_left_is_not_read(tmp_path: Path) -> None:
    part = _add(tmp_path, [0])
    part.rename(part.with_name("part.writing"))
    assert not _fill(tmp_path, TEXTS)[0].any()


def test_a_part_that_goes_away_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _add(tmp_path, [0])
    plain = embedding_cache._is_whole

    def vanish(path: Path) -> bool:
        whole = plain(path)
        path.unlink()
        return whole

    monkeypatch.setattr(embedding_cache, "_is_whole", vanish)
    assert not _fill(tmp_path, TEXTS)[0].any()


def _write_and_read(folder: str, number: int) -> None:
    place = Path(folder) / str(number)
    place.mkdir(exist_ok=True)
    cache = EmbeddingCache(Path(folder) / "embeddings" / "teacher" / "cpu-64")
    for round_ in range(20):
        rows = np.array([2 * round_ + number, 49])  # 49 is written by both
        add(cache, TEXTS, MATRIX, rows, place)
        matrix = np.zeros_like(MATRIX)
        found = fill(cache, TEXTS, matrix)
        mine = [2 * n + number for n in range(round_ + 1)]
        if not found[mine].all() or not np.array_equal(matrix[found], MATRIX[found]):
            raise SystemExit(1)


def test_two_processes_add_and_read_at_once(tmp_path: Path) -> None:
    start = multiprocessing.get_context("spawn")
    both = [start.Process(target=_write_and_read, args=(str(tmp_path), number)) for number in (0, 1)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [0, 0]
    found, matrix = _fill(tmp_path, TEXTS)
    assert np.flatnonzero(found).tolist() == [*range(40), 49]
    assert np.array_equal(matrix[found], MATRIX[found])


def test_the_cache_goes_by_the_teachers_content_and_knows_who_used_it(tmp_path: Path) -> None:
    for name in ("first", "copy"):
        (tmp_path / name / "1_Pooling").mkdir(parents=True)
        (tmp_path / name / "model.safetensors").write_bytes(b"weights")
        (tmp_path / name / "1_Pooling" / "config.json").write_text("{}")
    first, copy = tmp_path / "first", tmp_path / "copy"
    store = tmp_path / "store" / "embeddings"
    assert cache_identities(store) == {}
    one, two = open_cache(store, first, "key1", "cpu-64"), open_cache(store, copy, "key2", "cpu-64")
    assert one == two
    assert one.folder == store / cache_name(first) / "cpu-64"
    assert open_cache(store, first, "key1", "cpu-32").folder != one.folder
    assert cache_identities(store) == {cache_name(first): {"key1", "key2"}}
    for spoil in ("model.safetensors", "1_Pooling/config.json"):
        other = shutil.copytree(first, tmp_path / spoil.replace("/", "-"))
        (other / spoil).write_text("another")
        assert cache_name(other) != cache_name(first)
        open_cache(store, other, "key3", "cpu-64")
    assert len(cache_identities(store)) == 3


def test_a_store_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "embeddings").write_text("a file")
    (tmp_path / "teacher").mkdir()
    with pytest.raises(FlipkdError, match="cannot create the folder"):
        open_cache(tmp_path / "embeddings", tmp_path / "teacher", "key", "cpu-64")


def test_a_cache_that_is_removed_meanwhile_costs_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = embedding_cache._part_name

    def remove(path: Path) -> str:
        shutil.rmtree(tmp_path / "embeddings")
        return plain(path)

    monkeypatch.setattr(embedding_cache, "_part_name", remove)
    assert add(_cache(tmp_path), TEXTS, MATRIX, np.array([0]), tmp_path / "scratch") is None


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(embedding_cache, "_write", full)
    with pytest.raises(FlipkdError, match=r"cannot keep embeddings in .*: .*no space is left"):
        _add(tmp_path, [0])
