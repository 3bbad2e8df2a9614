"""The student in training: a causal LM with LoRA by peft, read as encoder and as decoder in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from torch import Tensor, nn

from models.flipkd_student import PairPrompt, answer_logits, pool
from models.sites import adapted_layers, linear_layers, select_sites


@dataclass(frozen=True)
class StudentSpec:
    """What a student is, besides its base model. All lengths in tokens."""

    template: str
    answers: tuple[str, str]
    max_length: int
    rank: int
    alpha: float
    dropout: float
    modules: list[str] | str
    adapted_last_layers: int | None
    site_modules: list[str]
    site_last_layers: int | None
    pooling: str
    trust_remote_code: bool = False


@dataclass(frozen=True)
class PairBatch:
    """Pairs as padded prompts: n of order (a, b), then n of order (b, a).

    Attributes:
        ids, mask: (2 n, tokens). lengths: tokens of each prompt's first text, (2 n,).
    """

    ids: Tensor
    mask: Tensor
    lengths: Tensor

    def to(self, device: torch.device) -> PairBatch:
        return PairBatch(self.ids.to(device), self.mask.to(device), self.lengths.to(device))

    @property
    def tokens(self) -> int:
        """Real tokens, padding not counted."""
        return int(self.mask.sum())


class Student(nn.Module):
    """A peft model whose forward pass gives both views of a batch of pairs."""

    def __init__(self, lm: Any, sites: Sequence[str], prompt: PairPrompt, pooling: str):
        super().__init__()
        self.lm = lm
        self.sites = list(sites)
        self.prompt = prompt
        self.pooling = pooling
        self._captured: dict[str, Tensor] = {}
        base = lm.get_base_model()
        for site in self.sites:
            base.get_submodule(site).lora_A["default"].register_forward_hook(self._keep(site))

    def _keep(self, site: str):
        def hook(_module: nn.Module, _args: Any, output: Tensor) -> None:
            self._captured[site] = output

        return hook

    def forward(self, batch: PairBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Both views of a batch.

        Returns:
            z_a (n, width) and z_b (n, width), unit vectors, each encoded without sight of the other text; and the
            answers' logits (2 n, 2), order (a, b) first.
        """
        base = self.lm.get_base_model()
        hidden = base.base_model(input_ids=batch.ids, attention_mask=batch.mask, use_cache=False).last_hidden_state
        outputs = [self._captured[site] for site in self.sites]
        if torch.is_grad_enabled() and not all(out.requires_grad for out in outputs):
            # Reentrant gradient checkpointing does this, and A would silently learn nothing.
            raise RuntimeError("the encoder's outputs carry no gradient; use non-reentrant gradient checkpointing")
        z = pool(outputs, len(self.prompt.head), batch.lengths, self.pooling)
        half = len(z) // 2
        return z[:half], z[half:], answer_logits(base, hidden, batch.mask, self.prompt.answers)

    def adapter(self) -> dict[str, Tensor]:
        """The adapter's tensors under peft's names, on the CPU, copied."""
        state = get_peft_model_state_dict(self.lm)
        return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in state.items()}

    def load_adapter(self, state: dict[str, Tensor]) -> None:
        """Put back what `adapter` gave."""
        set_peft_model_state_dict(self.lm, state)


def build_student(lm: Any, tokenizer: Any, spec: StudentSpec) -> Student:
    """Give a causal LM its adapter and its reading.

    Raises:
        ValueError: a module or site that the model does not have, with those it has.
    """
    layers = linear_layers(lm)
    adapted = adapted_layers(layers, spec.modules, spec.adapted_last_layers)
    sites = select_sites(adapted, spec.site_modules, spec.site_last_layers)
    lora = LoraConfig(
        task_type="CAUSAL_LM",
        r=spec.rank,
        lora_alpha=spec.alpha,  # type: ignore[arg-type]  # peft takes any number
        lora_dropout=spec.dropout,
        target_modules=adapted,
    )
    prompt = PairPrompt(tokenizer, spec.template, spec.answers, spec.max_length)
    return Student(get_peft_model(lm, lora), sites, prompt, spec.pooling)


def load_base(folder: Path, *, trust_remote_code: bool = False, dtype: str = "float32") -> tuple[Any, Any]:
    """The base model and its tokenizer from a folder."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    # For texts of some dozen tokens on a CPU plain attention is a third faster in training than the fused kernel.
    attention = {} if torch.cuda.is_available() else {"attn_implementation": "eager"}
    lm = AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype, trust_remote_code=trust_remote_code, **attention
    )
    return lm, AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code)


def make_batch(prompt: PairPrompt, first: Sequence[list[int]], second: Sequence[list[int]]) -> PairBatch:
    """A batch from the token ids of n first and n second texts."""
    prompts = [*map(prompt.pair, first, second), *map(prompt.pair, second, first)]
    ids, mask = prompt.pad(prompts)
    return PairBatch(ids, mask, torch.tensor([len(text) for text in (*first, *second)]))
