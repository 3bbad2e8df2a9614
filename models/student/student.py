"""The student in training: a causal LM with LoRA by peft, read as encoder and as decoder in one pass."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from data.errors import FlipkdError, first_line
from models.loading.soundness import check_loading, check_numbers
from models.loading.weights import SAFE
from models.runtime.device import own_device
from models.runtime.quiet import quiet
from models.student.flipkd_student import QUERIES, PairPrompt, answer_head, pooled, pooling_weights, quantised
from models.student.frozen import Activations, beginning_at, blocks_path
from models.student.lora_linear import LeanLinear
from models.student.sites import adapted_layers, layer_number, linear_layers, select_sites

QUERY = "pooling."  # before a site's name among the tensors of an adapter


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
    read: str = "lora_a"
    turned: str | None = None
    orders: str = "both"
    trust_remote_code: bool = False


@dataclass(frozen=True)
class Batch:
    """Padded prompts. Of n pairs: n prompts of order (a, b), then n of order (b, a). Of n texts: a prompt each.

    Attributes:
        ids, mask: (prompts, tokens). lengths: tokens of each prompt's first text, (prompts,).
        hidden: the prompts' hidden states at the student's cut, (prompts, tokens, width), if they are kept.
        pooled: with them, the pooled inputs of the sites below the cut, (prompts, columns).
    """

    ids: Tensor
    mask: Tensor
    lengths: Tensor
    hidden: Tensor | None = None
    pooled: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        return Batch(*(None if part is None else part.to(device) for part in vars(self).values()))  # type: ignore[arg-type]

    def part(self, rows: Tensor) -> Batch:
        """Some of the prompts, cut to the longest of them."""
        longest = int(self.mask[rows].sum(1).max())
        given = None if self.hidden is None else self.hidden[rows, :longest]
        pooled = None if self.pooled is None else self.pooled[rows]
        return Batch(self.ids[rows, :longest], self.mask[rows, :longest], self.lengths[rows], given, pooled)

    @property
    def tokens(self) -> int:
        """Real tokens, padding not counted."""
        return int(self.mask.sum())


class Student(nn.Module):
    """A peft model whose forward pass gives both views of a batch of pairs.

    Args:
        lm: the peft model. sites: the layers whose A is the encoder, by full name.
        read: `lora_a`, or `hidden` for the last hidden states in place of A's outputs; then there are no sites.
        read_only: those of the sites that only read: their B stays 0, and no gradient goes through them into the
            layers below, so that reading every layer costs no backward pass through every layer.

    Attributes:
        blocks: where the numbered blocks hang.
        similarity_trains_encoder_alone: set by who trains; then no gradient of z goes through a site into what
            is below it: the similarity losses train A of the sites, and nothing else.
        cut: the first block that learns; what is below it never changes (`models.student.frozen`).
        queries: of attention pooling, one for each site, (sites, rank), or (1, width) for hidden states; None
            with any other. At 0, as they begin, attention is the mean.
    """

    queries: nn.Parameter | None

    def __init__(
        self,
        lm: Any,
        sites: Sequence[str],
        prompt: PairPrompt,
        pooling: str,
        read_only: Collection[str] = (),
        read: str = "lora_a",
    ):
        super().__init__()
        self.lm = lm
        self.sites = list(sites)
        self.prompt = prompt
        self.pooling = pooling
        self.read = read
        self.similarity_trains_encoder_alone = False
        self._captured: dict[str, Tensor] = {}
        base = lm.get_base_model()
        self._answers = answer_head(base, prompt.answers)
        learning = [n for n, m in base.named_modules() if hasattr(m, "lora_B") and n not in read_only]
        self.cut = min(map(layer_number, learning))
        self.blocks = blocks_path(learning[0])
        bare = [site for site in self.sites if not hasattr(base.get_submodule(site), "lora_A")]
        if bare:
            raise ValueError(f"peft gives {bare[0]} no adapter of its own; name other modules in sites.modules")
        for site in self.sites:
            layer = base.get_submodule(site)
            layer.lora_A["default"].register_forward_hook(self._keep(site, site in read_only))
            if site in read_only:
                layer.lora_B["default"].weight.requires_grad_(False)
        start = None
        if pooling == "attention":
            width = base.get_input_embeddings().weight.shape[1]
            widths = [width] if read == "hidden" else [len(a) for a in self.encoders()]
            start = nn.Parameter(torch.zeros(len(widths), widths[0], device=lm.device))
        self.register_parameter("queries", start)

    def _keep(self, site: str, read_only: bool):
        def hook(module: Any, args: Any, output: Tensor) -> Tensor:
            self._captured[site] = (
                functional.linear(args[0].detach(), module.weight)
                if self.similarity_trains_encoder_alone
                else output
            )
            return output.detach() if read_only else output

        return hook

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Both views of a batch.

        Returns:
            z, (prompts, width), unit vectors: each prompt's first text, encoded without sight of the second; and
            the answers' logits, (prompts, 2), which mean nothing for a batch of texts.
        """
        base = self.lm.get_base_model()
        below: AbstractContextManager[None] = nullcontext()
        if batch.hidden is not None:
            kept = batch.hidden.to(base.get_input_embeddings().weight.dtype)
            below = beginning_at(base.get_submodule(self.blocks), self.cut, kept)
        with below:
            trunk = base.base_model
            hidden = trunk(input_ids=batch.ids, attention_mask=batch.mask, use_cache=False).last_hidden_state
        return self._pooled(batch, hidden), self._answers(hidden, batch.mask)

    def _pooled(self, batch: Batch, hidden: Tensor) -> Tensor:
        start = len(self.prompt.head)
        read = self.sites if batch.hidden is None else [s for s in self.sites if layer_number(s) >= self.cut]
        outputs = [hidden] if self.read == "hidden" else [self._captured[site] for site in read]
        if torch.is_grad_enabled() and not all(out.requires_grad for out in outputs):
            # Reentrant gradient checkpointing does this, and A would silently learn nothing.
            raise RuntimeError("the encoder's outputs carry no gradient; use non-reentrant gradient checkpointing")
        weights = pooling_weights(batch.ids.shape[1], start, batch.lengths, self.pooling)
        if self.queries is not None and len(outputs) < len(self.queries):
            raise RuntimeError("attention needs the tokens of a site below the cut, and the batch has them pooled")
        parts = pooled(outputs, weights, self.queries)
        if batch.pooled is not None and len(read) < len(self.sites):
            below = self.encoders()[: len(self.sites) - len(read)]
            given = batch.pooled.split([a.shape[1] for a in below], dim=1)
            parts = [functional.linear(x, a) for x, a in zip(given, below, strict=True)] + parts
        return functional.normalize(torch.cat(parts, dim=1), dim=1)

    def encoders(self) -> list[Tensor]:
        """A of every site, in their order: (rank, width of the site's input) each."""
        base = self.lm.get_base_model()
        return [base.get_submodule(site).lora_A["default"].weight for site in self.sites]

    @property
    def may_begin_at_cut(self) -> bool:
        """Whether a batch may begin at the cut: all that it misses below can be kept.

        Sites below it are kept pooled, which attention cannot use: its queries move.
        """
        below = self.queries is not None and any(layer_number(site) < self.cut for site in self.sites)
        return self.cut > 0 and not below

    @property
    def kept_pooling(self) -> str:
        """How what is kept of texts is pooled: attention begins as the mean, and only what it begins with is."""
        return "mean" if self.pooling == "attention" else self.pooling

    def from_cut(self, batch: Batch, kept: Activations, prompts: Sequence[int], texts: np.ndarray) -> Batch:
        """A batch that begins at the cut, with what is kept below it.

        Args:
            prompts: the places of the batch's prompts in `kept`. texts: of each prompt's first text.
        """
        hidden = kept.prompts(prompts, batch.mask.sum(1).tolist())
        return Batch(batch.ids, batch.mask, batch.lengths, hidden, kept.inputs(texts, kept.below(self.cut)))

    def adapter(self) -> dict[str, Tensor]:
        """The adapter's tensors under peft's names, and the queries' under theirs, on the CPU, copied."""
        state = get_peft_model_state_dict(self.lm)
        if self.queries is not None:
            names = ["hidden"] if self.read == "hidden" else self.sites
            state |= {f"{QUERY}{name}": query for name, query in zip(names, self.queries, strict=True)}
        return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in state.items()}

    def load_adapter(self, state: dict[str, Tensor]) -> None:
        """Put back what `adapter` gave."""
        of_peft, of_queries = divided(state)
        set_peft_model_state_dict(self.lm, of_peft)
        if self.queries is not None:
            names = ["hidden"] if self.read == "hidden" else self.sites
            with torch.no_grad():
                self.queries.copy_(torch.stack([of_queries[name] for name in names]))


