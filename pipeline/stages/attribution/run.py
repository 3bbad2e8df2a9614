"""`attribution`: which sites of the student carry the signal.

For every linear layer of every block, the AUROC on dev's labelled pairs of that one layer's representation of a
text, compared by cosine: A's output (where the layer has an adapter), and beside it the layer's plain input, which
is what A had to read. Both are pooled over the text's tokens as the encoder pools them; where it pools by
attention, at a site as its learnt query weighs the tokens, and at every other layer by the mean.

One pass over the distinct texts of dev: hooks keep the input of every layer, pooled. A is linear, so that
pool(A x) = A pool(x), and its outputs need no pass of their own. Inputs are those within the trained student:
below the first adapter they are the base's own.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.nn import functional

from data.arrays import create_array
from data.errors import FlipkdError
from data.schema import ATTRIBUTION, write_table
from models.runtime.precision import matrix_precision
from models.student.batching import token_batches
from models.student.flipkd_student import FlipkdStudent, attention, pooling_weights, weighted
from models.student.frozen import inputs_shown
from models.student.sites import layer_number, linear_layers, module_name
from pipeline.contract.stage import Context
from pipeline.stages.attribution.view import draw
from pipeline.stages.distill.artifact import PairData, distilled_student, pair_data, read_adapter
from pipeline.stages.distill.config import DistillConfig
from pipeline.terminal.progress import progress

log = logging.getLogger("flipkd.attribution")
BATCH_TOKENS = 4096
SCHEMA = {
    "layer": pl.Int64, "module": pl.String, "site": pl.Boolean, "auroc_input": pl.Float64,
    "auroc_adapter": pl.Float64,
}  # fmt: skip


def run(config: DistillConfig, inputs: Mapping[str, Path], out: Path, context: Context) -> dict[str, Any]:
    """Write `attribution.parquet` (the columns `ATTRIBUTION`, a row a layer) and `attribution.png`.

    Raises:
        FlipkdError: dev lacks labelled pairs of a class, or the base model cannot be used.
    """
    scored = pl.scan_parquet(inputs["score"] / "scores.parquet")
    dev = scored.filter(pl.col("split") == "dev", pl.col("label").is_not_null()).collect()
    if dev["label"].n_unique() < 2:
        raise FlipkdError(
            "attribution: AUROC on dev takes labelled pairs of both classes; give dev more pairs "
            "(prepare.splitting.dev, or `split` of an input)"
        )
    student = distilled_student(inputs["distill"], context)
    pairs = pair_data(dev, "label", inputs["score"] / "embeddings.parquet", student.prompt)
    weights = read_adapter(inputs["distill"])
    context.work.mkdir(parents=True, exist_ok=True)
    with matrix_precision("fp32"):
        pooled = pooled_inputs(student, pairs.texts, context.work / "inputs.npy")
        table = site_aurocs(pooled, pairs, weights, student.settings["sites"])
    write_table(table.to_arrow(), out / "attribution.parquet", ATTRIBUTION)
    teacher = float(roc_auc_score(dev["label"], dev["teacher_score"]))
    draw(table, teacher, out / "attribution.png")
    return {
        "pairs": dev.height,
        "texts": len(pairs.texts),
        "teacher": teacher,
        "best_input": _best(table, "auroc_input"),
        "best_adapter": _best(table, "auroc_adapter"),
    }


def site_aurocs(
    pooled: Mapping[str, np.ndarray], pairs: PairData, weights: Mapping[str, Tensor], sites: Sequence[str]
) -> pl.DataFrame:
    """AUROC of every layer's representation alone, with the columns `ATTRIBUTION`.

    Args:
        pooled: each layer's pooled inputs, (texts, width). pairs: into these texts.
        weights: the adapter under peft's names. sites: the layers that the encoder reads.
    """
    found = []
    known: dict[int, float] = {}  # layers that read the same have the same inputs
    with progress("sites", len(pooled), "layers") as advance:
        for name, values in pooled.items():
            x = torch.from_numpy(np.array(values))
            a = weights.get(f"base_model.model.{name}.lora_A.weight")
            if id(values) not in known:
                known[id(values)] = auroc(x, pairs)
            found.append(
                {
                    "layer": layer_number(name),
                    "module": module_name(name),
                    "site": name in sites,
                    "auroc_input": known[id(values)],
                    "auroc_adapter": None if a is None else auroc(functional.linear(x, a), pairs),
                }
            )
            advance()
    return pl.DataFrame(found, schema=SCHEMA)


def auroc(vectors: Tensor, pairs: PairData) -> float:
    """AUROC of the cosine of each pair's two vectors; a vector of zeros has the cosine 0 with all."""
    z = functional.normalize(vectors.double(), dim=1)
    cosine = (z[torch.from_numpy(pairs.first)] * z[torch.from_numpy(pairs.second)]).sum(1)
    return float(roc_auc_score(pairs.targets, cosine.numpy()))


