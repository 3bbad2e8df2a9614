"""A cross-encoder, which reads both texts of a pair at once, and how its score joins a bi-encoder's cosine."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sentence_transformers import CrossEncoder
from torch import nn

from data.errors import FlipkdError, first_line
from models.loading.soundness import check_numbers, module_folder, on_meta
from models.loading.weights import SAFE, code_refused, wants_code
from models.runtime.quiet import quiet
from models.teacher.check import PROBES

log = logging.getLogger("flipkd.teacher")
LEAST_DEVIATION = 1e-6


def load_cross_encoder(path: Path, *, trust_remote_code: bool, trust_key: str) -> CrossEncoder:
    """Load a cross-encoder's folder in float32 onto the GPU if there is one, else the CPU.

    Args:
        path: the folder, as `models.loading.names.find_model` gives it (which refuses pickled weights).
        trust_key: the config's key behind `trust_remote_code`, for messages.

    Raises:
        FlipkdError: the folder is no cross-encoder, lacks weights (as a bi-encoder does: those of the output), has
            not one output, or brings code that is not to be run.
    """
    try:
        with quiet():
            model = CrossEncoder(
                str(path),
                trust_remote_code=trust_remote_code,
                local_files_only=not trust_remote_code,
                model_kwargs=dict(SAFE),
            ).float()
        transformer: nn.Module | None = model.model
        if transformer is not None and not trust_remote_code:
            on_meta(module_folder(path, 0), type(transformer))
        outputs = model.num_labels
    except Exception as error:  # each library and kind of model raises its own for files that it cannot use
        if wants_code(error):
            raise code_refused(str(path), trust_key) from None
        raise FlipkdError(
            f"{path} cannot be loaded as a cross-encoder (a bi-encoder is none): {first_line(error)}"
        ) from error
    if outputs != 1:
        raise FlipkdError(
            f"{path}: has {outputs} outputs a pair; a scorer of pairs has one (a reranker, or a model of "
            "similarity, not one that tells classes apart)"
        )
    return model.eval()


def check_cross_encoder(name: str, path: Path, *, trust_remote_code: bool, trust_key: str) -> None:
    """Check that a folder is a cross-encoder, whole, and tells pairs apart.

    Args:
        name: of the model, for messages.

    Raises:
        FlipkdError: it is not.
    """
    model = load_cross_encoder(path, trust_remote_code=trust_remote_code, trust_key=trust_key)
    first, second = PROBES
    try:
        check_numbers(model)
        scores = cross_encoder_scores(model, [first, first], [first, second])
    except (ValueError, RuntimeError, IndexError, TypeError) as error:
        raise FlipkdError(f"{name}: cannot be used as a cross-encoder: {first_line(error)}") from error
    if not np.isfinite(scores).all() or scores[0] == scores[1]:
        raise FlipkdError(
            f"{name}: cannot be used as a cross-encoder: it gives {scores[0]:g} to {first!r} with itself, and "
            f"{scores[1]:g} to it with {second!r}"
        )


def cross_encoder_scores(
    model: CrossEncoder, text_a: Sequence[str], text_b: Sequence[str], *, batch_size: int = 32
) -> np.ndarray:
    """The model's own scores of n pairs, float32 (n,), in the order of the texts.

    Its output goes through the activation that it was saved with: a number in [0, 1] for most, a logit for some.
    """
    pairs = list(zip(text_a, text_b, strict=True))
    scores = model.predict(pairs, batch_size=batch_size, show_progress_bar=False, convert_to_numpy=True)
    return np.asarray(scores, dtype=np.float32).reshape(len(pairs))


def to_cosine_scale(scores: np.ndarray, cosines: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Scores with the mean and the standard deviation that the cosines have on the training pairs.

    u = mean(t) + sd(t) (s - mean(s)) / sd(s), all four over the training pairs, then cut to [-1, 1].

    Args:
        scores: s, (n,), any range.
        cosines: t, (n,), in [-1, 1].
        train: bool (n,), at least one.

    Returns:
        float64 (n,).

    Raises:
        FlipkdError: the scores are not numbers, or do not vary on the training pairs.
    """
    given, wanted = scores.astype(np.float64), cosines.astype(np.float64)
    if not np.isfinite(given).all():
        raise FlipkdError(
            f"score.cross_encoder: {int((~np.isfinite(given)).sum())} of {len(given)} scores are not finite "
            "numbers; take another model"
        )
    deviation = given[train].std()
    if deviation < LEAST_DEVIATION:
        raise FlipkdError(
            f"score.cross_encoder: its scores of the {int(train.sum())} training pairs do not vary (standard "
            f"deviation {deviation:.1e}); take another model"
        )
    mapped = wanted[train].mean() + wanted[train].std() * (given - given[train].mean()) / deviation
    return np.clip(mapped, -1.0, 1.0)


def blend(cosines: np.ndarray, mapped: np.ndarray, weight: float) -> np.ndarray:
    """(1 - weight) t + weight u, float32 (n,), in [-1, 1].

    Args:
        cosines: t, (n,), in [-1, 1].
        mapped: u, from `to_cosine_scale`.
        weight: in [0, 1].
    """
    return np.clip((1 - weight) * cosines.astype(np.float64) + weight * mapped, -1.0, 1.0).astype(np.float32)
