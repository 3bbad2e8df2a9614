"""How fast the student trains: flipkd's loop against a plain transformers Trainer with peft, on one objective.

    python benchmarks/distill_throughput.py --pairs 256 --steps 6

All train the packaged SmolLM2-135M on the FAQ sample that ships with flipkd, with the same objective (L_ce, L_mcl,
L_dist), rank, batch of pairs and adapters, in one process one after the other:

- `plain`: transformers' Trainer, random batches padded to their longest prompt, logits of every token, as a script
  on these libraries would do it;
- `flipkd`: batches of like length, logits at the answer alone;
- `kept`: as that, with what lies below the adapters computed once before (its cost is printed apart).

On a GPU that has bf16, `auto` is what `distill` does there: bf16 activations and frozen weights; the plain Trainer
then runs with `bf16=True` as well.

Printed are real tokens per second (padding not counted) of the median step, and the share that useful work has
of the machine's own peak of matrix products, at the student's shapes and in the precision that was used. The
peak, the best of twelve products, is measured right before and right after each step, outside of its time, and
the share printed is the median step's: on a rented machine one product's speed moved between 235 and 380 GFLOP/s
within seconds, with nothing else running there, so that a peak from a minute ago says nothing.

Useful are the products of the model's forward and backward pass, once for each real token: forward through every
block that is computed, backward through what stands above an adapter. They are

- of the frozen weights, 2 FLOP a weight forward and 2 backward: the gradient of the input alone, which q, k and v
  of the first block that learns do not need;
- of A and B, 2 forward and 4 backward: of input and weight;
- of attention, two products of each token with those it may see, and twice that backward.

Not counted are padding, attention's upper triangle, the answer's logits, all that is no product. The last block is
counted whole, though behind its attention the answer's token alone is needed: all variants compute it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from itertools import islice, pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import torch

from models.loading.convert import converted
from models.loading.names import find_model
from models.runtime.precision import matrix_precision
from models.student.student import Batch, Student, load_base, pair_batch
from pipeline.config.config import DistillConfig
from pipeline.stages.distill.activations import keep_activations, make_batch
from pipeline.stages.distill.build import build
from pipeline.stages.distill.objective import pair_terms, weights
from pipeline.stages.distill.pair_data import PairData
from pipeline.stages.distill.schedule import plan_work

BOUNDS = (0.5, 0.9)
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def clock() -> float:
    """Seconds, after all that a GPU was given is done."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def in_bf16(precision: str) -> bool:
    """Whether activations are bf16, as in `pipeline.stages.distill.run`: on a GPU that has it."""
    return precision != "fp32" and DEVICE.type == "cuda" and torch.cuda.is_bf16_supported()


def autocast(precision: str) -> AbstractContextManager[Any]:
    return torch.autocast("cuda", torch.bfloat16) if in_bf16(precision) else nullcontext()