@dataclass
class _Seen:
    """What the hooks of one forward pass keep.

    Attributes:
        share: how much each token counts, (n, tokens). pooled: layer to its pooled input, (n, width).
        same: for each layer the first one that reads the same tensor; `last` is the one before, with that tensor.
    """

    share: Tensor = field(default_factory=lambda: torch.empty(0, 0))
    pooled: dict[str, Tensor] = field(default_factory=dict)
    same: dict[str, str] = field(default_factory=dict)
    last: tuple[str, Tensor] | None = None


@torch.inference_mode()
def pooled_inputs(student: FlipkdStudent, texts: Sequence[list[int]], path: Path) -> dict[str, np.ndarray]:
    """The input of every linear layer within the blocks, pooled over each text, in one pass over the texts.

    Args:
        texts: token ids. path: the .npy file that holds them all, memory-mapped: some kilobytes a layer and text.

    Returns:
        Layer to (texts, width) of float32; layers that read the same tensor (q, k and v) have the same array, but
        for a site with a query of its own. A layer that does not see every token (an expert of a mixture) is left
        out.
    """
    prompt, pooling = student.prompt, student.settings["pooling"]
    alone = [prompt.alone(text) for text in texts]
    device = next(student.parameters()).device
    file: np.ndarray | None = None
    columns: dict[str, slice] = {}
    with _inputs(student) as seen, progress("inputs of every layer", len(texts), "texts") as advance:
        for rows in token_batches([len(ids) for ids in alone], BATCH_TOKENS):
            ids, mask = (tensor.to(device) for tensor in prompt.pad([alone[i] for i in rows]))
            lengths = torch.tensor([len(texts[i]) for i in rows], device=device)
            seen.share = pooling_weights(ids.shape[1], len(prompt.head), lengths, pooling)
            student.lm.base_model(input_ids=ids, attention_mask=mask, use_cache=False)
            if file is None:
                ends = np.cumsum([x.shape[1] for x in seen.pooled.values()]).tolist()
                columns = {name: slice(a, b) for name, a, b in zip(seen.pooled, [0, *ends], ends, strict=False)}
                file = create_array(path, (len(texts), ends[-1]))
            for name, part in columns.items():
                file[rows, part] = seen.pooled[name].cpu().numpy()
            advance(len(rows))
    views = {name: np.asarray(file)[:, part] for name, part in columns.items()}
    return {name: views[first] for name, first in seen.same.items()}


@contextmanager
def _inputs(student: FlipkdStudent) -> Iterator[_Seen]:
    """Pool the input of every linear layer within the blocks as it comes, so that no pass keeps them all."""
    lm, seen = student.lm, _Seen()
    queries: dict[str, Tensor] = {}
    if student.queries is not None:  # of hidden states there is one, and no site
        queries = dict(zip(student.settings["sites"], student.queries, strict=False))

    def pool(name: str, x: Tensor) -> None:
        if x.shape[:-1] != seen.share.shape:
            return
        if name in queries:
            a = lm.get_submodule(name).get_buffer("flipkd_a")
            share = attention(functional.linear(x.to(a.dtype), a), seen.share > 0, queries[name])
            seen.same[name], seen.pooled[name] = name, weighted(x, share)
            return
        if seen.last is None or seen.last[1] is not x:
            seen.last = name, x
            seen.pooled[name] = weighted(x, seen.share)
        seen.same[name] = seen.last[0]

    with inputs_shown(lm, linear_layers(lm), pool):
        yield seen


def _best(table: pl.DataFrame, column: str) -> dict[str, Any]:
    row = table.drop_nulls(column).sort(column, descending=True, maintain_order=True).row(0, named=True)
    return {"layer": row["layer"], "module": row["module"], "auroc": row[column]}
