"""The rooms of the code, in order, and the imports between them. `python -m tests.rooms` prints the counts.

A room is a folder. It may import rooms that stand below it in `ROOMS`, and no room above it; imports inside of
functions and those for the type checker count as well.
"""

from __future__ import annotations

import ast
import graphlib
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

# From the top down: whoever wants to know where something may be used reads upwards from it.
ROOMS = (
    "pipeline.cli",
    "flows",
    "pipeline.service",
    "pipeline.drift",
    "pipeline.inspection",
    "pipeline.housekeeping",
    "pipeline.promotion",
    "pipeline.comparison",
    "pipeline.runner",
    "pipeline.config",
    "pipeline.stages",
    "pipeline.evaluation",
    "pipeline.contract",
    "pipeline.store",
    "pipeline.terminal",
    "models.teacher",
    "models.student",
    "models.objectives",
    "models.loading",
    "models.runtime",
    "data",
)
# Stages see those before them through these modules alone.
STAGES = "pipeline.stages"
OPEN = ("artifact", "config")
Imports = dict[str, set[str]]  # module to the modules that it imports


def imports(root: Path) -> Imports:
    """Every module below the four packages, and which of these modules each imports."""
    files = {
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path
        for package in ("pipeline", "flows", "models", "data")
        for path in sorted((root / package).rglob("*.py"))
    }
    return {name: set(_imported(path, files)) - {name} for name, path in files.items()}


def _imported(path: Path, files: Mapping[str, Path]) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in files)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                if inner in files or node.module in files:
                    yield inner if inner in files else node.module


def room_of(module: str) -> str | None:
    """The room that a module stands in; None for a package's own module above its rooms."""
    fits = [room for room in ROOMS if module == room or module.startswith(f"{room}.")]
    return max(fits, key=len, default=None)


def against_the_order(found: Imports) -> list[tuple[str, str]]:
    """Imports, importer first, of a room that stands above the importer's."""
    places = {room: number for number, room in enumerate(ROOMS)}
    return [
        (importer, imported)
        for importer, targets in sorted(found.items())
        for imported in sorted(targets)
        if (a := room_of(importer)) and (b := room_of(imported)) and places[b] < places[a]
    ]


def between_stages(found: Imports) -> list[tuple[str, str]]:
    """Imports of another stage's modules that are not open to other stages."""
    return [
        (importer, imported)
        for importer, targets in sorted(found.items())
        for imported in sorted(targets)
        if (a := _stage(importer)) and (b := _stage(imported)) and a != b
        if imported.rpartition(".")[2] not in OPEN
    ]


def _stage(module: str) -> str | None:
    name = module.removeprefix(f"{STAGES}.").partition(".")
    return name[0] if module.startswith(f"{STAGES}.") and name[1] else None


def circles(found: Imports) -> list[list[str]]:
    """Modules that import each other in a circle, the first one again at the end; each circle apart."""
    left = {module: set(targets) for module, targets in found.items()}
    rings: list[list[str]] = []
    while True:
        try:
            graphlib.TopologicalSorter(left).prepare()
        except graphlib.CycleError as error:
            rings.append(error.args[1][::-1])
            left[rings[-1][0]].discard(rings[-1][1])  # cut open, so that the next one is seen
        else:
            return rings


def arrows(found: Imports, folders: bool = True) -> set[tuple[str, str]]:
    """Pairs of rooms, importer first, with an import between them; by `ROOMS`, or of single modules."""
    rooms: dict[str, str] = {module: (room_of(module) or module) if folders else module for module in found}
    return {(rooms[a], rooms[b]) for a, targets in found.items() for b in targets if rooms[a] != rooms[b]}


def main(root: Path) -> None:
    """Print what stands where: modules, arrows between modules and between rooms, circles."""
    found = imports(root)
    sizes: dict[str, int] = defaultdict(int)
    for module in found:
        sizes[room_of(module) or module] += 1
    for room in sorted(sizes, key=lambda name: (ROOMS.index(name) if name in ROOMS else len(ROOMS), name)):
        below = sorted(
            {b for a, b in arrows(found) if a == room}, key=lambda b: ROOMS.index(b) if b in ROOMS else 99
        )
        sys.stdout.write(f"{room}: {sizes[room]} modules; imports {', '.join(below) or 'nothing'}\n")
    sys.stdout.write(
        f"{len(found)} modules, {len(arrows(found, folders=False))} arrows between them; "
        f"{len(sizes)} rooms, {len(arrows(found))} arrows; against the order {len(against_the_order(found))}; "
        f"between stages past their reading side {len(between_stages(found))}; circles {circles(found)}\n"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[1])
