"""How `flipkd gc` shows what would go, and reads sizes."""

from __future__ import annotations

from pydantic import ByteSize, TypeAdapter, ValidationError
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from data.errors import FlipkdError
from pipeline.housekeeping.garbage import Garbage

SIZE = TypeAdapter(ByteSize)


def parse_size(text: str) -> int:
    """`20GB`, `500 MB`, `1.5TB` or plain bytes, in powers of 1000; `GiB` and the like in powers of 1024.

    Raises:
        FlipkdError: it is no size.
    """
    try:
        return int(SIZE.validate_python(text.strip()))
    except ValidationError:
        raise FlipkdError(f"{text!r} is no size; write it as 500MB, 20GB or 20GiB") from None


def garbage_table(garbage: Garbage) -> Table:
    """What would go, as a table for the terminal."""
    table = Table()
    for name in ("what", "stage", "key", "size"):
        table.add_column(name, no_wrap=True, justify="right" if name == "size" else "left")
    table.add_column("why", overflow="fold", ratio=1)
    for item in garbage.items:
        table.add_row(item.kind, *map(Text, item.owner), decimal(item.bytes), Text(item.why))
    return table


def kept_line(garbage: Garbage) -> str:
    """How many artifacts stay, by the reason."""
    titles = {"config": "of the configs", "promoted": "of promoted students", "running": "of runs in progress"}
    titles |= {"recent": "used lately"}
    there = [garbage.needs.artifacts[one] for one in garbage.scan.artifacts if one in garbage.needs.artifacts]
    counts = [f"{there.count(reason)} {title}" for reason, title in titles.items() if reason in there]
    return f"{len(there)} artifacts stay" + (f": {', '.join(counts)}" if counts else "")
