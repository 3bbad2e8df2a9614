"""The student as people load it: a sentence-transformers module in one self-contained file.

This file is copied into every exported `student/` folder, and needs nothing of flipkd there:

    from sentence_transformers import SentenceTransformer
    model = SentenceTransformer("student", trust_remote_code=True)
    model.encode(["How do I freeze my card?"])                       # encoder view
    model[0].match([("freeze my card", "cancel my card")])           # decoder, encoder, fused; and matches
    model[0].search(["How do I freeze my card?"], titles, k=3)       # the best entries of a catalogue

Training uses the same prompts and the same pooling, from here, so that what is measured is what was trained.
"""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import math
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save
from sentence_transformers.base.modules import InputModule
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
from transformers.dynamic_module_utils import get_class_from_dynamic_module

SETTINGS = "student.json"
DECISION = "decision.json"
QUERIES = "pooling.safetensors"


class PairPrompt:
    """Turns pairs of texts into prompts, token by token, so that a text gets the same tokens wherever it stands.

    The template is cut at its places; each part is tokenized apart. A space before a place goes to the text, as
    byte-pair vocabularies hold words with their leading space.

    Args:
        template: holds {a} and {b} once each, {a} first.
        answers: the words for label 0 and label 1; their first tokens must differ.
        max_length: tokens kept of each text.
        turned: another wording for the order (b, a); it begins as the template does, and holds {b} first.
        orders: `both`, or `one` where pairs are asked about as (a, b) alone.
    """

    def __init__(
        self,
        tokenizer: Any,
        template: str,
        answers: Sequence[str],
        max_length: int,
        turned: str | None = None,
        orders: str = "both",
    ):
        head, rest = template.split("{a}")
        middle, tail = rest.split("{b}")
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.lead = " " if head.endswith(" ") else ""
        specials = [
            i for i in tokenizer("").input_ids if i != tokenizer.eos_token_id or i == tokenizer.bos_token_id
        ]
        self.head = specials[:1] + self._ids(head.removesuffix(" "))
        self.middle = self._ids(middle.removesuffix(" "))
        self.tail = self._ids(tail)
        self.turned = None
        if turned is not None:
            middle, tail = turned.partition("{b}")[2].split("{a}")
            self.turned = self._ids(middle.removesuffix(" ")), self._ids(tail)
        self.orders = orders
        self.answers = [self._ids(word)[0] for word in answers]
        if self.answers[0] == self.answers[1]:
            raise ValueError(f"the answers {answers[0]!r} and {answers[1]!r} begin with the same token")
        pad = tokenizer.pad_token_id
        self.pad_id: int = pad if pad is not None else tokenizer.eos_token_id

    def _ids(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False).input_ids if text else []

    def texts(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of texts, each cut at `max_length`."""
        if not texts:
            return []
        ids = self.tokenizer([self.lead + text for text in texts], add_special_tokens=False).input_ids
        return [row[: self.max_length] for row in ids]

    def pair(self, first: list[int], second: list[int]) -> list[int]:
        """The prompt that asks about two texts; the first stands at `len(head)`."""
        return [*self.head, *first, *self.middle, *second, *self.tail]

    def prompts(self, first: Sequence[list[int]], second: Sequence[list[int]]) -> list[list[int]]:
        """What n pairs are read from, 2 n prompts: each pair, then each with its second text first.

        Asked about in one order, the second text stands alone in the latter.
        """
        if self.orders == "one":
            return [*map(self.pair, first, second), *map(self.alone, second)]
        middle, tail = self.turned or (self.middle, self.tail)
        turned = [[*self.head, *b, *middle, *a, *tail] for a, b in zip(first, second, strict=True)]
        return [*map(self.pair, first, second), *turned]

    @property
    def overhead(self) -> int:
        """Tokens of a pair's longest prompt besides its two texts."""
        parts = [(self.middle, self.tail), *([self.turned] if self.turned else [])]
        return len(self.head) + max(len(middle) + len(tail) for middle, tail in parts)

    def answered(self, logits: Tensor) -> Tensor:
        """Of what there is for each prompt, (2 n, ...), that of prompts with an answer: all, or the first n."""
        return logits if self.orders == "both" else logits[: len(logits) // 2]

    def probability(self, logits: Tensor) -> Tensor:
        """The probability of a match, (n,), from the logits of `answered`: the mean of the orders."""
        return logits.softmax(1)[:, 1].view(2 if self.orders == "both" else 1, -1).mean(0)

    def alone(self, text: list[int]) -> list[int]:
        """The beginning of a prompt: all that the first text can see, so its encoding is the same."""
        return [*self.head, *text]

    def pad(self, prompts: Sequence[list[int]]) -> tuple[Tensor, Tensor]:
        """Prompts padded on the right: token ids and attention mask, both (n, longest), int64."""
        longest = max(map(len, prompts))
        ids = torch.full((len(prompts), longest), self.pad_id, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            ids[row, : len(prompt)] = torch.tensor(prompt)
            mask[row, : len(prompt)] = 1
        return ids, mask


def pool(
    outputs: Sequence[Tensor], start: int, lengths: Tensor, pooling: str, queries: Tensor | None = None
) -> Tensor:
    """z(text): the sites' outputs pooled over the text's tokens, concatenated, normalised.

    Args:
        outputs: A x of each site, (n, tokens, rank).
        start: where the text begins in every prompt.
        lengths: its number of tokens, (n,).
        pooling: `mean`, `last` for the text's last token, or `attention` by queries, one a site, (sites, rank).

    Returns:
        (n, sites * rank), unit vectors, float32.
    """
    weights = pooling_weights(outputs[0].shape[1], start, lengths, pooling)
    return functional.normalize(torch.cat(pooled(outputs, weights, queries), dim=1), dim=1)


def pooled(outputs: Sequence[Tensor], weights: Tensor, queries: Tensor | None = None) -> list[Tensor]:
    """Each site's outputs pooled, (n, rank) each, float32; with queries the weights only say where the text is."""
    if queries is None:
        return [weighted(out, weights) for out in outputs]
    inside = weights > 0
    return [weighted(out, attention(out, inside, q.float())) for out, q in zip(outputs, queries, strict=True)]


def attention(output: Tensor, inside: Tensor, query: Tensor) -> Tensor:
    """How much each token counts by a query: softmax over the text's tokens of (A x_t . q) / sqrt(rank).

    (n, tokens) for A x (n, tokens, rank), the text's places (n, tokens) and a query (rank,). A query of 0 gives
    the mean, a text without tokens a row of zeros.
    """
    # A sum of products, not a matrix product, which autocast would compute in bf16.
    scores = (output.to(query.dtype) * query).sum(-1) / math.sqrt(len(query))
    return scores.masked_fill(~inside, torch.finfo(scores.dtype).min).softmax(1) * inside


def pooling_weights(tokens: int, start: int, lengths: Tensor, pooling: str) -> Tensor:
    """How much each token counts in its text's vector, (n, tokens), each row's sum 1; for `attention` the mean."""
    places = torch.arange(tokens, device=lengths.device)
    ends = (start + lengths).unsqueeze(1)
    inside = (places >= start) & (places < ends)
    if pooling == "last":
        inside = places == ends - 1
    return inside.float() / inside.sum(1, keepdim=True).clamp(min=1)


def weighted(output: Tensor, weights: Tensor) -> Tensor:
    """(n, tokens, d) summed over the tokens by (n, tokens) weights: (n, d), float32."""
    return torch.einsum("ntr,nt->nr", output.float(), weights)


class Trunk(nn.Module):
    """Stands for a model's trunk whose work is done: gives on the hidden states that come as `inputs_embeds`."""

    @property
    def decoder(self) -> Trunk:  # OPT's head asks for it
        return self

    def forward(self, *args: Any, inputs_embeds: Tensor, **kwargs: Any) -> Done:
        return Done(inputs_embeds)


class Done:
    """What a head reads of its trunk's output, by name or by place."""

    def __init__(self, hidden: Tensor):
        self.last_hidden_state = hidden

    def __getitem__(self, place: Any) -> Any:
        return self.last_hidden_state if place == 0 else ()

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)


def own_head(lm: Any) -> Callable[[Tensor], Tensor]:
    """The model's own way from last hidden states (n, width) to logits (n, vocabulary), scales and all."""
    head = copy.copy(lm)  # shares its modules with the model, but for the trunk
    head._modules = lm._modules | {lm.base_model_prefix: Trunk()}
    return lambda last: head(inputs_embeds=last.unsqueeze(1), use_cache=False).logits[:, -1]


def answer_head(lm: Any, answers: Sequence[int]) -> Callable[[Tensor, Tensor], Tensor]:
    """How a causal LM's last hidden states become the logits of two answer words.

    Where the head is a plain linear layer no other word is computed; else the model's own head decides, which may
    scale or cap its logits. Which it is, is tried on a vector.

    Returns:
        Hidden states (n, tokens, width) and mask (n, tokens) to (n, 2), float32: label 0, label 1.
    """
    chosen = list(answers)
    linear, own = lm.get_output_embeddings(), own_head(lm)

    def plain(last: Tensor) -> Tensor:
        bias = None if linear.bias is None else linear.bias[chosen]
        return functional.linear(last, linear.weight[chosen], bias)

    def whole(last: Tensor) -> Tensor:
        return own(last)[:, chosen]

    compute = whole
    if type(linear) is nn.Linear:
        width = linear.in_features
        probe = torch.linspace(-3, 3, width, dtype=linear.weight.dtype, device=linear.weight.device).unsqueeze(0)
        with torch.inference_mode():
            try:
                same = torch.allclose(plain(probe).float(), whole(probe).float(), rtol=1e-2, atol=1e-4)
            except (AttributeError, KeyError, TypeError, ValueError, RuntimeError):
                same = True  # its forward pass asks for more than hidden states
        compute = plain if same else whole

    def head(hidden: Tensor, mask: Tensor) -> Tensor:
        last = hidden[torch.arange(len(mask), device=hidden.device), mask.sum(1) - 1]
        return compute(last).float()

    return head


class Enough(Exception):
    """Ends a forward pass of which nothing more is wanted."""


class Pass(threading.local):
    """What one forward pass leaves behind, seen by the thread that runs it alone: several may share a model.

    Attributes:
        kept: site to A x, (n, tokens, rank).
        last: how many sites there are, where the pass ends at the last one; else None.
    """

    def __init__(self) -> None:
        self.kept: dict[str, Tensor] = {}
        self.last: int | None = None


def add_lora(lm: Any, weights: dict[str, Tensor], scaling: float, sites: Sequence[str]) -> Pass:
    """Give linear layers their adapter, h' = W x + scaling B A x, and keep A x of the sites.

    Args:
        weights: peft's names (`base_model.model.<layer>.lora_A.weight`) to tensors.

    Returns:
        What every forward pass fills anew.
    """
    own = Pass()

    def attach(name: str, a: Tensor, b: Tensor) -> None:
        layer = lm.get_submodule(name)
        layer.register_buffer("flipkd_a", a, persistent=False)
        layer.register_buffer("flipkd_b", b, persistent=False)

        def hook(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
            # Read from the module, which may have been moved to another device or precision.
            a, b = module.get_buffer("flipkd_a"), module.get_buffer("flipkd_b")
            low = functional.linear(args[0].to(a.dtype), a)
            if name in sites:
                own.kept[name] = low
                if len(own.kept) == own.last:
                    raise Enough
            return output + (scaling * functional.linear(low, b)).to(output.dtype)

        layer.register_forward_hook(hook)

    suffix, prefix = ".lora_A.weight", "base_model.model."
    for key in [key for key in weights if key.endswith(suffix)]:
        other = key.removesuffix(suffix) + ".lora_B.weight"
        attach(key.removeprefix(prefix).removesuffix(suffix), weights[key], weights[other])
    return own


def base_of(folder: Path) -> tuple[Path | str, str | None]:
    """Where a student's base model lies: in its folder, or on the hub, by name and commit."""
    adapter = json.loads((folder / "adapter_config.json").read_text("utf-8"))
    if (folder / "base").is_dir():
        return folder / "base", None
    return adapter["base_model_name_or_path"], adapter.get("revision")


def quantised(base: str | None, dtype: Any) -> dict[str, Any]:
    """What `from_pretrained` takes for a base that is held in 8 or 4 bits (bitsandbytes); for any other, nothing.

    Args:
        base: `int8` (Dettmers et al., LLM.int8, arXiv 2208.07339) or `nf4` (QLoRA, arXiv 2305.14314, with its
            double quantisation).
        dtype: in which nf4's products are computed.
    """
    if base == "int8":
        # It says at every product that the input becomes float16.
        logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
        return {"quantization_config": BitsAndBytesConfig(load_in_8bit=True)}
    if base != "nf4":
        return {}
    compute = None if dtype == "auto" else dtype
    settings = {"bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True, "bnb_4bit_compute_dtype": compute}
    return {"quantization_config": BitsAndBytesConfig(load_in_4bit=True, **settings)}


class Call:
    """Pickled as a call: what it gives is what is unpickled."""

    def __init__(self, function: Callable[..., Any], *args: Any):
        self.call = function, args

    def __call__(self, *args: Any) -> Any:
        return self.value()(*args)

    def value(self) -> Any:
        """What is unpickled."""
        function, args = self.call
        return function(*(arg.value() if isinstance(arg, Call) else arg for arg in args))

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


class FlipkdStudent(InputModule):
    """A causal LM with a LoRA adapter, read as an encoder (A's outputs) and as a decoder (the answer word).

    Args:
        lm: the base model, without an adapter. tokenizer: its tokenizer.
        weights: the adapter's tensors under peft's names.
        settings: what `student.json` holds: template, answers, max_length, sites, pooling, scaling;
            `turned` and `orders` where the sides differ; `base` where it is held in `int8` or `nf4`.
        decision: what `decision.json` holds: thresholds by score, and the fusion's coefficients.
        queries: what `pooling.safetensors` holds, of attention pooling: site (or `hidden`) to its query.
    """

    save_in_root = True
    queries: Tensor | None

    def __init__(
        self,
        lm: Any,
        tokenizer: Any,
        weights: dict[str, Tensor],
        settings: dict[str, Any],
        decision: dict[str, Any] | None = None,
        folder: Path | None = None,
        queries: dict[str, Tensor] | None = None,
    ):
        super().__init__()
        self.lm = lm.eval()
        self.tokenizer = tokenizer
        self.settings = settings
        self.decision = decision
        self.folder = folder
        self._options: dict[str, Any] = {}  # of `load`
        wording = {name: settings[name] for name in ("turned", "orders") if name in settings}
        self.prompt = PairPrompt(
            tokenizer, settings["template"], settings["answers"], settings["max_length"], **wording
        )
        self._answers = answer_head(self.lm, self.prompt.answers)
        self._pass = add_lora(lm, weights, settings["scaling"], settings["sites"])
        read = ["hidden"] if settings.get("read") == "hidden" else settings["sites"]
        if settings["pooling"] == "attention" and not queries:
            raise ValueError(f"this student pools by attention, and its queries ({QUERIES}) are not given")
        stacked = torch.stack([queries[name] for name in read]).float() if queries else None
        self.register_buffer("queries", stacked, persistent=False)
        ranks = [weights[f"base_model.model.{site}.lora_A.weight"].shape[0] for site in settings["sites"]]
        self._width = sum(ranks) if settings.get("read") != "hidden" else lm.get_input_embeddings().weight.shape[1]

    @classmethod
    def load(cls, model_name_or_path: str, subfolder: str = "", **kwargs: Any) -> FlipkdStudent:  # pyright: ignore
        """Load a `student/` folder, or the same as a repository of the hub.

        The base model's own code, where it has any, runs only if the caller trusts it too (`trust_remote_code`).
        """
        hub = {k: kwargs[k] for k in ("token", "cache_folder", "revision", "local_files_only") if k in kwargs}
        folder = Path(cls.load_dir_path(str(model_name_or_path), subfolder=subfolder, **hub) or model_name_or_path)
        settings = json.loads((folder / SETTINGS).read_text("utf-8"))
        decision = folder / DECISION
        base, revision = base_of(folder)
        # What a folder says of itself is not enough: it may come from anywhere.
        trusted = bool(settings.get("trust_remote_code") and kwargs.get("trust_remote_code"))
        options = {"dtype": settings.get("dtype", "auto"), "use_safetensors": True}
        options |= kwargs.get("model_kwargs") or {}
        options["dtype"] = options.pop("torch_dtype", options["dtype"])  # its older name
        options = quantised(settings.get("base"), options["dtype"]) | options
        lm = AutoModelForCausalLM.from_pretrained(base, revision=revision, trust_remote_code=trusted, **options)
        student = cls(
            lm,
            AutoTokenizer.from_pretrained(folder, trust_remote_code=trusted),
            load_file(folder / "adapter_model.safetensors"),
            settings,
            json.loads(decision.read_text("utf-8")) if decision.exists() else None,
            folder,
            load_file(folder / QUERIES) if settings["pooling"] == "attention" else None,
        )
        student._options = {
            key: kwargs[key] for key in ("model_kwargs", "trust_remote_code", *hub) if key in kwargs
        }
        return student

    def save(self, output_path: str, *args: Any, **kwargs: Any) -> None:
        """Copy the folder that this student was loaded from; a student is not changed by using it."""
        if self.folder is None:
            raise ValueError("this student was not loaded from a folder, so there is nothing to copy")
        shutil.copytree(self.folder, output_path, dirs_exist_ok=True)

    def get_embedding_dimension(self) -> int:
        """Width of the encoder view: the ranks of all sites together."""
        return self._width

    def preprocess(self, inputs: Sequence[Any], prompt: str | None = None, **kwargs: Any) -> dict[str, Any]:
        """Texts as the beginnings of prompts, padded: `input_ids`, `attention_mask`, `text_lengths`."""
        texts = self.prompt.texts([(prompt or "") + str(text) for text in inputs])
        ids, mask = self.prompt.pad([self.prompt.alone(text) for text in texts])
        return {"input_ids": ids, "attention_mask": mask, "text_lengths": torch.tensor([len(t) for t in texts])}

    def forward(self, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Add `sentence_embedding`, (n, width) unit vectors, to the features."""
        given = features["input_ids"], features["attention_mask"], features["text_lengths"]
        features["sentence_embedding"] = self._encode(*given)
        return features

    @torch.inference_mode()
    def match(
        self,
        pairs: Sequence[tuple[str, str]],
        batch_size: int = 32,
        advance: Callable[[float], None] | None = None,
    ) -> dict[str, np.ndarray]:
        """Score pairs of texts, both orders of each in one pass, longest first.

        A student with sides of its own, such as a question and an entry, takes them in the order of its template.

        Args:
            advance: called with the number of pairs done after each batch.

        Returns:
            Arrays (n,) of float32: `decoder` (probability of a match, mean of both orders), `encoder` (cosine),
            and, once the student has a decision, `fused` (probability) and `matches` (bool: `fused` is at or above
            its threshold, which was chosen on dev).
        """
        first = self.prompt.texts([a for a, _ in pairs])
        second = self.prompt.texts([b for _, b in pairs])
        decoder, encoder = np.zeros(len(pairs), np.float32), np.zeros(len(pairs), np.float32)
        device = next(self.lm.parameters()).device
        lengths = [len(a) + len(b) for a, b in zip(first, second, strict=True)]
        for rows in _longest_first(lengths, batch_size):
            a, b = [first[i] for i in rows], [second[i] for i in rows]
            prompts, text_lengths = self.prompt.prompts(a, b), torch.tensor([len(text) for text in (*a, *b)])
            # Texts that stand alone are shorter than pairs: a pass of their own saves their padding.
            asked = len(self.prompt.answered(text_lengths))
            read = []
            for part in (slice(asked), slice(asked, None)):
                if prompts[part]:
                    ids, mask = (tensor.to(device) for tensor in self.prompt.pad(prompts[part]))
                    hidden, z = self._read(ids, mask, text_lengths[part].to(device))
                    if not read:
                        probability = self.prompt.probability(self._answers(hidden, mask))
                        decoder[rows] = probability.cpu().numpy()
                    read.append(z)
            z_a, z_b = torch.cat(read).chunk(2)
            encoder[rows] = (z_a * z_b).sum(1).clamp(-1, 1).cpu().numpy()
            if advance:
                advance(len(rows))
        scores = {"decoder": decoder, "encoder": encoder}
        if self.decision:
            scores["fused"] = fused(decoder, encoder, self.decision["fusion"])
            threshold = self.decision.get("thresholds", {}).get("fused")
            if threshold is not None:
                scores["matches"] = scores["fused"].astype(np.float64) >= threshold
        return scores

    @torch.inference_mode()
    def embed(
        self, texts: Sequence[str], batch_size: int = 32, advance: Callable[[float], None] | None = None
    ) -> np.ndarray:
        """The encoder view of texts, (n, width) unit vectors, float32; longest first.

        Args:
            advance: called with the number of texts done after each batch.
        """
        ids = self.prompt.texts(texts)
        vectors = np.zeros((len(texts), self._width), np.float32)
        device = next(self.lm.parameters()).device
        for rows in _longest_first(list(map(len, ids)), batch_size):
            prompts = [self.prompt.alone(ids[i]) for i in rows]
            tokens, mask = (tensor.to(device) for tensor in self.prompt.pad(prompts))
            lengths = torch.tensor([len(ids[i]) for i in rows], device=device)
            vectors[rows] = self._encode(tokens, mask, lengths).cpu().numpy()
            if advance:
                advance(len(rows))
        return vectors

    def search(
        self,
        queries: Sequence[str],
        entries: Sequence[str],
        k: int = 5,
        *,
        candidates: int = 10,
        index: str | Path | None = None,
        vectors: np.ndarray | None = None,
        batch_size: int = 32,
    ) -> list[list[dict[str, Any]]]:
        """The best entries of a catalogue for each query: ranked by the encoder, the first of them by the decoder.

        Args:
            entries: the texts of the catalogue, one or more.
            k: entries a query.
            candidates: how many of the encoder's first entries the decoder ranks anew; at least `k` are.
            index: a file (.safetensors) that keeps the entries' vectors: written where it is not there or holds
                those of other entries or another student, read where it fits.
            vectors: of the entries, from `index()`, in place of a file.

        Returns:
            For each query at most `k` entries, best first: `entry` (its place in `entries`), `encoder` (cosine),
            `decoder` and, once the student has a decision, `fused` (probabilities) and `matches` (bool: it is good
            enough to be an answer). They stand in the order of `fused`, without it of `decoder`.
        """
        entries = list(entries)
        vectors = self.index(entries, index, batch_size) if vectors is None else vectors
        count = min(max(k, candidates), len(entries))
        cosines = self.embed(queries, batch_size) @ vectors.T
        first = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
        pairs = [(query, entries[n]) for query, row in zip(queries, first, strict=True) for n in row]
        scores = {name: values.reshape(-1, count) for name, values in self.match(pairs, batch_size).items()}
        last = scores["fused" if "fused" in scores else "decoder"]
        found = []
        for row, numbers in enumerate(first):
            best = np.argsort(-last[row], kind="stable")[:k]
            found.append(
                [
                    {"entry": int(numbers[n]), **{name: values[row, n].item() for name, values in scores.items()}}
                    for n in best
                ]
            )
        return found

    def index(
        self,
        entries: Sequence[str],
        path: str | Path | None = None,
        batch_size: int = 32,
        advance: Callable[[float], None] | None = None,
    ) -> np.ndarray:
        """The vectors of a catalogue's entries, (n, width), from a file that fits, or computed and kept in it."""
        if path is None:
            return self.embed(entries, batch_size, advance)
        path, digest = Path(path), self._digest(entries)
        if path.is_file():
            with safe_open(path, "numpy") as file:
                if (file.metadata() or {}).get("digest") == digest:
                    return file.get_tensor("entries")
        vectors = self.embed(entries, batch_size, advance)
        waiting = path.with_name(f".{path.name}.{os.getpid()}")
        # Not by `save_file`, which lets nobody but the owner read.
        waiting.write_bytes(save({"entries": torch.from_numpy(vectors)}, {"digest": digest}))
        waiting.replace(path)
        return vectors

    def _digest(self, entries: Sequence[str]) -> str:
        """Of the entries and of what their vectors depend on."""
        told = [list(entries), self.settings, self.lm.config.to_dict(), str(next(self.lm.parameters()).dtype)]
        total = hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode(errors="surrogatepass"))
        kept = dict(self.named_buffers())  # A and B of each site, and the pooling's queries
        for name in sorted(name for name in kept if "flipkd_" in name or name == "queries"):
            if kept[name] is not None:
                total.update(kept[name].float().cpu().numpy().tobytes())
        return total.hexdigest()

    def _read(self, ids: Tensor, mask: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """One pass: the last hidden states (n, tokens, hidden width), and z of the first texts (n, width)."""
        hidden = self.lm.base_model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        kept, self._pass.kept = self._pass.kept, {}
        return hidden, self._pool([hidden] if self._reads_hidden else self._of_sites(kept), lengths)

    def _encode(self, ids: Tensor, mask: Tensor, lengths: Tensor) -> Tensor:
        """z of the texts alone, (n, width): nothing above the last site is computed."""
        if self._reads_hidden or hasattr(self.lm, "hf_device_map"):  # accelerate moves layers after they are done
            return self._read(ids, mask, lengths)[1]
        self._pass.kept, self._pass.last = {}, len(self.settings["sites"])
        try:
            self.lm.base_model(input_ids=ids, attention_mask=mask, use_cache=False)
        except Enough:
            pass
        finally:
            kept, self._pass.kept, self._pass.last = self._pass.kept, {}, None
        return self._pool(self._of_sites(kept), lengths)

    @property
    def _reads_hidden(self) -> bool:
        return self.settings.get("read") == "hidden"

    def _of_sites(self, kept: dict[str, Tensor]) -> list[Tensor]:
        return [kept[site] for site in self.settings["sites"]]

    def _pool(self, outputs: Sequence[Tensor], lengths: Tensor) -> Tensor:
        return pool(outputs, len(self.prompt.head), lengths, self.settings["pooling"], self.queries)

    def __reduce__(self) -> tuple[Any, ...]:
        """To another process goes the folder, which it loads again, and not half a gigabyte of weights."""
        if self.folder is None:
            raise TypeError("this student was not loaded from a folder, so another process cannot load it")
        # By name, through transformers: the process may never have imported this file.
        cls = Call(get_class_from_dynamic_module, f"{Path(__file__).stem}.{type(self).__name__}", str(self.folder))
        parameter = next(self.lm.parameters())
        placed = (str(parameter.device), parameter.dtype)
        return Call(getattr, cls, "restored"), (str(self.folder), self._options, placed)

    @classmethod
    def restored(cls, folder: str, options: dict[str, Any], placed: tuple[str, torch.dtype]) -> FlipkdStudent:
        """The student that was pickled."""
        return cls.load(folder, **options).to(*placed)


def _longest_first(lengths: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """Rows in batches of like length, the longest first: memory is at its peak at the start."""
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    for begin in range(0, len(order), batch_size):
        yield order[begin : begin + batch_size]


def fused(decoder: np.ndarray, encoder: np.ndarray, fusion: dict[str, float]) -> np.ndarray:
    """The fused probability, sigmoid(intercept + w_d logit(decoder) + w_e encoder), float32.

    The decoder's probability is kept 1e-6 away from 0 and 1, where its logit is infinite.
    """
    p = np.clip(decoder.astype(np.float64), 1e-6, 1 - 1e-6)
    score = fusion["intercept"] + fusion["decoder"] * np.log(p / (1 - p)) + fusion["encoder"] * encoder
    return (1 / (1 + np.exp(-np.clip(score, -math.log(1e300), math.log(1e300))))).astype(np.float32)
