"""The new student against the one in use, on the same pairs: a paired bootstrap of the difference of one metric.

The pairs are the labelled test pairs of the new run, without those that the student in use has seen: nights differ
in their splits, so a text of tonight's test may have stood in the train or dev split of the run before. Only the
pairs that its own run did not measure are scored again, with the student in use alone in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data.errors import FlipkdError
from data.texts import fold, text_key
from pipeline.config.config import Config
from pipeline.evaluation.bootstrap import clusters, percentiles, resampled, uncalibrated
from pipeline.evaluation.headline import read_metrics
from pipeline.evaluation.metrics import point_metrics
from pipeline.stages.prepare.artifact import catalogue_columns, more_texts
from pipeline.store.store import Store, file_problem
from pipeline.terminal.progress import progress

if TYPE_CHECKING:
    from models.student.flipkd_student import FlipkdStudent

PAIRS_FILE = "pairs.parquet"
MEASURED = ("predictions.parquet", "metrics.json")


@dataclass(frozen=True)
class Comparison:
    """Two students on the same pairs.

    Attributes:
        new_key, current_key: of the exports.
        score: decoder, encoder or fused, each student's own. metric: what is compared.
        pairs: on which both are measured. positives: those of them that match.
        left_out: labelled test pairs of the new run that the student in use was trained or tuned on.
        scored_again: of the pairs, those whose score of the student in use was computed for this.
        new, current: the metric of each; F1 and accuracy at its own threshold.
        difference: new - current. low, high: its 95 % interval.
        resamples: behind the interval.
        problem: why there are no numbers; None if there are.
        unit: what `pairs` counts: pairs, or queries of a catalogue.
    """

    new_key: str
    current_key: str
    score: str
    metric: str
    pairs: int = 0
    positives: int = 0
    left_out: int = 0
    scored_again: int = 0
    new: float | None = None
    current: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    resamples: int = 0
    problem: str | None = None
    unit: str = "pairs"


def compare(config: Config, store: Store, new_key: str, current_key: str) -> Comparison:
    """Measure both students on the test pairs of the new one that neither was trained or tuned on.

    Args:
        config: `promote` says what is compared; `export.bootstrap` resamples are drawn with `seed`.

    Raises:
        FlipkdError: an artifact that takes part is not there or damaged, or the student in use cannot be loaded.
    """
    settings = config.promote
    for key in (new_key, current_key):
        check_files(store, "export", key, MEASURED)
    new, current = store.path("export", new_key), store.path("export", current_key)
    labelled = _test_pairs(new, settings.score)
    pairs = _unseen(labelled, store, new_key, current_key)
    labels = pairs["label"].to_numpy()
    found = Comparison(new_key, current_key, settings.score, settings.metric)
    found = replace(
        found, pairs=pairs.height, positives=int(labels.sum()), left_out=labelled.height - pairs.height
    )
    if problem := _too_few(found, settings.minimum_pairs):
        return replace(found, problem=problem)
    scores, scored_again = _scores_in_use(store, current_key, pairs, settings.score, config.export.batch_pairs)
    first, second = (
        uncalibrated(labels, values, float(read_metrics(export)["thresholds"][settings.score]))
        for values, export in ((pairs["score"].to_numpy(), new), (scores, current))
    )
    together = clusters(pairs, entry_columns(store, new_key))
    values, _ = resampled({"new": first, "current": second}, config.export.bootstrap, config.seed, together)
    differences = values["new"][settings.metric] - values["current"][settings.metric]
    value, value_in_use = (float(point_metrics(one)[settings.metric] or 0.0) for one in (first, second))
    low, high = percentiles(differences)
    return replace(
        found,
        scored_again=scored_again,
        new=value,
        current=value_in_use,
        difference=value - value_in_use,
        low=low,
        high=high,
        resamples=len(differences),
    )


def entry_columns(store: Store, key: str) -> dict[str, str]:
    """Where the entries of a run's catalogues stand; nothing where its `prepare` was swept away."""
    folder = store.path("prepare", store.manifest("export", key).inputs["prepare"])
    return catalogue_columns(folder) if folder.is_dir() else {}


def check_files(store: Store, stage: str, key: str, names: tuple[str, ...]) -> None:
    """Check size and digest of those files of an artifact that begin with the given names; only they are used.

    Raises:
        FlipkdError: one is damaged, or there is no such artifact.
    """
    for name, entry in store.manifest(stage, key).files.items():
        problem = file_problem(store.path(stage, key) / name, name, entry) if name.startswith(names) else None
        if problem:
            raise FlipkdError(f"the artifact {stage}/{key} is damaged ({problem}); run its config again")


def _test_pairs(export: Path, score: str) -> pl.DataFrame:
    """The labelled test pairs of an export: `text_a`, `text_b`, `label`, `group`, `source`, `score`."""
    return (
        pl.scan_parquet(export / "predictions.parquet")
        .filter(pl.col("split") == "test", pl.col("label").is_not_null())
        .select("text_a", "text_b", "label", "group", "source", pl.col(score).alias("score"))
        .collect()
    )


