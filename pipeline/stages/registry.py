"""The stages that there are. A new one is a folder, and its name in `contract/stage_names.py`."""

from __future__ import annotations

import importlib
from collections import ChainMap
from typing import get_args

from data.errors import FlipkdError
from pipeline.contract.stage import Stage
from pipeline.contract.stage_names import SideStageName, StageName
from pipeline.store.manifest import Manifest


def _declared(names: tuple[str, ...]) -> dict[str, Stage]:
    return {name: importlib.import_module(f"pipeline.stages.{name}.stage").STAGE for name in names}


STAGES = _declared(get_args(StageName))
SIDE_STAGES = _declared(get_args(SideStageName))
# The main line first. A view of both: who adds a stage to one of them finds it here.
ALL_STAGES = ChainMap(SIDE_STAGES, STAGES)


def stages_until(last: str | None) -> list[Stage]:
    """The stages of the main line in order, up to one of them; all for None.

    Raises:
        FlipkdError: no stage has that name.
    """
    if last is not None and last not in STAGES:
        raise FlipkdError(f"no stage is called {last!r}; the stages are {', '.join(STAGES)}")
    names = list(STAGES)
    return [STAGES[name] for name in names[: None if last is None else names.index(last) + 1]]


def sentence(manifest: Manifest) -> str:
    """What an artifact holds, in one line, out of the summary in its manifest."""
    return ALL_STAGES[manifest.stage].sentence(manifest.summary)
