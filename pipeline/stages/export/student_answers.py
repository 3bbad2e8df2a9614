"""A program of its own: what a saved student gives in a process that knows nothing of flipkd.

    python -I student_answers.py FOLDER REQUEST.json ANSWER.json

It ends when its standard input does, so that it does not outlive the process that asks.

The request holds `pairs`, a list of [text_a, text_b]. The answer holds five lists, one number a pair: `encode`
(cosine of what `SentenceTransformer.encode` gives), `encoder`, `decoder` and `fused` (of the module's `match`),
and `peft` (the decoder's probability from `peft.AutoPeftModelForCausalLM`, one prompt at a time, without padding
and without flipkd's own reading of the adapter); and `imported`, the packages of flipkd that got in, hopefully
none.

Of a reranker's folder the lists are `given` and `turned`, by sentence-transformers' CrossEncoder, of the pairs as
they are and the other way round, and `transformers`, of the pairs as they are, by transformers alone, one by one.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any


def by_sentence_transformers(student: Path, pairs: list[tuple[str, str]]) -> tuple[dict[str, Any], Any, str, Any]:
    """Both views by the module that is copied into the folder; also its prompts, device and `quantised`."""
    import torch
    from sentence_transformers import SentenceTransformer

    model: Any = SentenceTransformer(str(student), trust_remote_code=True, local_files_only=True)
    with torch.inference_mode():
        z = model.encode([text for pair in pairs for text in pair], convert_to_numpy=True, show_progress_bar=False)
    answers = {"encode": (z[0::2] * z[1::2]).sum(1).tolist()}
    answers |= {name: scores.tolist() for name, scores in model[0].match(pairs).items()}
    return answers, model[0].prompt, str(model.device), sys.modules[type(model[0]).__module__].quantised


def by_peft(
    student: Path, prompt: Any, pairs: list[tuple[str, str]], device: str, quantised: Callable[..., dict[str, Any]]
) -> list[float]:
    """The decoder's probability by peft alone, mean of both orders.

    Args:
        quantised: of the folder's module; what peft must be told of a base in few bits.
    """
    import torch
    from peft import AutoPeftModelForCausalLM

    with tempfile.TemporaryDirectory() as folder:
        place = named_by_local_base(student, Path(folder))
        settings = json.loads((student / "student.json").read_text("utf-8"))
        # This student was made here a moment ago, and what the config trusts stands in it.
        options = {"dtype": settings.get("dtype", "auto"), "trust_remote_code": settings["trust_remote_code"]}
        options |= quantised(settings.get("base"), options["dtype"])
        model = AutoPeftModelForCausalLM.from_pretrained(place, **options).to(device).eval()
    found = []
    for a, b in pairs:
        first, second = prompt.texts([a, b])
        orders = prompt.prompts([first], [second])
        with torch.inference_mode():
            logits = [model(input_ids=torch.tensor([ids], device=device)).logits[0, -1] for ids in orders]
        answers = prompt.answered(torch.stack([row.float()[prompt.answers] for row in logits]))
        found.append(prompt.probability(answers).item())
    return found


def named_by_local_base(student: Path, folder: Path) -> Path:
    """The student under a config that names the base where it lies now.

    peft wants the base's path inside `adapter_config.json`, where the final place stands; until the artifact is
    moved there, the base lies elsewhere. A student whose base is a hub's is returned as it is.
    """
    if not (student / "base").is_dir():
        return student
    for file in student.iterdir():
        if file.is_file():
            (folder / file.name).symlink_to(file.resolve())
    config = json.loads((student / "adapter_config.json").read_text("utf-8"))
    config |= {"base_model_name_or_path": str((student / "base").resolve()), "revision": None}
    (folder / "adapter_config.json").unlink()
    (folder / "adapter_config.json").write_text(json.dumps(config), "utf-8")
    return folder


def of_student(student: Path, pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """What a student's folder gives."""
    import gc

    import torch

    answers, prompt, device, quantised = by_sentence_transformers(student, pairs)
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return answers | {"peft": by_peft(student, prompt, pairs, device, quantised)}


def of_reranker(folder: Path, pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """What a reranker's folder gives."""
    import torch
    from sentence_transformers import CrossEncoder
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = CrossEncoder(str(folder), local_files_only=True)
    orders = {"given": pairs, "turned": [(b, a) for a, b in pairs]}
    answers = {name: model.predict(asked, show_progress_bar=False).tolist() for name, asked in orders.items()}
    score = json.loads((folder / "1_LogitScore" / "config.json").read_text("utf-8"))
    chosen = [score["false_token_id"], score["true_token_id"]]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    lm = AutoModelForCausalLM.from_pretrained(folder, dtype="auto").eval()
    with torch.inference_mode():
        logits = [lm(**tokenizer(a, b, return_tensors="pt")).logits[0, -1] for a, b in pairs]
    return answers | {"transformers": [row.float()[chosen].softmax(0)[1].item() for row in logits]}


def main(folder: str, request: str, answer: str) -> None:
    """Answer a request."""
    pairs = [(a, b) for a, b in json.loads(Path(request).read_text("utf-8"))["pairs"]]
    of_folder = of_student if Path(folder, "student.json").is_file() else of_reranker
    answers = of_folder(Path(folder), pairs)
    answers["imported"] = sorted(
        {"pipeline", "flows", "models", "data"} & {n.partition(".")[0] for n in sys.modules}
    )
    Path(answer).write_text(json.dumps(answers), "utf-8")


def end_with_parent() -> None:
    """End this process when standard input ends: whoever started it holds the pipe's other end, and is gone."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=end_with_parent, daemon=True).start()
    main(*sys.argv[1:])