def _unseen(pairs: pl.DataFrame, store: Store, new_key: str, current_key: str) -> pl.DataFrame:
    """The pairs without those whose texts or group the student in use was trained or tuned on."""
    texts, groups = learned(store, new_key, current_key)
    sides = entry_columns(store, new_key)
    kept = [
        (sides.get(source) == "text_a" or text_key(a) not in texts)
        and (sides.get(source) == "text_b" or text_key(b) not in texts)
        and (group is None or fold(group) not in groups)
        for a, b, group, source in pairs.select("text_a", "text_b", "group", "source").iter_rows()
    ]
    return pairs.filter(pl.Series(kept, dtype=pl.Boolean))


def learned(store: Store, new_key: str, current_key: str) -> tuple[set[str], set[str]]:
    """Keys of the texts, and the groups (folded), that the student in use was trained or tuned on.

    Entries of a catalogue are none of them: they stand in every split. Within one run no text and no group stands
    in two splits, so of one and the same `prepare` nothing in the new test was learnt.
    """
    new, prepared = (store.manifest("export", key).inputs["prepare"] for key in (new_key, current_key))
    if new == prepared:
        return set(), set()
    try:
        check_files(store, "prepare", prepared, (PAIRS_FILE,))
    except FlipkdError as error:
        raise FlipkdError(
            f"it is not known which pairs the student in use has not seen: {error} (`flipkd run --until prepare`)"
        ) from None
    folder = store.path("prepare", prepared)
    sides = catalogue_columns(folder)
    rows = pl.scan_parquet(folder / PAIRS_FILE).filter(pl.col("split") != "test").collect()
    texts: set[str] = set()
    for side in ("text_a", "text_b"):
        of_catalogues = [source for source, own in sides.items() if own == side]
        texts |= set(map(text_key, rows.filter(~pl.col("source").is_in(of_catalogues))[side].unique()))
    texts |= set(map(text_key, more_texts(folder, utterances=True)))
    return texts, set(map(fold, rows["group"].drop_nulls().unique()))


def _too_few(found: Comparison, minimum: int) -> str | None:
    """Why the pairs allow no verdict, in words; None if they do."""
    if found.pairs >= minimum and 0 < found.positives < found.pairs:
        return None
    without = f" ({left_out(found)})" if found.left_out else ""
    if found.pairs < minimum:
        return f"{found.pairs} labelled test pairs are left to compare on{without}, fewer than {minimum}"
    which = "match" if found.positives else "do not match"
    return f"all {found.pairs} labelled test pairs that are left to compare on{without} {which}"


def left_out(found: Comparison) -> str:
    """How many pairs the comparison leaves out, and why: the inside of a bracket."""
    what = "1 pair" if found.left_out == 1 else f"{found.left_out} pairs"
    return f"without {what} that the student in use was trained or tuned on"


def _scores_in_use(
    store: Store, key: str, pairs: pl.DataFrame, score: str, batch_pairs: int
) -> tuple[NDArray[np.float32], int]:
    """The score of the student in use for each pair, (n,), and how many had to be computed."""
    texts = list(zip(pairs["text_a"], pairs["text_b"], strict=True))
    measured = _measured(store.path("export", key), score)
    missing = [pair for pair in texts if pair not in measured]
    if missing:
        measured |= dict(zip(missing, _score(store, key, missing, score, batch_pairs), strict=True))
    return np.array([measured[pair] for pair in texts], np.float32), len(missing)


def _measured(export: Path, score: str) -> dict[tuple[str, str], float]:
    """Every pair of an export's predictions with its score, in both orders: scores do not depend on it."""
    rows = pl.read_parquet(export / "predictions.parquet", columns=["text_a", "text_b", score])
    return {pair: value for a, b, value in rows.iter_rows() for pair in ((a, b), (b, a))}


def _score(
    store: Store, key: str, texts: Sequence[tuple[str, str]], score: str, batch_pairs: int
) -> NDArray[np.float32]:
    """The score of a student for some pairs, (n,); the student is in memory for no longer than that."""
    import torch

    from models.student.load import score_pairs

    student = load_checked(store, key)
    with progress("scoring with the student in use", len(texts), "pairs") as advance:
        scores = score_pairs(student, texts, batch_pairs, advance)[score]
    del student
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return scores


def load_checked(store: Store, key: str) -> FlipkdStudent:
    """The student of an export.

    Raises:
        FlipkdError: it is damaged, or cannot be loaded.
    """
    from models.student.load import load_student

    check_files(store, "export", key, ("student/",))
    return load_student(store.path("export", key) / "student", trust_remote_code=_trusted(store, key))


def _trusted(store: Store, key: str) -> bool:
    """Whether the config of a student allowed its base model's own code."""
    try:
        distilled = store.manifest("distill", store.manifest("export", key).inputs["distill"])
    except FlipkdError:
        return False
    return bool(distilled.config.get("trust_remote_code"))
