"""BANKING77 as pairs of a question and a FAQ title: twenty questions of each intent, with a right and a wrong one.

    python benchmarks/questions_and_titles.py ../shared/data/banking77 questions.csv
    flipkd init faq.yaml --input questions.csv && flipkd run faq.yaml

The wrong title of a question is drawn at random from all others, by seed.
"""

from __future__ import annotations

import csv
import random
import sys
from collections import defaultdict
from pathlib import Path

QUESTIONS = 20


def write(folder: Path, out: Path, seed: int = 0) -> None:
    """Write `question`, `faq_title`, `label`."""
    draw = random.Random(seed)  # noqa: S311  a sample, not a secret
    with (folder / "catalogue.csv").open(encoding="utf-8", newline="") as file:
        titles = {row["category"]: row["title"] for row in csv.DictReader(file)}
    questions: dict[str, list[str]] = defaultdict(list)
    with (folder / "train.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            questions[row["category"]].append(row["text"])
    with out.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["question", "faq_title", "label"])
        for intent, texts in questions.items():
            for text in texts[:QUESTIONS]:
                rows.writerow([text, titles[intent], 1])
                rows.writerow([text, titles[draw.choice([other for other in titles if other != intent])], 0])


if __name__ == "__main__":
    write(Path(sys.argv[1]), Path(sys.argv[2]))