def sample(prompt: Any, count: int) -> PairData:
    """Pairs of the FAQ sample: half of one entry, half of two; teacher vectors at random, which cost the same."""
    import polars as pl

    rows = pl.read_csv(Path(__file__).parents[1] / "data/sample/faq.csv")
    texts, entries = rows["text"].to_list(), rows.select(pl.exclude("text")).to_series().to_list()
    random = np.random.default_rng(0)
    first = random.integers(len(texts), size=count)
    second = (first + 1 + random.integers(5, size=count)) % len(texts)
    targets = np.array([entries[a] == entries[b] for a, b in zip(first, second, strict=True)], dtype=np.int64)
    vectors = random.normal(size=(len(texts), 64)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return PairData(first, second, targets, prompt.texts(texts), vectors)


def new_student(base: Path, last_layers: int | None, rank: int, dtype: str) -> Student:
    torch.manual_seed(0)
    adapter = {"rank": rank, "alpha": 2 * rank, "last_layers": last_layers}
    config = DistillConfig.model_validate({"lora": adapter, "sites": {"last_layers": last_layers}})
    return build(*load_base(base, dtype=dtype), config).to(DEVICE)


def loss_of(
    student: Student, batch: Batch, data: PairData, rows: np.ndarray, config: DistillConfig
) -> torch.Tensor:
    z, logits = student(batch)
    terms, share = pair_terms(z, logits, data, rows, config, BOUNDS), weights(config)
    return torch.stack([terms[name] * share[name] for name in terms]).sum()


class Step(NamedTuple):
    """What a step has done, how long it took, and the machine's peak around it."""

    mask: torch.Tensor
    seconds: float
    peak: float


def plain(
    student: Student, data: PairData, config: DistillConfig, steps: int, precision: str, top: Callable[[], float]
) -> list[Step]:
    """Steps of a Trainer whose model computes all logits and whose batches are random."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    class Rows(torch.utils.data.Dataset[int]):
        def __len__(self) -> int:
            return len(data.targets)

        def __getitem__(self, index: int) -> int:
            return index

    masks: list[torch.Tensor] = []
    seconds: list[float] = []
    peaks: list[float] = []

    class Plain(Trainer):
        def compute_loss(self, model: Any, inputs: Any, *_: Any, **__: Any) -> torch.Tensor:
            rows = inputs["rows"].cpu().numpy()
            first, second = ([data.texts[i] for i in ids[rows]] for ids in (data.first, data.second))
            batch = pair_batch(student.prompt, first, second).to(DEVICE)
            masks.append(batch.mask)
            every = student.lm(input_ids=batch.ids, attention_mask=batch.mask).logits
            last = every[torch.arange(len(batch.mask), device=DEVICE), batch.mask.sum(1) - 1]
            answers = last[:, student.prompt.answers]
            z = student._pooled(batch, every)
            terms, share = pair_terms(z, answers, data, rows, config, BOUNDS), weights(config)
            return torch.stack([terms[name] * share[name] for name in terms]).sum()

    class Clock(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            peaks.append(top())
            seconds.append(-clock())

        def on_step_end(self, *_: Any, **__: Any) -> None:
            seconds[-1] += clock()

    def collate(rows: list[int]) -> dict[str, torch.Tensor]:
        return {"rows": torch.tensor(rows)}

    with TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            per_device_train_batch_size=config.batch_pairs,
            max_steps=steps + 1,
            learning_rate=1e-4,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            remove_unused_columns=False,
            disable_tqdm=True,
            use_cpu=DEVICE.type == "cpu",
            bf16=in_bf16(precision),
        )
        trainer = Plain(student, arguments, train_dataset=Rows(), data_collator=collate, callbacks=[Clock()])
        trainer.train()
    peaks.append(top())
    return [Step(*row) for row in zip(masks, seconds, around(peaks), strict=True)][1:]


def around(peaks: list[float]) -> list[float]:
    """Each step's peak, from those measured before the first step and after each."""
    return [(before + after) / 2 for before, after in pairwise(peaks)]


def ours(
    student: Student,
    data: PairData,
    config: DistillConfig,
    steps: int,
    make: Callable[[np.ndarray], Batch],
    precision: str,
    top: Callable[[], float],
) -> list[Step]:
    """flipkd's steps."""
    optimizer = torch.optim.AdamW([p for p in student.parameters() if p.requires_grad], lr=1e-4)
    student.train()
    done: list[tuple[torch.Tensor, float]] = []
    peaks = [top()]
    for work in islice(plan_work(data, config, 0, 1, 0), steps + 1):
        started = clock()
        batch = make(work.rows)
        with autocast(precision):
            loss = loss_of(student, batch.to(DEVICE), data, work.rows, config)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        done.append((batch.mask, clock() - started))
        peaks.append(top())
    found = [Step(*row, best) for row, best in zip(done, around(peaks), strict=True)]
    return found[1:]  # the first step allocates


def peak(width: int, wide: int, precision: str) -> float:
    """FLOP per second of products of the student's shapes, the best of several rounds."""
    dtype = torch.bfloat16 if in_bf16(precision) else torch.float32
    a, b = (torch.randn(n, width, device=DEVICE, dtype=dtype) for n in (2048, wide))
    rounds = 1 if DEVICE.type == "cpu" else 100  # a GPU is given them faster than it answers for one
    best = 0.0
    for _ in range(12):
        started = clock()
        for _ in range(rounds):
            torch.nn.functional.linear(a, b)
        best = max(best, rounds * 2 * 2048 * width * wide / (clock() - started))
    return best


def useful(student: Student, mask: torch.Tensor, kept: bool) -> float:
    """FLOP that a step on these prompts cannot do without; what counts is said at the top."""
    lengths = mask.sum(1).double()
    tokens, seen = float(lengths.sum()), float((lengths * (lengths + 1) / 2).sum())
    base = student.lm.get_base_model()
    config = base.config
    heads = config.num_attention_heads * getattr(
        config, "head_dim", config.hidden_size // config.num_attention_heads
    )
    flop = 0.0
    for number, block in enumerate(base.get_submodule(student.blocks)):
        if number < student.cut and kept:
            continue
        above = number >= student.cut
        flop += 2 * 2 * heads * seen * (3 if above else 1)
        for name, weight in block.named_parameters():
            if weight.dim() < 2 or ("lora_B" in name and not weight.requires_grad):
                continue  # norms; B of a site that only reads
            first = number == student.cut and any(part in name for part in ("q_proj", "k_proj", "v_proj"))
            of_input = above and ("lora_B" in name or not first)
            flop += 2 * weight.numel() * tokens * (1 + of_input + weight.requires_grad)
    return flop


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=256)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--last-layers", type=int, default=10)
    parser.add_argument("--batch-pairs", type=int, default=DistillConfig().batch_pairs)
    parser.add_argument("--model", default=DistillConfig().model)
    options = parser.parse_args()
    config = DistillConfig(text_epochs=0, epochs=100, soft_targets=0, batch_pairs=options.batch_pairs)
    with TemporaryDirectory() as scratch:
        base = converted(find_model(options.model), Path(scratch) / "models")
        found: dict[str, float] = {}
        for precision in ("fp32", "auto"):
            for name in ("plain", "flipkd", "kept"):
                if (name, precision) == ("plain", "auto") and not in_bf16(precision):
                    continue  # a script leaves torch's default
                dtype = "bfloat16" if in_bf16(precision) and name != "plain" else "float32"
                student = new_student(base, options.last_layers, options.rank, dtype)
                data = sample(student.prompt, options.pairs)
                with matrix_precision(precision) as chosen:
                    sizes = student.lm.config.hidden_size, student.lm.config.intermediate_size

                    def top(sizes: Any = sizes, precision: str = precision) -> float:
                        return peak(sizes[0], sizes[1], precision)

                    note = ""
                    if name == "plain":
                        done = plain(student, data, config, options.steps, precision, top)
                    else:
                        kept = None
                        if name == "kept":
                            started = clock()
                            identity = {"base": str(base), "numbers": chosen}
                            kept = keep_activations(student, data, Path(scratch) / chosen, identity, hidden=True)
                            note = f"; keeping took {clock() - started:.1f} s"

                        def make(rows: np.ndarray, s: Any = student, d: Any = data, k: Any = kept) -> Batch:
                            return make_batch(s, d, "pairs", rows, k)

                        done = ours(student, data, config, options.steps, make, precision, top)
                    share = median(useful(student, s.mask, name == "kept") / s.seconds / s.peak for s in done)
                title = f"{name}, {chosen}"
                found[title] = median(int(s.mask.sum()) / s.seconds for s in done)
                peaks = f"{min(s.peak for s in done) / 1e9:.0f} to {max(s.peak for s in done) / 1e9:.0f} GFLOP/s"
                print(f"{title}: {found[title]:.0f} tokens/s, {share:.0%} of a peak of {peaks}{note}", flush=True)
        for base_line in (title for title in found if title.startswith("plain")):
            for title, speed in found.items():
                print(f"ratio {title} / {base_line}: {speed / found[base_line]:.2f}")


if __name__ == "__main__":
    main()
