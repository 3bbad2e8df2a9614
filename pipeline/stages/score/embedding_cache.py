"""Vectors of texts that a teacher has embedded in earlier runs, so that a night pays for its new texts alone.

Layout, below the store:

    embeddings/<cache>/<setting>/part-<digest>.parquet    columns `text`, `embedding`; one file per run that added
    embeddings/<cache>/used-by/<teach key>                empty; the artifacts of `teach` whose teacher this is

`<cache>` is a digest of the teacher's files (weights, tokenizer, modules, maximum length, prompts), not the key of
`teach`: that key changes with every new row, but `teach.tune: false` on an unchanged model writes the same bytes
again. A tuned teacher, another maximum length or other library versions (they stand in the teacher's files) make
another cache. `<setting>` is the shape of the forward passes (`models.teacher.fixed_shapes`), which decides the
last bits.

What holds: a text's vector depends on the teacher, the setting, the machine's arithmetic (processor, number of
threads, library versions) and the text alone, not on the texts beside it. So on one machine `score` writes the
same bits with a full, partial or empty cache. A store that moves between machines keeps vectors of the old one;
they differ from new ones by rounding (about 2e-7).

A part is written under another name, flushed, and renamed to its own digest: it is complete or absent, and one
byte of damage shows. Parts are never changed, so any number of runs may read and add at a time; two that add the
same text do no harm. Nothing here is needed: removing a cache, at any moment, costs time and changes no result.

For `flipkd gc`: `cache_identities(store.embeddings)` gives for each cache the keys of `teach` that have
used it; a cache none of whose keys is kept can go, with `store.embeddings / name` as a whole.
`cache_name(folder)` is the cache of a teacher's folder. A run marks the cache as its own before it reads from it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data.errors import FlipkdError
from data.locate import digest
from data.schema import writer
from pipeline.store.disk import disk_problem, make_folder, sync

log = logging.getLogger("flipkd.score")
NAME_LENGTH = 20
USED_BY = "used-by"
# Vectors are wide: 8,192 of 384 numbers are 12 MB.
BLOCK_ROWS = 8192
Wanted = dict[str, int]  # text to row


@dataclass(frozen=True)
class EmbeddingCache:
    """The vectors of one teacher under one setting; `folder` need not be there."""

    folder: Path


def cache_name(teacher: Path) -> str:
    """The cache of a teacher's folder: the same for every copy, whatever `teach` artifact it lies in."""
    return digest(teacher)[:NAME_LENGTH]


def cache_identities(embeddings: Path) -> dict[str, set[str]]:
    """For each cache below `<store>/embeddings`, the keys of the `teach` artifacts that have used it.

    Returns:
        An empty dict if nothing was ever cached; an empty set for a cache that nobody has marked.
    """
    folders = sorted(embeddings.iterdir()) if embeddings.is_dir() else []
    return {folder.name: _names(folder / USED_BY) for folder in folders if folder.is_dir()}


def open_cache(embeddings: Path, teacher: Path, teach_key: str, setting: str) -> EmbeddingCache:
    """The cache of a teacher, marked as used by an artifact of `teach`.

    Args:
        embeddings: `<store>/embeddings`.
        teacher: the sentence-transformers folder.
        setting: what else decides a vector's bits; a folder's name.

    Raises:
        FlipkdError: the store cannot be written.
    """
    folder = embeddings / cache_name(teacher)
    make_folder(folder / USED_BY)
    try:
        (folder / USED_BY / teach_key).touch()
    except OSError as error:
        raise _unwritable(error, folder) from None
    return EmbeddingCache(folder / setting)


def fill(cache: EmbeddingCache, texts: Sequence[str], matrix: np.ndarray) -> np.ndarray:
    """Put the vectors that are cached into a matrix, a block at a time; a part that is damaged is removed.

    Args:
        texts: n distinct texts.
        matrix: float32 (n, d), may be memory-mapped; rows of texts that are not cached stay as they are.

    Returns:
        bool (n,): whose vector was found.
    """
    found = np.zeros(len(texts), dtype=bool)
    wanted: Wanted = {text: row for row, text in enumerate(texts)}
    for path in sorted(cache.folder.glob("part-*.parquet")):
        if not wanted:
            break
        if not _is_whole(path):
            continue
        for rows, vectors in _blocks(path, wanted):
            matrix[rows] = vectors
            found[rows] = True
    return found


def add(
    cache: EmbeddingCache, texts: Sequence[str], matrix: np.ndarray, rows: np.ndarray, scratch: Path
) -> Path | None:
    """Add vectors as one part.

    Args:
        texts: n distinct texts.
        matrix: float32 (n, d), may be memory-mapped.
        rows: int64 (m,), those to add.
        scratch: a folder of this run alone, in the same store: a killed run leaves what it began there.

    Returns:
        The part; None for no rows, or where the cache is being removed.

    Raises:
        FlipkdError: the disk is full or not writable.
    """
    if not len(rows):
        return None
    make_folder(cache.folder)
    temporary = scratch / "part.writing"
    try:
        _write(temporary, texts, matrix, rows)
        sync(temporary)
        part = cache.folder / _part_name(temporary)
        temporary.replace(part)
        sync(cache.folder)
    except FileNotFoundError:
        log.warning("score: %s was removed while embeddings were added; they are not kept", cache.folder)
        return None
    except OSError as error:
        raise _unwritable(error, cache.folder) from None
    return part


def _write(path: Path, texts: Sequence[str], matrix: np.ndarray, rows: np.ndarray) -> None:
    width = matrix.shape[1]
    fields = [("text", pa.string()), ("embedding", pa.list_(pa.float32(), width))]
    schema = pa.schema([pa.field(name, kind, nullable=False) for name, kind in fields])
    with writer(path, schema) as file:
        for start in range(0, len(rows), BLOCK_ROWS):
            block = rows[start : start + BLOCK_ROWS]
            flat = pa.array(matrix[block].reshape(-1))
            here = pa.array([texts[int(row)] for row in block], pa.string())
            columns = [here, pa.FixedSizeListArray.from_arrays(flat, width)]
            file.write_batch(pa.record_batch(columns, schema=schema))


def _blocks(path: Path, wanted: Wanted) -> Iterator[tuple[list[int], np.ndarray]]:
    """Rows and vectors of the wanted texts in a part, which are wanted no longer; nothing if it has just gone."""
    try:
        file = pq.ParquetFile(path)
    except FileNotFoundError:
        return
    with file:
        for batch in file.iter_batches(BLOCK_ROWS):
            rows = [wanted.pop(text, None) for text in batch["text"].to_pylist()]
            here = [place for place, row in enumerate(rows) if row is not None]
            flat = batch["embedding"].flatten().to_numpy()
            yield [row for row in rows if row is not None], flat.reshape(len(batch), -1)[here]


def _part_name(path: Path) -> str:
    return f"part-{digest(path)}.parquet"


def _is_whole(path: Path) -> bool:
    """Whether a part's bytes are those that its name says; a damaged one is removed."""
    try:
        if _part_name(path) == path.name:
            return True
        path.unlink()
    except FileNotFoundError:  # somebody has just removed it
        return False
    except OSError as error:
        log.warning("score: the cached embeddings %s cannot be read: %s", path, error.strerror)
        return False
    log.warning("score: the cached embeddings %s are damaged; removed, their texts are embedded again", path)
    return False


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def _unwritable(error: OSError, folder: Path) -> FlipkdError:
    return FlipkdError(f"score: cannot keep embeddings in {folder}: {disk_problem(error, folder) or error}")
