"""How `flipkd lineage` shows where an artifact came from."""

from __future__ import annotations

from typing import Any

from rich.tree import Tree


def lineage_tree(told: dict[str, Any]) -> Tree:
    """`lineage` as a tree for the terminal; an artifact that stands in several places is told in the first."""
    seen: set[str] = set()

    def grow(branch: Tree, name: str) -> None:
        entry = told["artifacts"][name]
        for what, source in entry.get("inputs", {}).items():
            if source not in told["artifacts"]:
                model = f"{entry['model']} " if what == "model" and "model" in entry else ""
                branch.add(f"[cyan]{what}[/] {_escaped(model + source)}")
            elif source in seen:
                branch.add(f"{source} [dim](above)[/]")
            else:
                seen.add(source)
                grow(branch.add(_headline(told["artifacts"][source])), source)

    top = told["artifact"]
    tree = Tree(_headline(told["artifacts"][top]))
    grow(tree, top)
    return tree


def _headline(entry: dict[str, Any]) -> str:
    title = f"[bold]{entry['stage']}[/]/{entry['key']}"
    if entry["state"] != "there":
        why = "not in the store" if entry["state"] == "missing" else "its manifest cannot be read: flipkd verify"
        return f"{title} [red]{why}[/]"
    rows = ", ".join(f"{file} {count}" for file, count in entry["rows"].items())
    packages = ", ".join(
        f"{name} {entry['packages'][name]}" for name in SHOWN_PACKAGES if name in entry["packages"]
    )
    lines = [title, f"{entry['started']}, {entry['duration_seconds']:.1f} s, seed {entry['seed']}"]
    lines += [_escaped(line) for line in (f"rows: {rows}" if rows else "", packages) if line]
    return "\n".join([lines[0], *(f"[dim]{line}[/]" for line in lines[1:])])


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def used_by_line(told: dict[str, Any]) -> str:
    """What was made from the artifact, and whether it is in use."""
    line = f"used by {', '.join(told['used_by'])}" if told["used_by"] else "nothing in the store was made from it"
    return line + (f"; in use as {', '.join(told['promoted_as'])}" if told["promoted_as"] else "")


SHOWN_PACKAGES = ("flipkd", "torch", "transformers", "sentence-transformers", "peft", "polars")
