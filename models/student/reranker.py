"""The student's decoder as a plain model: the adapter merged into its base, read by libraries that know no flipkd.

The folder is sentence-transformers' own `CrossEncoder` of a causal language model. Its tokenizer turns a pair of
texts into the student's prompt, token by token as `PairPrompt` does, so transformers alone reads it too:

    logits = AutoModelForCausalLM.from_pretrained(folder)(**tokenizer(a, b, return_tensors="pt")).logits[0, -1]

and the logits of the two answer words, through a softmax, are the decoder's probability.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import Any, Literal

import torch
from peft import PeftModel
from sentence_transformers import CrossEncoder
from sentence_transformers.base.modules import Transformer
from sentence_transformers.cross_encoder.modules import LogitScore
from tokenizers import Tokenizer, normalizers
from tokenizers.processors import TemplateProcessing
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from data.errors import FlipkdError
from data.modes import obey_umask
from models.runtime.quiet import quiet
from models.student.flipkd_student import DECISION, FlipkdStudent, PairPrompt, base_of, quantised

Dtype = Literal["fp32", "bf16"]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
MEAN = """\
The student asks about a pair in both orders and takes the mean. One call here is one order; for the student's own
number, and half as fast:

```python
(model.predict(pairs) + model.predict([(b, a) for a, b in pairs])) / 2
```
"""
README = Template("""\
---
library_name: sentence-transformers
pipeline_tag: text-ranking
tags: [sentence-transformers, cross-encoder, reranker, text-matching]
---
# A reranker made by flipkd

A causal language model that says whether two texts match: the decoder of a student of flipped knowledge
distillation (arXiv 2507.05617), its LoRA adapter merged into the base. It needs no code of flipkd and no
`trust_remote_code`. Weights: $dtype, $parameters parameters.

```python
from sentence_transformers import CrossEncoder

model = CrossEncoder("reranker")
model.predict([("freeze my card", "cancel my card")])     # probabilities of a match
model.rank("freeze my card", ["Freeze a card", "Cancel a card", "Order a card"], return_documents=True)
```

