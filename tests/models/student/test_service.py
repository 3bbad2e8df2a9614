"""A saved student in a service: threads that share it, processes that get it, other precisions, other users."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sentence_transformers import SentenceTransformer

from models.student.flipkd_student import QUERIES, Call
from models.student.folder import assemble
from tests.models.student.test_student import SPEC, new_student
from tests.tiny import WORDS, tiny_student

TEXTS = [" ".join(WORDS.split()[n : n + 1 + n % 9]) for n in range(48)]
QUESTIONS = list(zip(TEXTS, TEXTS[1:] + TEXTS[:1], strict=True))


def saved(folder: Path, pooling: str = "mean", read: str = "lora_a") -> Path:
    """A `student/` folder with a random adapter."""
    base = tiny_student(folder / "base")
    student = new_student(base, pooling=pooling, read=read)
    distilled = folder / "distilled"
    student.lm.save_pretrained(distilled / "adapter")
    student.prompt.tokenizer.save_pretrained(distilled / "tokenizer")
    settings = {"template": SPEC.template, "answers": list(SPEC.answers), "max_length": SPEC.max_length}
    settings |= {"sites": student.sites, "pooling": pooling, "read": read, "scaling": SPEC.alpha / SPEC.rank}
    (distilled / "student.json").write_text(json.dumps(settings), "utf-8")
    if pooling == "attention":
        draw = torch.Generator().manual_seed(1)
        names = ["hidden"] if read == "hidden" else student.sites
        width = 32 if read == "hidden" else SPEC.rank
        save_file({name: torch.randn(width, generator=draw) for name in names}, distilled / QUERIES)
    assemble(folder / "student", distilled, base, base_name="tiny", revision=None, final=folder / "student")
    return folder / "student"


def load(folder: Path, **options: Any) -> Any:
    return SentenceTransformer(str(folder), trust_remote_code=True, device="cpu", **options)


@pytest.mark.parametrize(
    ("pooling", "read"), [("mean", "lora_a"), ("last", "lora_a"), ("attention", "lora_a"), ("mean", "hidden")]
)
def test_threads_that_share_a_student_get_the_numbers_of_one(tmp_path: Path, pooling: str, read: str) -> None:
    model = load(saved(tmp_path, pooling, read))

    def encoded(n: int) -> np.ndarray:
        return model.encode([TEXTS[n]], show_progress_bar=False)

    def matched(n: int) -> np.ndarray:
        return np.stack([model[0].match(QUESTIONS[n : n + 2])[name] for name in ("decoder", "encoder")])

    jobs = [(work, n) for n in range(len(TEXTS) - 1) for work in (encoded, matched)]
    alone = [work(n) for work, n in jobs]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda job: job[0](job[1]), jobs * 4))
    for number, values in enumerate(found):
        np.testing.assert_allclose(values, alone[number % len(jobs)], atol=1e-6)


def test_tasks_of_an_event_loop_get_the_numbers_of_one(tmp_path: Path) -> None:
    model = load(saved(tmp_path))
    alone = model.encode(TEXTS, batch_size=1)

    async def ask(text: str) -> np.ndarray:
        return await asyncio.to_thread(model.encode, text)

    async def serve() -> list[np.ndarray]:
        return await asyncio.gather(*map(ask, TEXTS))

    np.testing.assert_allclose(np.stack(asyncio.run(serve())), alone, atol=1e-6)


def test_nothing_of_a_pass_stays_on_the_model(tmp_path: Path) -> None:
    model = load(saved(tmp_path))
    model.encode(TEXTS)
    assert model[0]._pass.kept == {}


def test_a_process_that_knows_nothing_of_it_unpickles_it(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    model = load(folder, model_kwargs={"dtype": torch.float64})
    data = pickle.dumps(model)
    assert len(data) < (folder / "base/model.safetensors").stat().st_size / 2
    (tmp_path / "model.pickle").write_bytes(data)
    (tmp_path / "texts.json").write_text(json.dumps([TEXTS, QUESTIONS]), "utf-8")
    code = """
import json, pickle, sys
model = pickle.load(open("model.pickle", "rb"))
assert not any(name.startswith("models.student") for name in sys.modules)
texts, pairs = json.load(open("texts.json"))
scores = model[0].match([tuple(pair) for pair in pairs])["decoder"]
print(json.dumps([model.encode(texts).tolist(), scores.tolist(), str(next(model.parameters()).dtype)]))
"""
    run = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
    )
    assert run.returncode == 0, run.stderr
    vectors, decoder, dtype = json.loads(run.stdout.splitlines()[-1])
    assert dtype == "torch.float64"
    np.testing.assert_allclose(vectors, model.encode(TEXTS), atol=1e-6)
    np.testing.assert_allclose(decoder, model[0].match(QUESTIONS)["decoder"], atol=1e-6)


def test_a_pool_of_sentence_transformers(tmp_path: Path) -> None:
    model = load(saved(tmp_path))
    pool = model.start_multi_process_pool(["cpu", "cpu"])
    try:
        found = model.encode(TEXTS, pool=pool, chunk_size=8)
    finally:
        model.stop_multi_process_pool(pool)
    np.testing.assert_allclose(found, model.encode(TEXTS), atol=1e-6)


def test_a_student_in_memory_alone_says_why_it_cannot_be_pickled(tmp_path: Path) -> None:
    student = load(saved(tmp_path))[0]
    student.folder = None
    with pytest.raises(TypeError, match="not loaded from a folder"):
        pickle.dumps(student)


def test_a_call_is_pickled_as_what_it_gives() -> None:
    call = Call(getattr, Call(str, "abc"), "upper")
    assert call() == "ABC"
    assert pickle.loads(pickle.dumps(Call(max, 3, 5))) == 5  # noqa: S301 (its own)


@pytest.mark.parametrize("name", ["dtype", "torch_dtype"])
def test_both_names_of_the_precision_are_obeyed(tmp_path: Path, name: str) -> None:
    model = load(saved(tmp_path), model_kwargs={name: torch.float16})
    assert next(model.parameters()).dtype == torch.float16


def test_an_index_is_readable_by_whom_the_umask_lets_read(tmp_path: Path) -> None:
    model = load(saved(tmp_path))
    before = os.umask(0o022)
    try:
        model[0].index(TEXTS, tmp_path / "faq.safetensors")
    finally:
        os.umask(before)
    assert (tmp_path / "faq.safetensors").stat().st_mode & 0o777 == 0o644


def test_embedding_computes_nothing_above_the_last_site(tmp_path: Path) -> None:
    model = load(saved(tmp_path))[0]
    whole = model.match(QUESTIONS)["encoder"]
    ran: list[str] = []
    for name in (model.settings["sites"][-1], "model.norm"):  # what comes next in these models
        model.lm.get_submodule(name).register_forward_pre_hook(lambda *_, name=name: ran.append(name))
    vectors = model.embed(TEXTS)
    np.testing.assert_allclose(whole, (vectors * np.roll(vectors, -1, axis=0)).sum(1), atol=1e-6)
    assert set(ran) == {model.settings["sites"][-1]}
    model.match(QUESTIONS)  # a pass that wants the answer goes on to the end
    assert "model.norm" in ran
