"""Which file of scores a person means: a config's, a night's, an artifact's by its key."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.errors import FlipkdError
from pipeline.config.config import Config
from pipeline.config.location import store_of
from pipeline.runner.latest import nights
from pipeline.runner.plan import plan
from pipeline.stages.filter.config import FilterConfig
from pipeline.store.store import Store, file_problem

if TYPE_CHECKING:
    import polars as pl

log = logging.getLogger("flipkd.scores")
FILES = {"filter": "filtered.parquet", "score": "scores.parquet"}  # the one that says more first


@dataclass(frozen=True)
class Scores:
    """Rows with the teacher's scores.

    Attributes:
        path: of the file.
        rows: its rows, with what the filter decides: out of the file, or by the config's bounds.
        bounds: of the filter, by name; none if it is off.
    """

    path: Path
    rows: pl.LazyFrame
    bounds: Mapping[str, float]


def scores_of(config: Config, key: str | None = None, night: int | None = None) -> Scores:
    """The scores that are meant. Where the filter has not run with the config's bounds, they are applied here.

    Args:
        key, night: as in `scores_file`.

    Raises:
        FlipkdError: they are not in the store, or the file is damaged.
    """
    import polars as pl

    path = scores_file(config, key, night)
    rows = pl.scan_parquet(path)
    if path.name == FILES["filter"]:
        return Scores(path, rows, _bounds_in(path))
    from pipeline.stages.filter.run import apply_bounds, find_bounds

    try:
        found = {name: one["bound"] for name, one in find_bounds(config.filter, rows).items()}
    except FlipkdError as error:
        log.warning("what the filter would decide is not shown: %s", error)
        return Scores(path, rows, {})
    decided = apply_bounds(rows, found, config.filter.enabled)
    return Scores(path, decided, found if config.filter.enabled else {})


def scores_file(config: Config, key: str | None = None, night: int | None = None) -> Path:
    """`filtered.parquet` if it is there, else `scores.parquet`.

    Args:
        key: of an artifact of filter or score, or its beginning; in place of the config's own.
        night: those of an earlier run of this config: 1 the last one that has scores, 2 the one before.

    Raises:
        FlipkdError: it is not in the store, or the file is damaged.
    """
    store = store_of(config)
    if key is not None:
        return _of_key(store, key)
    if night is not None:
        return _of_night(config, store, night)
    keys = {step.stage: step.key for step in plan(config, "filter", download=False)}
    for stage, name in FILES.items():
        if store.path(stage, keys[stage]).exists():
            return _sound(store, stage, keys[stage], name)
    there = nights(store, config.promote.called, "score")
    last = f" The last run that has scores began {there[0].id[:13]}Z: --night 1 shows them." if there else ""
    raise FlipkdError(
        f"no scores of this config in {store.root}. Compute them: flipkd run CONFIG --until filter.{last}"
    )


def _of_key(store: Store, key: str) -> Path:
    from pipeline.housekeeping.lineage import find_artifact

    store, (stage, key) = find_artifact(store, key)
    if stage not in FILES:
        raise FlipkdError(f"--key {key}: an artifact of {stage}; scores are in those of {' and '.join(FILES)}")
    return _sound(store, stage, key, FILES[stage])


def _of_night(config: Config, store: Store, night: int) -> Path:
    there = nights(store, config.promote.called, "score")
    if len(there) < night:
        raise FlipkdError(
            f"--night {night}: {len(there)} runs named {config.promote.called} in {store.root} have scores; "
            "`flipkd runs CONFIG` lists them"
        )
    planned = dict(there[night - 1].planned)
    for stage, name in FILES.items():
        if stage in planned and store.path(stage, planned[stage]).exists():
            return _sound(store, stage, planned[stage], name)
    raise FlipkdError(f"--night {night}: the scores of run {there[night - 1].id} were removed from {store.root}")


def _sound(store: Store, stage: str, key: str, name: str) -> Path:
    """The file, verified; of the artifact's other files (embeddings may be large) nothing is shown."""
    folder = store.path(stage, key)
    entry = store.manifest(stage, key).files.get(name)
    problem = file_problem(folder / name, name, entry) if entry else f"its manifest names no {name}"
    if problem:
        raise FlipkdError(f"the artifact {folder} is damaged ({problem}); run `flipkd run CONFIG` to mend it")
    return folder / name


def _bounds_in(path: Path) -> dict[str, float]:
    """The bounds that the filter wrote into its file's metadata; none if it was off."""
    from data.schema import read_metadata

    metadata: dict[str, Any] = read_metadata(path)
    found = metadata.get("bounds", {}) if metadata.get("enabled") else {}
    return {name: found[name]["bound"] for name in FilterConfig.model_fields if name in found}
