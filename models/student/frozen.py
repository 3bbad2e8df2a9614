"""What the blocks below the adapters compute never changes: computed once, kept in files, read by every step.

With adapters on the last k blocks alone, a prompt's hidden states at block `cut` (the first one that learns), and
the inputs of every site below it, are the same in every epoch, seed and variant. Two things are kept:

- for each prompt, its hidden states where block `cut` begins, a row a token;
- for each text, the inputs of every site, pooled over its tokens. A is linear, so pool(A x) = A pool(x), and a
  site below the cut costs one small product a text. As long as every B is 0, as it is at the start, that holds
  for the sites above the cut as well: A alone can be trained on these vectors in seconds.

The files are .npy arrays, memory-mapped: a training set need not fit into memory.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from data.arrays import create_array
from models.student.batching import token_batches
from models.student.flipkd_student import PairPrompt, pooling_weights, weighted
from models.student.sites import layer_number

HIDDEN, POOLED, STARTS = "hidden.npy", "pooled.npy", "starts.npy"


@dataclass(frozen=True)
class Activations:
    """What is kept of some texts and pairs.

    Attributes:
        columns: site to its columns in `pooled`.
        pooled: (texts, columns), float32: each site's input, pooled over the text alone. None without sites.
        hidden: (tokens, width), float32: the prompts' hidden states at the cut, one prompt after the other; first
            the pairs in order (a, b), then in order (b, a), then each text that stands in no pair, alone. None
            where nothing lies below the cut.
        starts: where each prompt begins in `hidden`, (2 pairs + unpaired texts + 1,).
    """

    columns: dict[str, slice]
    pooled: np.ndarray | None
    hidden: np.ndarray | None
    starts: np.ndarray

    def below(self, cut: int) -> int:
        """How many of the columns belong to sites below a block: they stand first."""
        return max((part.stop for site, part in self.columns.items() if layer_number(site) < cut), default=0)

    def inputs(self, texts: np.ndarray, columns: int | None = None) -> Tensor:
        """Some texts' rows of `pooled`, (n, columns); the first so many columns, or all."""
        if self.pooled is None:
            return torch.zeros(len(texts), 0)
        return torch.from_numpy(np.array(self.pooled[texts, :columns]))

    def prompts(self, numbers: Sequence[int], lengths: Sequence[int]) -> Tensor:
        """Hidden states of the beginnings of some prompts, (prompts, longest, width), zeros behind their ends."""
        if self.hidden is None:
            raise ValueError("nothing is kept below the cut")
        out = torch.zeros(len(numbers), max(lengths), self.hidden.shape[1])
        for row, (number, length) in enumerate(zip(numbers, lengths, strict=True)):
            begin = self.starts[number]
            out[row, :length] = torch.from_numpy(np.array(self.hidden[begin : begin + length]))
        return out


def blocks_path(site: str) -> str:
    """Where the numbered blocks of a model hang: `model.layers` for `model.layers.3.self_attn.q_proj`."""
    return site[: site.index(f".{layer_number(site)}.")]


class _Given(nn.Module):
    """Stands for a block whose work is done already."""

    def __init__(self, hidden: Tensor):
        super().__init__()
        self.hidden = hidden

    def forward(self, *_args: Any, **_kwargs: Any) -> Tensor:
        return self.hidden


@contextmanager
def beginning_at(blocks: nn.ModuleList, cut: int, hidden: Tensor) -> Iterator[None]:
    """Forward passes inside it begin at block `cut`, with these hidden states in place of what lies below.

    The blocks keep their places, for models whose blocks differ by their number (sliding attention, say). What
    such a model does to its embeddings before the first block (positions, a scale) goes nowhere.
    """
    below = list(blocks[:cut])
    for number in range(cut):
        blocks[number] = _Given(hidden)
    try:
        yield
    finally:
        for number, block in enumerate(below):
            blocks[number] = block


@torch.inference_mode()
def write_activations(
    lm: Any,
    prompt: PairPrompt,
    sites: Sequence[str],
    blocks: str,
    cut: int,
    pooling: str,
    texts: Sequence[list[int]],
    first: np.ndarray,
    second: np.ndarray,
    folder: Path,
    *,
    keep_hidden: bool = True,
    batch_tokens: int = 4096,
    advance: Callable[[float], None] | None = None,
) -> None:
    """Run every text, and every pair's prompts, through the untouched model once, and keep what it computes.

    A text that stands in no pair is a prompt of its own.

    The folder appears when it is complete.

    Args:
        lm: the causal LM, every B at 0.
        sites: full names of the layers whose inputs are kept. blocks: where the numbered blocks
            hang. cut: the first block that learns.
        pooling: `mean` or `last`, over the text's tokens.
        texts: token ids. first, second: rows of `texts`, (n,).
        keep_hidden: whether the prompts' hidden states at the cut are kept too.
        batch_tokens: of one forward pass, padding counted.
        advance: called with the number of tokens done.
    """
    temporary = folder.with_name(f".{folder.name}.writing")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    lm.eval()
    if sites:
        _write_pooled(lm, prompt, sites, pooling, texts, temporary / POOLED, batch_tokens, advance)
    halves = ([texts[i] for i in side] for side in (first, second))
    unpaired = [texts[i] for i in unpaired_texts(len(texts), first, second)]
    prompts = [*prompt.prompts(*halves), *map(prompt.alone, unpaired)]
    starts = np.concatenate([[0], np.cumsum([len(ids) for ids in prompts])]).astype(np.int64)
    np.save(temporary / STARTS, starts, allow_pickle=False)
    if keep_hidden and cut > 0:
        _write_hidden(lm, prompt, f"{blocks}.{cut}", prompts, starts, temporary / HIDDEN, batch_tokens, advance)
    shutil.rmtree(folder, ignore_errors=True)
    temporary.replace(folder)


