"""The teacher: a sentence-transformers bi-encoder, how it is loaded and how it embeds many texts."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling
from transformers import AutoModel

from data.errors import FlipkdError, first_line
from models.loading.soundness import on_meta
from models.loading.weights import SAFE, code_refused, wants_code
from models.runtime.quiet import quiet

log = logging.getLogger("flipkd.teacher")
# Batches between two calls of `advance`: sentence-transformers shows progress in a way of its own or not at all.
BATCHES_PER_CHUNK = 8
Pool = dict[Literal["input", "output", "processes"], Any]


def load_teacher(
    path: Path,
    *,
    trust_remote_code: bool = False,
    max_length: int | None = None,
    trust_key: str = "teach.trust_remote_code",
) -> SentenceTransformer:
    """Load a sentence-transformers folder in float32 onto the GPU if there is one, else the CPU.

    float32 whatever the folder holds: the scores decide what is kept, and must not depend on the machine.

    Args:
        path: the folder, as `models.loading.names.find_model` gives it (which refuses pickled weights).
        max_length: tokens per text; None keeps the model's own limit.
        trust_key: the config's key behind `trust_remote_code`, for messages.

    Raises:
        FlipkdError: the folder is no model or brings code that is not to be run, or `max_length` is past its
            positions.
    """
    if not (path / "modules.json").is_file():
        if not (path / "config.json").is_file():
            raise FlipkdError(
                f"{path} is no model folder (neither modules.json nor config.json); name the folder of a "
                "bi-encoder saved with SentenceTransformer.save_pretrained"
            )
        log.warning("%s has no modules.json: its token vectors are averaged (mean pooling)", path)
    try:
        with quiet():
            # Remote code may live in a repository of its own, so only then may the hub be asked.
            teacher = SentenceTransformer(
                str(path),
                trust_remote_code=trust_remote_code,
                local_files_only=not trust_remote_code,
                model_kwargs=dict(SAFE),
            ).float()
    except Exception as error:  # each library and kind of model raises its own for files that it cannot use
        if wants_code(error):
            raise code_refused(str(path), trust_key) from None
        raise FlipkdError(f"{path} cannot be loaded as a teacher: {_reason(path, error)}") from error
    if max_length is not None:
        limit = _position_limit(teacher)
        if limit is not None and max_length > limit:
            key = trust_key.replace("trust_remote_code", "max_length")
            raise FlipkdError(f"{key} is {max_length}, but {path} has {limit} positions; lower it")
        teacher.max_seq_length = max_length
    return teacher.eval()


def bring_code(folder: Path) -> None:
    """Put a saved teacher's own code where it is looked for.

    sentence-transformers saves the code of a module of the model's own beside that module, and looks for it at the
    top of the folder when it loads (only where `trust_remote_code` allows it).
    """
    for file in sorted(folder.glob("*/*.py")):
        if not (folder / file.name).exists():
            shutil.copy2(file, folder)


def embed(
    teacher: SentenceTransformer,
    texts: Sequence[str],
    *,
    batch_size: int = 64,
    advance: Callable[[float], None] | None = None,
    pool: Pool | None = None,
) -> np.ndarray:
    """Embed texts, longest first, so that a batch holds texts of like length and memory peaks at the start.

    Args:
        texts: n of them.
        batch_size: texts per forward pass.
        advance: called with the number of texts done since its last call.
        pool: from `several_gpus`.

    Returns:
        float32 (n, d), unit vectors, row i for text i. A text whose vector is zero or not finite gives such a row.

    Raises:
        FlipkdError: the vectors are of another length than the teacher says.
    """
    order = np.argsort([-len(text) for text in texts], kind="stable")
    chunk = batch_size * BATCHES_PER_CHUNK * (len(pool["processes"]) if pool else 1)
    vectors = np.empty((len(texts), dimension(teacher)), dtype=np.float32)
    for start in range(0, len(texts), chunk):
        rows = order[start : start + chunk]
        part = teacher.encode(
            [texts[row] for row in rows],
            batch_size=batch_size,
            pool=pool,
            normalize_embeddings=True,
            convert_to_numpy=True,
            show_progress_bar=False,
        )
        if part.shape != (len(rows), vectors.shape[1]):
            raise FlipkdError(
                f"the teacher gives vectors of {part.shape[-1]} numbers, and says that they have "
                f"{vectors.shape[1]}: its modules (modules.json, the pooling's config.json) do not belong together"
            )
        vectors[rows] = part
        if advance is not None:
            advance(len(rows))
    return vectors


def pair_scores(
    teacher: SentenceTransformer, text_a: Sequence[str], text_b: Sequence[str], *, batch_size: int = 64
) -> np.ndarray:
    """The teacher's similarity of n pairs: float32 (n,), in [-1, 1]. Each distinct text is embedded once."""
    rows = {text: row for row, text in enumerate(dict.fromkeys([*text_a, *text_b]))}
    vectors = embed(teacher, list(rows), batch_size=batch_size)
    return cosine(vectors[[rows[text] for text in text_a]], vectors[[rows[text] for text in text_b]])


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Row by row cosine of unit vectors: (n, d) twice to float32 (n,), in [-1, 1] despite rounding."""
    return np.clip(np.einsum("nd,nd->n", a, b), -1.0, 1.0).astype(np.float32)


@contextmanager
def several_gpus(teacher: SentenceTransformer) -> Iterator[Pool | None]:
    """A pool of one process per GPU where there are several, else None; for `embed`."""
    devices = [f"cuda:{n}" for n in range(torch.cuda.device_count())]
    if len(devices) < 2:
        yield None
        return
    pool = teacher.start_multi_process_pool(devices)
    try:
        yield pool
    finally:
        teacher.stop_multi_process_pool(pool)


def dimension(teacher: SentenceTransformer) -> int:
    """Length of the teacher's vectors.

    Raises:
        FlipkdError: the model does not say.
    """
    length = teacher.get_embedding_dimension()
    if length is None:
        raise FlipkdError("the teacher does not say how long its vectors are; add a Pooling or Dense module to it")
    return length


def prompt_of(teacher: SentenceTransformer) -> str | None:
    """What the teacher puts before every text that it is given without a word; None for nothing."""
    return teacher.prompts.get(teacher.default_prompt_name or "") or None


def describe(teacher: SentenceTransformer) -> dict[str, Any]:
    """What decides a teacher's vectors besides its weights: for file metadata. JSON-able."""
    pooling = next((module.pooling_mode for module in teacher.modules() if isinstance(module, Pooling)), None)
    return {
        "pooling": pooling if pooling is None or isinstance(pooling, str) else "+".join(pooling),
        "max_length": teacher.get_max_seq_length(),
        "dtype": str(teacher.dtype).removeprefix("torch."),
        "dimension": dimension(teacher),
        "prompt": prompt_of(teacher),
        "parameters": sum(p.numel() for p in teacher.parameters()),
    }


def _position_limit(teacher: SentenceTransformer) -> int | None:
    limit = getattr(teacher.config, "max_position_embeddings", None)
    if limit is None:
        return None
    # RoBERTa's positions start after the padding index.
    padded = getattr(teacher.config, "model_type", "") in {"roberta", "xlm-roberta", "camembert", "mpnet"}
    return limit - 2 if padded else limit


def _reason(path: Path, error: Exception) -> str:
    if "ignore_mismatched_sizes" in str(error):  # transformers points at a report that it logs; look ourselves
        try:
            on_meta(path, AutoModel)
        except Exception as reason:
            return first_line(reason)
    return first_line(error)
