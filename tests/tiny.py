"""Tiny models that tests build on the spot: real architectures, random weights, no download."""

from __future__ import annotations

import shutil
import string
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import BertConfig

    from pipeline.config.config import Config

WORDS = """
how do i can the a an my your is are to of in on for card money bank account freeze cancel block lost stolen pay
payment loan rate transfer open close doctor pain dose pill headache fever sleep what when where why not
"""


def tiny_teacher(folder: Path, seed: int = 0, width: int = 32) -> Path:
    """Save a sentence-transformers bi-encoder: BERT of 2 layers, 32 wide, 64 positions, mean pooling.

    Its weights are random but the same in every call with one seed; its vectors differ from text to text.
    """
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertModel, BertTokenizer

    from models.runtime.quiet import quiet

    vocabulary = _vocabulary()
    base = folder.with_name(f".{folder.name}.base")
    tokenizer = BertTokenizer(vocab=vocabulary)
    config = _bert(len(vocabulary), width)
    with torch.random.fork_rng(), quiet():
        torch.manual_seed(seed)
        BertModel(config).save_pretrained(base)
        tokenizer.save_pretrained(base)
        transformer = Transformer(str(base))
        transformer.max_seq_length = 64
        pooling = Pooling(transformer.get_embedding_dimension(), pooling_mode="mean")
        teacher = SentenceTransformer(modules=[transformer, pooling], device="cpu")
        teacher.save_pretrained(str(folder), create_model_card=False)
    shutil.rmtree(base)
    return folder


def tiny_cross_encoder(folder: Path, seed: int = 0, outputs: int = 1) -> Path:
    """Save a sentence-transformers cross-encoder: the same BERT with a head, random weights, 64 positions."""
    import torch
    from sentence_transformers import CrossEncoder
    from transformers import BertForSequenceClassification, BertTokenizer

    from models.runtime.quiet import quiet

    vocabulary = _vocabulary()
    config = _bert(len(vocabulary), 32)
    config.num_labels = outputs
    base = folder.with_name(f".{folder.name}.base")
    with torch.random.fork_rng(), quiet():
        torch.manual_seed(seed)
        BertForSequenceClassification(config).save_pretrained(base)
        BertTokenizer(vocab=vocabulary).save_pretrained(base)
        CrossEncoder(str(base), device="cpu", max_length=64).save_pretrained(str(folder), create_model_card=False)
    shutil.rmtree(base)
    return folder


def _vocabulary() -> dict[str, int]:
    letters = string.ascii_lowercase + string.digits + ".,?!'"
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = dict.fromkeys([*special, *WORDS.split(), *letters, *(f"##{letter}" for letter in letters)])
    return {piece: number for number, piece in enumerate(pieces)}


def _bert(pieces: int, width: int) -> BertConfig:
    from transformers import BertConfig

    return BertConfig(
        vocab_size=pieces,
        hidden_size=width,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.3,  # the usual 0.02 puts all texts of an untrained model in one spot
    )


