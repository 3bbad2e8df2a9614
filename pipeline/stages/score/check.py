"""Whether a model can score pairs, found before any work starts."""

from __future__ import annotations

from data.errors import FlipkdError
from models.loading.names import find_model
from pipeline.stages.score.config import CrossEncoderSettings


def check_pair_scorer(settings: CrossEncoderSettings) -> None:
    """Check that a model is a cross-encoder, whole, and tells pairs apart: it is loaded, and scores two pairs."""
    from models.loading.soundness import check_files
    from models.teacher.cross_encoder import check_cross_encoder

    section, name = "score.cross_encoder", settings.model
    path = find_model(name).path
    try:
        if path.suffix == ".gguf":
            raise FlipkdError(f"{name}: is a GGUF file, so a language model; name a cross-encoder's folder")
        check_files(name, path)
        check_cross_encoder(
            name,
            path,
            trust_remote_code=settings.trust_remote_code,
            trust_key=f"{section}.trust_remote_code",
        )
    except FlipkdError as error:
        raise FlipkdError(f"{section}.model: {error}") from error