def unpaired_texts(count: int, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Of so many texts the rows of those that stand in no pair, in order: that of their prompts."""
    return np.setdiff1d(np.arange(count), np.concatenate([first, second]))


Advance = Callable[[float], None] | None


def _write_pooled(
    lm: Any,
    prompt: PairPrompt,
    sites: Sequence[str],
    pooling: str,
    texts: Sequence[list[int]],
    path: Path,
    batch_tokens: int,
    advance: Advance,
) -> None:
    widths = _input_widths(lm, sites)
    pooled = create_array(path, (len(texts), sum(widths)))
    alone = [prompt.alone(text) for text in texts]
    with _inputs(lm, sites) as seen:
        for rows in token_batches([len(ids) for ids in alone], batch_tokens):
            mask = _forward(lm, prompt, [alone[i] for i in rows], advance)
            lengths = torch.tensor([len(texts[i]) for i in rows], device=mask.device)
            weights = pooling_weights(mask.shape[1], len(prompt.head), lengths, pooling)
            pooled[rows] = torch.cat([weighted(seen[site], weights) for site in sites], dim=1).cpu().numpy()


def _write_hidden(
    lm: Any,
    prompt: PairPrompt,
    block: str,
    prompts: Sequence[list[int]],
    starts: np.ndarray,
    path: Path,
    batch_tokens: int,
    advance: Advance,
) -> None:
    hidden = create_array(path, (int(starts[-1]), lm.get_input_embeddings().weight.shape[1]))
    with _inputs(lm, [block], stop_at=block) as seen:
        for rows in token_batches(np.diff(starts).tolist(), batch_tokens):
            _forward(lm, prompt, [prompts[i] for i in rows], advance)
            states = seen[block].float().cpu().numpy()
            for row, number in enumerate(rows):
                begin, end = starts[number], starts[number + 1]
                hidden[begin:end] = states[row, : end - begin]


def _forward(lm: Any, prompt: PairPrompt, prompts: Sequence[list[int]], advance: Advance) -> Tensor:
    """Run some prompts, as far as anybody wants to see; returns their mask."""
    device = next(lm.parameters()).device
    ids, mask = (tensor.to(device) for tensor in prompt.pad(prompts))
    with suppress(_Reached):
        lm.base_model(input_ids=ids, attention_mask=mask, use_cache=False)
    if advance:
        advance(int(mask.sum()))
    return mask


def read_activations(lm: Any, sites: Sequence[str], folder: Path) -> Activations:
    """What `write_activations` kept, memory-mapped; `sites` as there."""
    ends = np.cumsum(_input_widths(lm, sites)).tolist()
    columns = {site: slice(begin, end) for site, begin, end in zip(sites, [0, *ends], ends, strict=False)}

    def load(name: str) -> np.ndarray | None:
        path = folder / name
        return np.load(path, mmap_mode="r", allow_pickle=False) if path.exists() else None

    return Activations(columns, load(POOLED), load(HIDDEN), np.load(folder / STARTS, allow_pickle=False))


def _input_widths(lm: Any, sites: Sequence[str]) -> list[int]:
    """By A, (rank, width): the layer's own weight lies the other way round in GPT-2."""
    return [lm.get_submodule(site).lora_A["default"].weight.shape[1] for site in sites]


class _Reached(Exception):  # no error: the rest of the forward pass is not needed
    pass


@contextmanager
def _inputs(lm: Any, names: Sequence[str], stop_at: str | None = None) -> Iterator[dict[str, Tensor]]:
    """Keep the inputs of some modules in a dictionary that every forward pass fills anew."""
    seen: dict[str, Tensor] = {}

    def keep(name: str, x: Tensor) -> None:
        seen[name] = x
        if name == stop_at:
            raise _Reached

    with inputs_shown(lm, names, keep):
        yield seen


@contextmanager
def inputs_shown(lm: Any, names: Sequence[str], look: Callable[[str, Tensor], None]) -> Iterator[None]:
    """Call `look` with a module's name and its input, for some modules, whenever one runs inside the block."""

    def looking(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            look(name, args[0] if args else kwargs.get("hidden_states", next(iter(kwargs.values()))))

        return hook

    hooks = [lm.get_submodule(name).register_forward_pre_hook(looking(name), with_kwargs=True) for name in names]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
