"""The stages' names, apart from all else so that the command line's `--help` loads nothing."""

from typing import Literal

StageName = Literal["prepare", "teach", "score", "filter", "distill", "export"]
