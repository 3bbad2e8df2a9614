"""`student/`: the folder that people load with sentence-transformers or peft, where flipkd is not installed."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from string import Template
from typing import Any

from models.loading.weights import PICKLES
from models.student import flipkd_student

MODULES = [{"idx": 0, "name": "0", "path": "", "type": "flipkd_student.FlipkdStudent"}]
README = Template("""\
---
library_name: sentence-transformers
tags: [sentence-transformers, peft, lora, text-matching, flipped-knowledge-distillation]
---
# A student of flipkd

A LoRA adapter of $base_name that matches texts: LoRA's A, read at $sites sites, is the encoder; the answer
word is the decoder. It learned from a small teacher by flipped knowledge distillation (arXiv 2507.05617).

```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("student", trust_remote_code=True)   # flipkd_student.py in this folder
model.encode(["How do I freeze my card?"])                       # encoder: unit vectors, compare by cosine
model[0].match([("freeze my card", "cancel my card")])           # decoder, encoder, fused; and matches
```

`decision.json` holds the threshold of each score, chosen on dev, and the coefficients of the fusion.

With peft:

```python
from peft import AutoPeftModelForCausalLM
AutoPeftModelForCausalLM.from_pretrained("student")
```

$base_note
""")
LOCAL_BASE = """\
The base model is not on the hub as it was used here, so it travels along in `base/`. sentence-transformers finds
it there wherever this folder is moved. peft goes by `base_model_name_or_path` in `adapter_config.json`, the place
where this folder was made; elsewhere change that line, or use
`PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained("student/base"), "student")`."""

FEW_BITS = """\
The base was held in $base (bitsandbytes) as the student learned, and sentence-transformers loads it so again:
`pip install bitsandbytes`. peft wants to be told (`quantization_config`; `quantised` in `flipkd_student.py` makes
it). Loaded in full, by `model_kwargs={"quantization_config": None}`, the student gives other numbers."""


def assemble(
    folder: Path,
    distilled: Path,
    base: Path,
    *,
    base_name: str,
    revision: str | None,
    final: Path,
    base_is_ours: bool = False,
) -> None:
    """Write everything of `student/` but the decision.

    Args:
        folder: the folder to fill. distilled: the artifact of `distill`.
        base: the base model's folder. base_name: its name, for people.
        revision: the commit of a hub model, which is then named instead of copied; None for a local model.
        final: where `folder` will lie in the end: peft wants the base model's full path.
        base_is_ours: the base is a conversion that nobody edits, so it may be linked instead of copied.
    """
    folder.mkdir(parents=True)
    shutil.copytree(distilled / "adapter", folder, dirs_exist_ok=True)
    shutil.copytree(distilled / "tokenizer", folder, dirs_exist_ok=True)
    shutil.copy2(distilled / flipkd_student.SETTINGS, folder)
    if (distilled / flipkd_student.QUERIES).exists():
        shutil.copy2(distilled / flipkd_student.QUERIES, folder)
    shutil.copy2(Path(flipkd_student.__file__), folder / "flipkd_student.py")
    if revision is None:
        copy = _link_or_copy if base_is_ours else shutil.copy2
        pickles = (f"*{suffix}" for suffix in PICKLES)
        shutil.copytree(base, folder / "base", copy_function=copy, ignore=shutil.ignore_patterns(".*", *pickles))
    _write_json(folder / "modules.json", MODULES)
    _write_json(folder / "config_sentence_transformers.json", {"similarity_fn_name": "cosine", "prompts": {}})
    adapter = json.loads((folder / "adapter_config.json").read_text("utf-8"))
    adapter["base_model_name_or_path"] = base_name.partition("@")[0] if revision else str(final / "base")
    adapter["revision"] = revision
    _write_json(folder / "adapter_config.json", adapter)
    settings = json.loads((folder / flipkd_student.SETTINGS).read_text("utf-8"))
    note = LOCAL_BASE if revision is None else f"The base model is fetched from the hub at commit `{revision}`."
    if "base" in settings:
        note += "\n\n" + FEW_BITS.replace("$base", settings["base"])
    named = base_name if " " in base_name else f"`{base_name}`"
    text = README.substitute(base_name=named, sites=len(settings["sites"]), base_note=note)
    (folder / "README.md").write_text(text, encoding="utf-8")


def set_decision(folder: Path, decision: dict[str, Any]) -> None:
    """Write `decision.json`: `thresholds` by score, and the `fusion`'s intercept and coefficients."""
    _write_json(folder / flipkd_student.DECISION, decision)


def _link_or_copy(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)
    return target


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
