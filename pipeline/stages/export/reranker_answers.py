"""A program of its own: what a reranker's folder gives in a process that knows nothing of flipkd.

    python -I reranker_answers.py FOLDER REQUEST.json ANSWER.json

The request holds `pairs`. The answer holds lists, one number a pair: `given` and `turned`, by CrossEncoder of
sentence-transformers, of the pairs as they are and the other way round; `transformers`, of the pairs as they are,
one at a time by transformers alone; and `imported`, the packages of flipkd that got in.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path


def main(folder: str, request: str, answer: str) -> None:
    """Answer a request."""
    import torch
    from sentence_transformers import CrossEncoder
    from transformers import AutoModelForCausalLM, AutoTokenizer

    pairs = [(a, b) for a, b in json.loads(Path(request).read_text("utf-8"))["pairs"]]
    model = CrossEncoder(folder, local_files_only=True)
    found = {
        "given": model.predict(pairs, show_progress_bar=False).tolist(),
        "turned": model.predict([(b, a) for a, b in pairs], show_progress_bar=False).tolist(),
    }
    score = json.loads(Path(folder, "1_LogitScore", "config.json").read_text("utf-8"))
    chosen = [score["false_token_id"], score["true_token_id"]]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    lm = AutoModelForCausalLM.from_pretrained(folder, dtype="auto").eval()
    with torch.inference_mode():
        logits = [lm(**tokenizer(a, b, return_tensors="pt")).logits[0, -1] for a, b in pairs]
    found["transformers"] = [row.float()[chosen].softmax(0)[1].item() for row in logits]
    found["imported"] = sorted(
        {"pipeline", "flows", "models", "data"} & {name.partition(".")[0] for name in sys.modules}
    )
    Path(answer).write_text(json.dumps(found), "utf-8")


def end_with_parent() -> None:
    """End this process when standard input ends: whoever started it is gone."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=end_with_parent, daemon=True).start()
    main(*sys.argv[1:])