def tiny_student(folder: Path, layers: int = 2) -> Path:
    """A Llama of two layers and width 32 with a byte-level BPE vocabulary, saved as a model folder."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=["<s>", "</s>"], initial_alphabet=alphabet)
    tokenizer.train_from_iterator([" yes no the card lost frozen fever child dose same text"] * 20, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="</s>")
    config = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


def tiny_pairs(path: Path, ids: int = 40) -> Path:
    """A CSV of labelled pairs, two for each `group`: a paraphrase, and a question that differs in one word."""
    import csv
    import random

    words = [word for word in WORDS.split() if len(word) > 2]
    draw = random.Random(0)
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["question", "text_a", "text_b", "label"])
        for number in range(ids):
            chosen = draw.sample(words, 6)
            text = " ".join(chosen)
            shuffled = " ".join([*chosen[3:], *chosen[:3]])
            other = " ".join([*draw.sample(words, 4), *chosen[:2]])
            out.writerow([number, f"{text} {number}", f"{shuffled} {number}", 1])
            out.writerow([number, f"{text} {number}", f"{other} {number}", 0])
    return path


def tiny_faq(path: Path, entries: int = 12, queries: int = 6) -> Path:
    """A CSV of queries beside a catalogue's titles: each with its own title, and with another one."""
    import csv
    import random

    words = [word for word in WORDS.split() if len(word) > 2]
    draw = random.Random(1)
    titles = [" ".join(draw.sample(words, 3)) for _ in range(entries)]
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["question", "title", "label"])
        for number, title in enumerate(titles):
            for query in range(queries):
                text = f"{' '.join(draw.sample(title.split(), 3))} {draw.choice(words)} {query}"
                out.writerow([text, title, 1])
                out.writerow([text, titles[(number + 1 + query % 3) % entries], 0])
    return path


def tiny_retrieval(
    folder: Path, entries: int = 24, queries: int = 18, splits: Sequence[str] = ("train", "dev", "test")
) -> Path:
    """A retrieval set in BEIR's layout: documents with titles, and two matches a query, of grades 1 and 2."""
    import json
    import random

    words = [word for word in WORDS.split() if len(word) > 2]
    draw = random.Random(2)
    titles = [" ".join(draw.sample(words, 3)) for _ in range(entries)]
    documents = [
        {"_id": f"d{n}", "title": title, "text": " ".join(draw.sample(words, 4))} for n, title in enumerate(titles)
    ]
    asked = [{"_id": f"q{n}", "text": f"{titles[n % entries]} {draw.choice(words)} {n}"} for n in range(queries)]
    (folder / "qrels").mkdir(parents=True)
    for name, rows in (("corpus", documents), ("queries", asked)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    for place, split in enumerate(splits):
        lines = ["query-id\tcorpus-id\tscore"]
        for n in range(place, queries, len(splits)):
            for step, grade in ((0, 2), (1, 1), (2, 0)):
                lines.append(f"q{n}\td{(n + step) % entries}\t{grade}")
        (folder / f"qrels/{split}.tsv").write_text("\n".join([*lines, ""]), "utf-8")
    return folder


def tiny_config(folder: Path, **sections: object) -> Config:
    """A config whose whole run takes seconds: tiny models and pairs in `folder`, store in `folder/store`.

    Args:
        folder: what is missing in it is built; what is there is used again.
        sections: settings of sections, over the tiny ones: `filter={"tau_pos": 0.2}`.
    """
    from pipeline.config.config import Config

    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "teacher").exists():
        tiny_teacher(folder / "teacher")
    if not (folder / "student").exists():
        tiny_student(folder / "student")
    if not (folder / "pairs.csv").exists():
        tiny_pairs(folder / "pairs.csv")
    settings: dict[str, dict[str, object]] = {
        "prepare": {
            "inputs": [{"kind": "pairs", "path": str(folder / "pairs.csv"), "group": "question"}],
            "splitting": {"dev": 0.25, "test": 0.25},
        },
        "teach": {"model": str(folder / "teacher"), "epochs": 1, "evaluations": 1, "batch_size": 16},
        "filter": {"tau_pos": {"quantile": 0.05}, "tau_neg": {"quantile": 0.95}},
        "distill": {
            "model": str(folder / "student"),
            "epochs": 1,
            "evaluations": 1,
            "batch_pairs": 8,
            "max_length": 16,
            "lora": {"rank": 4, "alpha": 8},
        },
        "export": {"bootstrap": 100},
        "promote": {"at_least": {"auroc": 0, "below_teacher": 1}},  # tiny students know next to nothing
    }
    for name, section in sections.items():
        given = section if isinstance(section, dict) else {}
        settings[name] = settings.get(name, {}) | given
    return Config.model_validate({"store": str(folder / "store"), **settings})
