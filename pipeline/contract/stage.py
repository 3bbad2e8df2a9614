"""What a stage is, and what it is given besides its config and inputs.

A stage is a folder, `pipeline/stages/<name>/`: `stage.py` declares it with a `Stage`, `config.py` holds its
section of the config, `run.py` the work, `artifact.py` all that a later stage may import of it. `stage.py` takes
no torch.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.contract.keys import key_config
from pipeline.contract.section import Section
from pipeline.store.store import Store

Summary = dict[str, Any]


@dataclass(frozen=True)
class Context:
    """What a stage may use besides its config and inputs.

    Attributes:
        seed: of everything random.
        final: where the artifact will lie when it is complete.
        work: scratch folder that survives a crash (checkpoints), removed once the artifact is complete.
        store: whose folders of converted models and caches all runs share.
        names: what the config says now under the keys that the stage declares in `Stage.names`.
    """

    seed: int
    final: Path
    work: Path
    store: Store
    names: Mapping[str, str] = field(default_factory=dict)


# A stage: (its config, its inputs' folders by stage name, the folder to fill, the context) -> summary.
StageFunction = Callable[[Any, Mapping[str, Path], Path, Context], Summary]


def _nothing(*_: Any) -> None:
    """No check."""


def _no_raw_inputs(config: Any, download: bool) -> dict[str, str]:
    return {}


@dataclass(frozen=True)
class Stage:
    """A stage as it declares itself. Functions that take `config` get the whole config.

    Attributes:
        package: its folder as a package; the last part is its name.
        version: goes up when the same input would give another output.
        reads: the stages whose artifacts it reads.
        title: what it does, for the log.
        section: the class of its section of the config.
        sentence: a summary in one line: the numbers that tell whether the stage went well.
        section_name: of its section in the config, if it is not called like the stage.
        seeded: whether anything in it is random.
        uses_gpu: whether it computes on a GPU where there is one.
        names: dotted keys of the config whose values it needs as they are now. Keys of artifacts go by content, so
            what was named may have moved since an earlier stage read it.
        results: what people look for in its artifact: (what it is, file), the first thing first.
        raw_inputs: `(config, download)` to the identities of what it reads from outside the store, by name.
        keyed: its section as it enters the key.
        check_first: `(config)`, raises a FlipkdError for what can be told before any byte is hashed.
        check: `(config, store)`, raises a FlipkdError for what would stop the stage: models are tried. Called only
            where the artifact is not there.
    """

    package: str
    version: int
    reads: tuple[str, ...]
    title: str
    section: type[Section]
    sentence: Callable[[Summary], str]
    section_name: str = ""
    seeded: bool = True
    uses_gpu: bool = True
    names: tuple[str, ...] = ()
    results: tuple[tuple[str, str], ...] = ()
    raw_inputs: Callable[[Any, bool], dict[str, str]] = _no_raw_inputs
    keyed: Callable[[Any], dict[str, Any]] = key_config
    check_first: Callable[[Any], None] = _nothing
    check: Callable[[Any, Store], None] = _nothing

    @property
    def name(self) -> str:
        return self.package.rpartition(".")[2]

    @property
    def function(self) -> StageFunction:
        """`run` of the stage's `run.py`, imported only now: most of them take torch."""
        return importlib.import_module(f"{self.package}.run").run

    def settings(self, config: Any) -> Any:
        """Its section of a config."""
        return getattr(config, self.section_name or self.name)

    def seed(self, config: Any) -> int:
        """Of everything random in it: its section's own, else the config's; 0 if nothing is random."""
        if not self.seeded:
            return 0
        own = getattr(self.settings(config), "seed", None)
        return config.seed if own is None else own

    def named(self, config: Any) -> dict[str, str]:
        """What `Context.names` holds."""
        return {key: functools.reduce(getattr, key.split("."), config) for key in self.names}
