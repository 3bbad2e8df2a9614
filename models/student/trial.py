"""A student tried on two pairs before anything is trained: that its numbers are what they seem.

The names of layers do not say whether a model adds positions or scales a second time, scales its logits, reads in
both directions or answers differently beside padding. Two padded pairs, sent through in every way that flipkd
knows, do: where two ways give different numbers the model is refused, or the short cut is not taken.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data.errors import first_line
from models.student.flipkd_student import add_lora, answer_head, pool
from models.student.frozen import read_activations, write_activations
from models.student.student import Batch, Student, divided, pair_batch, text_batch

TEXTS = (
    "how do i freeze my card",
    "block it",
    "what is the right dose for a child of two years and a half",
    "dose of a child",
)
FIRST, SECOND = np.array([0, 2]), np.array([1, 3])
# Of the largest number that is compared; bf16 has three digits.
TOLERANCE, COARSE_TOLERANCE = 1e-3, 0.05
_SPREAD = 0.02  # of B, which is 0 before training and would hide what goes through it


@dataclass(frozen=True)
class Trial:
    """What came of it.

    Attributes:
        problem: why the model cannot be a student, in words; None if it can.
        kept: why activations below the adapters must not be kept; None if they may, or nothing lies below.
    """

    problem: str | None = None
    kept: str | None = None


def try_student(student: Student) -> Trial:
    """Send two pairs through a new student in every way that flipkd knows. It stays as it was.

    Args:
        student: every B at 0.
    """
    before, training = student.adapter(), student.training
    student.eval()
    ids = student.prompt.texts(TEXTS)
    first, second = [ids[i] for i in FIRST], [ids[i] for i in SECOND]
    device = next(student.lm.parameters()).device
    pairs = pair_batch(student.prompt, first, second).to(device)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="flipkd-trial-") as scratch,
            torch.autocast(device.type, torch.bfloat16, enabled=_is_coarse(student) and device.type == "cuda"),
        ):
            kept, why = _kept(student, ids, pairs, Path(scratch) / "kept", device)
            _spread(student)
            problem = next(filter(None, _problems(student, pairs, first)), None)
            if problem is None and kept is not None:
                with torch.no_grad():
                    both = zip(student(kept), student(pairs), strict=True)
                    why = _differ(student, "with and without kept activations", *both)
    finally:
        student.load_adapter(before)
        student.zero_grad(set_to_none=True)
        student.train(training)
    return Trial(problem, why)


def _problems(student: Student, pairs: Batch, first: list[list[int]]) -> Iterator[str | None]:
    yield _said(lambda: _answers(student, pairs), "it cannot answer two padded prompts")
    yield _said(lambda: _alone(student, pairs, first), "it cannot encode a text alone")
    yield _said(lambda: _gradients(student, pairs), "no gradient reaches its adapters")
    yield _said(lambda: _exported(student, pairs), "it cannot be read as it will be exported")


def _said(what: Callable[[], str | None], otherwise: str) -> str | None:
    """Each model type raises errors of its own; here they become one sentence."""
    try:
        return what()
    except Exception as error:
        return f"{otherwise}: {first_line(error)}"


def _answers(student: Student, pairs: Batch) -> str | None:
    """Logits of the answers, and each prompt by itself, against the model's own."""
    base = student.lm.get_base_model()
    with torch.no_grad():
        _, logits = student(pairs)
        last = pairs.mask.sum(1) - 1
        own = base(input_ids=pairs.ids, attention_mask=pairs.mask, use_cache=False).logits
        own = own[torch.arange(len(last), device=own.device), last][:, student.prompt.answers].float()
        alone = torch.cat(
            [student(pairs.part(torch.tensor([row], device=last.device)))[1] for row in range(len(last))]
        )
    return _differ(student, "by its own head and by flipkd's reading of it", (logits, own)) or _differ(
        student, "beside padding and alone", (logits, alone)
    )


def _alone(student: Student, pairs: Batch, first: list[list[int]]) -> str | None:
    """A text's vector in a prompt and by itself: what stands behind it must not be seen."""
    with torch.no_grad():
        z, _ = student(pairs)
        alone, _ = student(text_batch(student.prompt, first).to(pairs.ids.device))
    return _differ(student, "for a text in a prompt and for the text alone", (z[: len(first)], alone))


