"""The stages' names, apart from all else so that the command line's `--help` loads nothing.

Each is the name of a folder in `pipeline/stages/`, whose `stage.py` declares the rest.
"""

from typing import Literal

StageName = Literal["prepare", "teach", "score", "filter", "distill", "export"]  # the main line, in order
# Beside it. Comparisons measure many students without exporting them; the others look at one closer.
SideStageName = Literal["measure", "retrieve", "attribution"]