$orders$threshold
The prompt is `$template`.
The tokenizer writes it around a pair, so transformers alone answers as well:

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer, lm = AutoTokenizer.from_pretrained("reranker"), AutoModelForCausalLM.from_pretrained("reranker")
logits = lm(**tokenizer("freeze my card", "cancel my card", return_tensors="pt")).logits[0, -1]
logits[[$no, $yes]].softmax(0)[1]                         # the answers $answers
```

Texts together longer than $max_length tokens are cut at the longer one. The encoder and the fused score of the
student are not in this folder.
""")


def write_reranker(student: FlipkdStudent, folder: Path, out: Path, dtype: Dtype) -> None:
    """Write the folder.

    Args:
        student: loaded from `folder`.
        out: is made.

    Raises:
        FlipkdError: its tokenizer, or a base with code of its own, cannot be had in a plain folder.
    """
    prompt = student.prompt
    tokenizer = pair_tokenizer(prompt)
    if student.settings.get("trust_remote_code"):
        raise FlipkdError(f"{folder}: its base brings code of its own, which a plain folder cannot hold")
    base, revision = base_of(folder)
    with quiet():
        # Merged in fp32: in bf16 the sum of the two would be rounded where the student's is not.
        held = quantised(student.settings.get("base"), "float32")
        lm: Any = AutoModelForCausalLM.from_pretrained(
            base, revision=revision, dtype=torch.float32, use_safetensors=True, **held
        )
        if held:  # the adapter learned on the rounded weights, so it is they that it is merged into
            lm = lm.dequantize()
        lm = PeftModel.from_pretrained(lm, str(folder)).merge_and_unload()
        lm.config.pad_token_id = tokenizer.pad_token_id
        lm.to(DTYPES[dtype]).save_pretrained(out)
        tokenizer.save_pretrained(out)
        parameters = sum(p.numel() for p in lm.parameters())
        del lm
        # Loaded in the dtype that the folder's config names.
        module = Transformer(str(out), transformer_task="text-generation", model_kwargs={"dtype": "auto"})
        no, yes = prompt.answers
        # The logits' difference through a sigmoid is the softmax over both answers.
        modules = [module, LogitScore(true_token_id=yes, false_token_id=no)]
        model = CrossEncoder(modules=modules, activation_fn=torch.nn.Sigmoid(), device="cpu")
        model.save_pretrained(str(out), create_model_card=False)
    obey_umask(out)
    (out / "README.md").write_text(card(student, folder / DECISION, dtype, parameters), encoding="utf-8")


def card(student: FlipkdStudent, decision: Path, dtype: Dtype, parameters: int) -> str:
    """`README.md` of the folder."""
    prompt, settings = student.prompt, student.settings
    threshold = ""
    if decision.is_file():
        found = json.loads(decision.read_text("utf-8"))["thresholds"].get("decoder")
        if found is not None:
            threshold = f"A pair is called a match from {found:.4g} on (chosen on dev, of the student's number).\n"
    both = prompt.orders == "both" and prompt.turned is None
    one = "A pair is asked about as it is given: the first text is the query, the second the entry.\n"
    if prompt.turned is not None:
        one += "The student takes the mean with another wording for the other order, which is not here.\n"
    return README.substitute(
        dtype=dtype,
        parameters=f"{parameters:,}",
        orders=f"{MEAN if both else one}\n",
        threshold=threshold,
        template=settings["template"].replace("\n", "\\n"),
        no=prompt.answers[0],
        yes=prompt.answers[1],
        answers=" and ".join(f"`{word}`" for word in settings["answers"]),
        max_length=2 * prompt.max_length,
    )


def pair_tokenizer(prompt: PairPrompt) -> PreTrainedTokenizerFast:
    """A tokenizer that makes the student's prompt of a pair of texts, whatever library calls it.

    The prompt's fixed parts are added as others add `[CLS]` and `[SEP]`; each text is tokenized by itself.

    Raises:
        FlipkdError: the student's tokenizer is not one of the `tokenizers` library.
    """
    own = prompt.tokenizer
    backend = getattr(own, "backend_tokenizer", None)
    if backend is None:
        raise FlipkdError(f"the student's tokenizer ({type(own).__name__}) is not one of the `tokenizers` library")
    made = Tokenizer.from_str(backend.to_str())
    made.no_padding()
    made.no_truncation()
    if prompt.lead:
        before = normalizers.Prepend(prompt.lead)
        made.normalizer = normalizers.Sequence([before, made.normalizer]) if made.normalizer else before
    parts = {"<head>": prompt.head, "<middle>": prompt.middle, "<tail>": prompt.tail}
    there = {name: ids for name, ids in parts.items() if ids}

    def template(*names: str) -> list[str]:
        return [name for name in names if name in there or name.startswith("$")]

    made.post_processor = TemplateProcessing(
        single=template("<head>", "$A"),
        pair=template("<head>", "$A", "<middle>", "$B", "<tail>"),
        special_tokens=[
            {"id": name, "ids": list(ids), "tokens": own.convert_ids_to_tokens(list(ids))}
            for name, ids in there.items()
        ],
    )
    given = {name: getattr(own, name) for name in ("bos_token", "eos_token", "unk_token")}
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token=own.convert_ids_to_tokens(prompt.pad_id),
        model_max_length=2 * prompt.max_length + prompt.overhead,
        padding_side="left",  # the answer stands at the last place
        model_input_names=["input_ids", "attention_mask"],
        **{name: token for name, token in given.items() if token is not None},
    )


def wrongly_read(prompt: PairPrompt, pairs: Sequence[tuple[str, str]]) -> tuple[str, str] | None:
    """The first of some pairs of which `pair_tokenizer` makes other tokens than the student's, or None.

    Texts that are cut are passed over: a plain tokenizer cuts the longer of two, the student each for itself.
    """
    tokenizer = pair_tokenizer(prompt)
    for a, b in pairs:
        first, second = prompt.texts([a, b])
        whole = max(len(first), len(second)) < prompt.max_length
        if whole and tokenizer(a, b).input_ids != prompt.pair(first, second):
            return a, b
    return None