def _gradients(student: Student, pairs: Batch) -> str | None:
    """Every matrix that learns gets a gradient."""
    z, logits = student(pairs)
    weights = torch.linspace(-1, 1, z.numel(), device=z.device).view_as(z)
    ((z * weights).sum() + logits[:, 1].sum() - logits[:, 0].sum()).backward()
    learning = {name: p for name, p in student.named_parameters() if p.requires_grad and name != "queries"}
    without = [name for name, p in learning.items() if p.grad is None or not p.grad.isfinite().all()]
    # An expert that no token was sent to learns nothing from them.
    silent = [name for name, p in learning.items() if p.grad is not None and not p.grad.any()]
    if without:
        return f"{len(without)} of {len(learning)} matrices of its adapters get no gradient: {without[0]}"
    if len(silent) == len(learning):
        return "all gradients of its adapters are 0"
    return None


def _exported(student: Student, pairs: Batch) -> str | None:
    """The student as it is trained against the reading that travels with it."""
    frozen = {id(p): p for p in student.lm.parameters() if not p.requires_grad}  # shared, and so not copied
    plain = copy.deepcopy(student.lm, frozen).unload()
    weights, _ = divided(student.adapter())
    peft = student.lm.peft_config["default"]
    passed = add_lora(plain, weights, peft.lora_alpha / peft.r, student.sites)
    with torch.no_grad():
        z, logits = student(pairs)
        hidden = plain.base_model(
            input_ids=pairs.ids, attention_mask=pairs.mask, use_cache=False
        ).last_hidden_state
        outputs = [hidden] if student.read == "hidden" else [passed.kept[site] for site in student.sites]
        read = pool(outputs, len(student.prompt.head), pairs.lengths, student.pooling, student.queries)
        answers = answer_head(plain, student.prompt.answers)(hidden, pairs.mask)
    return _differ(student, "as it is trained and as it is exported", (z, read), (logits, answers))


def _kept(
    student: Student, ids: list[list[int]], pairs: Batch, folder: Path, device: torch.device
) -> tuple[Batch | None, str | None]:
    """The batch with what lies below the adapters kept, as training reads it; or why there is none."""
    if not student.may_begin_at_cut:
        return None, None
    base = student.lm.get_base_model()
    try:
        write_activations(
            base,
            student.prompt,
            student.sites,
            student.blocks,
            student.cut,
            student.kept_pooling,
            ids,
            FIRST,
            SECOND,
            folder,
        )
        kept = read_activations(base, student.sites, folder)
        texts = np.concatenate([FIRST, SECOND])
        batch = student.from_cut(pairs, kept, range(len(texts)), texts).to(device)
        with torch.no_grad():
            student(batch)
    except Exception as error:
        return None, f"what lies below the adapters cannot be kept: {first_line(error)}"
    return batch, None


@torch.no_grad()
def _spread(student: Student) -> None:
    """Give every B that learns small numbers, the same in every trial."""
    draw = torch.Generator().manual_seed(0)
    settings = student.lm.peft_config["default"]
    spread = _SPREAD / max(settings.lora_alpha / settings.r, 1.0)
    for name, parameter in student.named_parameters():
        if "lora_B" in name and parameter.requires_grad:
            values = torch.randn(parameter.shape, generator=draw) * spread
            parameter.copy_(values.to(parameter.device, parameter.dtype))


def _is_coarse(student: Student) -> bool:
    return any(parameter.dtype != torch.float32 for parameter in student.lm.parameters())


def _differ(student: Student, ways: str, *compared: tuple[Tensor, Tensor]) -> str | None:
    """What is said where two ways give different numbers."""
    tolerance = COARSE_TOLERANCE if _is_coarse(student) else TOLERANCE
    for one, other in compared:
        limit = tolerance * max(1.0, float(other.abs().max()))
        worst = float((one.float() - other.float()).abs().max())
        if not worst <= limit:  # NaN is no agreement
            return f"its numbers {ways} differ by {worst:.2g}"
    return None
