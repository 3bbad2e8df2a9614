"""The activations of the untouched base that a training run keeps, in the store, for the runs after it too."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from models.student.frozen import Activations, read_activations, write_activations
from models.student.student import Batch, Student, pair_batch, text_batch
from pipeline.stages.distill.pair_data import PairData
from pipeline.store.store import make_folder
from pipeline.terminal.progress import progress

log = logging.getLogger("flipkd.distill")


def keep_activations(
    student: Student, data: PairData, root: Path, identity: dict[str, Any], *, hidden: bool
) -> Activations:
    """What the base computes for these texts and pairs: from an earlier run, or computed now.

    Call it while every B is 0. Several processes compute it once.

    Args:
        root: folder of all kept activations. identity: what decides the numbers besides the student's reading and
            the token ids: the base, its precision. hidden: keep the prompts' hidden states too; the
            student then `may_begin_at_cut`.
    """
    base = student.lm.get_base_model()
    tokens = hashlib.sha256(json.dumps(data.texts).encode())
    for array in (data.first, data.second):
        tokens.update(np.ascontiguousarray(array, dtype=np.int64).tobytes())
    prompt = student.prompt
    pooling = student.kept_pooling
    parts = identity | {
        "sites": student.sites,
        "cut": student.cut if hidden else 0,
        "pooling": pooling,
        "prompt": [prompt.head, prompt.middle, prompt.tail],
        **({"turned": prompt.turned, "orders": prompt.orders} if prompt.turned or prompt.orders == "one" else {}),
        "tokens": tokens.hexdigest(),
        "hidden": hidden,
    }
    key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:20]
    make_folder(root)
    with FileLock(root / f"{key}.lock"):
        if not (root / key).exists():
            total = sum(map(len, map(prompt.alone, data.texts)))
            if hidden and student.cut:
                total += 2 * (sum(data.lengths()) + prompt.overhead * len(data.first))
                total += sum(len(prompt.alone(data.texts[i])) for i in data.unpaired)
            with progress("activations below the adapters", total, "tokens") as advance:
                write_activations(
                    base,
                    prompt,
                    student.sites,
                    student.blocks,
                    student.cut,
                    pooling,
                    data.texts,
                    data.first,
                    data.second,
                    root / key,
                    keep_hidden=hidden,
                    advance=advance,
                )
        (root / key).touch()  # when it was used last, for whoever cleans up
    return read_activations(base, student.sites, root / key)


def make_batch(
    student: Student, data: PairData, kind: str, rows: np.ndarray, kept: Activations | None = None
) -> Batch:
    """The prompts of some texts, or of some pairs in both orders.

    Args:
        kind: `texts` or `pairs`. rows: of `data.texts`, or pairs. kept: the activations of the same data, if any.
    """
    if kind == "texts":
        batch, prompts, texts = text_batch(student.prompt, [data.texts[i] for i in rows]), data.begins[rows], rows
    else:
        texts = np.concatenate([data.first[rows], data.second[rows]])
        prompts = np.concatenate([rows, rows + len(data.first)])
        halves = [[data.texts[i] for i in ids[rows]] for ids in (data.first, data.second)]
        batch = pair_batch(student.prompt, *halves)
    if kept is None or kept.hidden is None:
        return batch
    return student.from_cut(batch, kept, prompts.tolist(), texts)
