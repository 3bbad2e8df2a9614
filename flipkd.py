"""flipkd from Python: run a config, and open what came of it.

    import flipkd

    run = flipkd.run("faq.yaml", until="filter")  # nothing is computed twice
    run.scores().filter(pl.col("reason") == "uncertain")  # a Polars frame
    run = flipkd.run("faq.yaml")
    run.metrics()["splits"]["test"]["fused"]["f1"]
    run.student().encode(["Can I freeze my card?"])

    flipkd.open(".flipkd").latest("faq").scores()       # without running anything

The parts that this stands on (`pipeline`, `flows`, `models`, `data`) are packages of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from data.errors import FlipkdError

if TYPE_CHECKING:
    import polars as pl
    from sentence_transformers import SentenceTransformer

    from pipeline.contract.stage_names import StageName

__all__ = ["FlipkdError", "Results", "Store", "open", "run"]


@dataclass(frozen=True)
class Results:
    """The artifacts of a run.

    Attributes:
        folders: by stage, the folder of its artifact; those that were run.
    """

    folders: Mapping[str, Path]

    def path(self, stage: str, name: str = "") -> Path:
        """A stage's folder, or a file in it.

        Raises:
            FlipkdError: the run did not go so far, or the file is not there.
        """
        if stage not in self.folders:
            raise FlipkdError(f"this run has no {stage}; it has {', '.join(self.folders)}")
        found = self.folders[stage] / name
        if not found.exists():
            raise FlipkdError(f"{found} is not there")
        return found

    def pairs(self) -> pl.DataFrame:
        """The prepared pairs, a row each: `pairs.parquet`."""
        return self._frame("prepare", "pairs.parquet")

    def rejects(self) -> pl.DataFrame:
        """The rows that were not taken, each with its reason: `rejects.parquet`."""
        return self._frame("prepare", "rejects.parquet")

    def scores(self) -> pl.DataFrame:
        """The teacher's scores, with what the filter decided if it has run."""
        if "filter" in self.folders:
            return self._frame("filter", "filtered.parquet")
        return self._frame("score", "scores.parquet")

    def embeddings(self) -> pl.DataFrame:
        """The teacher's vector of each text: `text_id`, `text`, `embedding`, unit vectors."""
        return self._frame("score", "embeddings.parquet")

    def predictions(self) -> pl.DataFrame:
        """The pairs of dev and test with the scores of teacher and student: `predictions.parquet`."""
        return self._frame("export", "predictions.parquet")

    def metrics(self) -> dict[str, Any]:
        """What was measured, by split, score and metric: `metrics.json`."""
        from pipeline.evaluation.headline import read_metrics

        return read_metrics(self.path("export"))

    def student(self, **options: Any) -> SentenceTransformer:
        """The student: `encode` gives vectors, `[0].match(pairs)` scores, `[0].search(...)` ranks a catalogue.

        Args:
            options: of `SentenceTransformer`, such as `device`.
        """
        from sentence_transformers import SentenceTransformer

        # The code that it brings is flipkd's own, which export put there.
        return SentenceTransformer(str(self.path("export", "student")), trust_remote_code=True, **options)

    def _frame(self, stage: str, name: str) -> pl.DataFrame:
        import polars as pl

        return pl.read_parquet(self.path(stage, name))


@dataclass(frozen=True)
class Store:
    """An artifact store, to look into."""

    folder: Path

    def names(self) -> list[str]:
        """The configs that were run here, by name."""
        return sorted(path.name for path in (self.folder / "latest").glob("[!.]*"))

    def latest(self, name: str | None = None) -> Results:
        """What was run last under a name; which may be left out where there is one alone.

        Raises:
            FlipkdError: nothing was run under that name, or there are several.
        """
        from pipeline.runner.latest import latest_key
        from pipeline.stages.registry import STAGES
        from pipeline.store.store import Store as Artifacts

        names = self.names()
        if name is None and len(names) != 1:
            raise FlipkdError(f"{self.folder} holds runs of {', '.join(names) or 'no config'}; give a name")
        store, name = Artifacts(self.folder.absolute()), name or names[0]
        keys = {stage: key for stage in STAGES if (key := latest_key(store, name, stage))}
        if not keys:
            raise FlipkdError(f"nothing was run under the name {name} in {self.folder}; there are {names}")
        return Results({stage: store.path(stage, key) for stage, key in keys.items()})

    def promoted(self, name: str) -> Results:
        """The export that is in use under a name, and what it came from.

        Raises:
            FlipkdError: no student is in use under that name.
        """
        from pipeline.promotion.link import in_use
        from pipeline.store.store import Store as Artifacts

        store = Artifacts(self.folder.absolute())
        key = in_use(store, name)
        if key is None:
            raise FlipkdError(f"no student is in use under the name {name} in {self.folder}")
        made_from = store.manifest("export", key).inputs
        sources = {stage: store.path(stage, of) for stage, of in made_from.items()}
        return Results(
            {stage: path for stage, path in sources.items() if path.is_dir()}
            | {"export": store.path("export", key)}
        )


def run(
    config: str | Path,
    changes: Mapping[str, Any] = MappingProxyType({}),
    *,
    until: StageName | None = None,
    refresh: list[StageName] | None = None,
) -> Results:
    """Run the pipeline as `flipkd run` does: what is in the store already is not computed again.

    A notebook whose event loop is running can call it too.

    Args:
        config: a YAML or TOML file, or `demo`.
        changes: settings over the file's, by dotted key: `{"filter.tau_pos": 0.7}`. With them the run is a trial,
            and promotes nothing unless they hold `promote`.
        until: the last stage; all by default.
        refresh: stages to run again although their artifacts are there.

    Raises:
        FlipkdError: the config, the input or a model is wrong; stages that were complete stay.
    """
    from pipeline.config.load import load_config, trial_if_changed
    from pipeline.config.location import store_of
    from pipeline.runner.check import checked_plan

    settings = trial_if_changed(load_config(config, changes), changes)
    steps = checked_plan(settings, until)
    from flows.flip import flip_planned
    from flows.local import quiet_prefect

    with quiet_prefect():
        artifacts = flip_planned(settings, steps, refresh or [])
    store = store_of(settings)
    return Results({stage: store.path(stage, found["key"]) for stage, found in artifacts.items()})


def open(store: str | Path) -> Store:
    """An artifact store, to look into without running anything.

    Raises:
        FlipkdError: there is none.
    """
    folder = Path(store).expanduser()
    if not (folder / "artifacts").is_dir():
        raise FlipkdError(f"{folder} is no artifact store: it has no folder `artifacts`")
    return Store(folder)
