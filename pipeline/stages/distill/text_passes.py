"""The passes over texts alone, which variants of a comparison share: their end is a checkpoint in the store.

They come before the first pair, and know neither labels nor the answer: students that differ in the terms for
pairs alone (no L_mcl, another contrastive term, other margins) begin with the very same steps. Whoever needs them
next goes on from the checkpoint, and its student is the same to the bit.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.stages.distill.config import DistillConfig
from pipeline.stages.distill.pair_data import PairData

# Keys that the steps on texts never read. Whatever is not named here parts the variants; that is the safe side.
PAIRS_ALONE = {
    "contrastive": True,
    "margins": True,
    "soft_targets": True,
    "weights": {"ce", "mcl"},
    "balance": True,
    "sites": {"trains"},
    "known_matches": True,
    "pairs": True,  # which texts there are stands in the data
    "epochs": True,  # the learning rate knows the number of steps, which stands in the key
    "decay": True,  # its steps stand there too
    "batch_pairs": True,
    "batch_tokens": True,
    "evaluations": True,
    "patience": True,
    "seed": True,  # the one of the run counts
    "checkpoint_minutes": True,
    "keep_text_passes": True,
}


def text_passes_path(
    root: Path, config: DistillConfig, data: PairData, identity: dict[str, Any], seed: int, steps: tuple[int, int]
) -> Path:
    """Where the checkpoint after the passes over texts lies, or will: `<root>/<key>/checkpoint.safetensors`.

    Args:
        root: folder of all such checkpoints. identity: of the base and its numbers, and the stage's version.
        steps: on texts and on pairs; the learning rate depends on both, unless it decays apart.
    """
    arrays = hashlib.sha256(json.dumps(data.texts).encode())
    for array in (data.vectors, data.begins):
        arrays.update(np.ascontiguousarray(array).tobytes())
    parts = {
        "identity": identity,
        "config": config.model_dump(mode="json", exclude=PAIRS_ALONE),  # type: ignore[arg-type]
        "data": arrays.hexdigest(),
        "seed": seed,
        "steps": steps if config.decay == "together" else steps[:1],
    }
    key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:20]
    return root / key / "checkpoint.safetensors"
