"""What a row of `retrieval.parquet` says; `tests/flows/test_analyse.py` runs the stage against models by hand."""

from __future__ import annotations

import numpy as np

from data.schema import RANKINGS, RETRIEVAL
from pipeline.evaluation.retrieval import Task
from pipeline.stages.retrieve.run import rows


def test_a_rank_is_that_of_the_best_entry_that_answers() -> None:
    entries = ["bill", "card", "loan", "pin"]
    task = Task(entries, ["a", "b", "c", "d"], np.arange(4), ["q 0", "q 1", "q 2"], [[1], [0, 3], [2]], 9)
    draw = np.random.default_rng(0)
    scores = {name: draw.random((3, 4)) for name in RANKINGS}
    table = rows(task, {name: np.argsort(-own, axis=1) for name, own in scores.items()})
    assert table.columns == RETRIEVAL.names
    assert table["query"].to_list() == task.queries
    assert table["entry"].to_list() == ["card", "bill", "loan"]
    for name, own in scores.items():
        # One more than how many entries score higher than the best of the right ones.
        best = [max(row[n] for n in right) for row, right in zip(own, task.relevant, strict=True)]
        assert table[f"{name}_rank"].to_list() == [
            int((row > top).sum()) + 1 for row, top in zip(own, best, strict=True)
        ]
        assert table[f"{name}_first"].to_list() == [entries[row.argmax()] for row in own]