def divided(adapter: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What `Student.adapter` gave as two files hold it: peft's tensors, and the queries by site."""
    queries = {name.removeprefix(QUERY): value for name, value in adapter.items() if name.startswith(QUERY)}
    return {name: value for name, value in adapter.items() if not name.startswith(QUERY)}, queries


def restored(folder: Path) -> dict[str, Tensor]:
    """What `Student.load_adapter` takes, from an artifact of `distill`."""
    adapter = load_file(folder / "adapter" / "adapter_model.safetensors")
    if (folder / QUERIES).exists():
        adapter |= {f"{QUERY}{name}": value for name, value in load_file(folder / QUERIES).items()}
    return adapter


def build_student(lm: Any, tokenizer: Any, spec: StudentSpec) -> Student:
    """Give a causal LM its adapter and its reading.

    Raises:
        ValueError: a module or site that the model does not have, with those it has.
    """
    layers = linear_layers(lm)
    adapted = adapted_layers(layers, spec.modules, spec.adapted_last_layers)
    sites = []
    if spec.read == "lora_a":
        sites = select_sites(layers, spec.site_modules, spec.site_last_layers)
    read_only = set(sites) - set(adapted)
    lora = LoraConfig(
        task_type="CAUSAL_LM",
        r=spec.rank,
        lora_alpha=spec.alpha,  # type: ignore[arg-type]  # peft takes any number
        lora_dropout=spec.dropout,
        target_modules=[*adapted, *read_only],
    )
    if not getattr(lm, "is_quantized", False):  # peft has layers of its own for those
        lora._register_custom_module({nn.Linear: LeanLinear})
    prompt = PairPrompt(tokenizer, spec.template, spec.answers, spec.max_length, spec.turned, spec.orders)
    with warnings.catch_warnings():  # of what peft asks transformers, which nobody who runs flipkd can change
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        adapted_lm = get_peft_model(lm, lora)
    return Student(adapted_lm, sites, prompt, spec.pooling, read_only, spec.read)


def attention_settings() -> dict[str, str]:
    """Which attention a student trains with, as transformers takes it."""
    # For texts of some dozen tokens on a CPU plain attention is a third faster in training than the fused kernel.
    return {} if torch.cuda.is_available() else {"attn_implementation": "eager"}


def load_base(
    folder: Path, *, trust_remote_code: bool = False, dtype: str = "float32", base: str = "auto"
) -> tuple[Any, Any]:
    """The base model and its tokenizer from a folder.

    Args:
        dtype: of all that is not quantised.
        base: `int8` or `nf4` quantises the linear layers; the model is then on this process's device.

    Raises:
        FlipkdError: weights are missing, of other sizes than the config asks for, or not finite; or bitsandbytes
            is not there, or cannot be used on this machine.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    trusted = {"trust_remote_code": trust_remote_code}
    few_bits = quantised(base, dtype)
    placed = {"device_map": {"": own_device()}} if few_bits else {}
    with quiet():
        loading = {"output_loading_info": True, "ignore_mismatched_sizes": True}
        try:
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                folder, dtype=dtype, **trusted, **attention_settings(), **few_bits, **placed, **SAFE, **loading
            )
        except (ImportError, RuntimeError, ValueError) as error:
            if not few_bits:
                raise
            raise FlipkdError(
                f"distill.base: {base} cannot be had here: {first_line(error)}; take another one, such as bf16"
            ) from error
        lm, report = loaded
        try:
            check_loading(report)
            check_numbers(lm)
        except ValueError as error:
            raise FlipkdError(f"distill.model: {folder} cannot be used as a student: {error}") from None
        return lm, AutoTokenizer.from_pretrained(folder, **trusted)


def text_batch(prompt: PairPrompt, texts: Sequence[list[int]]) -> Batch:
    """A batch of texts alone, from their token ids."""
    ids, mask = prompt.pad([prompt.alone(text) for text in texts])
    return Batch(ids, mask, torch.tensor([len(text) for text in texts]))


def pair_batch(prompt: PairPrompt, first: Sequence[list[int]], second: Sequence[list[int]]) -> Batch:
    """A batch of pairs, from the token ids of n first and n second texts."""
    ids, mask = prompt.pad(prompt.prompts(first, second))
    return Batch(ids, mask, torch.tensor([len(text) for text in (*first, *second)]))
