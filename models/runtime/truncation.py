"""What a model does not read of texts that are longer than its window."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

_BATCH = 4096
_SPECIALS = 4  # tokens that a tokenizer may add to a text, at most


class Cut(NamedTuple):
    """What is cut off n texts.

    Attributes:
        window: tokens that are read of a text, the tokenizer's own among them.
        lost: tokens of each text beyond it, (n,), int64; 0 where the whole of it is read.
        read: a digest of what is read of each text that is cut, (n,), uint64; 0 for all others.
    """

    window: int
    lost: np.ndarray
    read: np.ndarray


def cut_texts(tokenizer: Any, texts: Sequence[str], window: int, *, specials: bool, before: str = "") -> Cut:
    """Count what is beyond the window, by the tokenizer alone.

    A token covers a byte or more, so texts with fewer bytes than the window has tokens are not tokenized at all
    (but for rare signs that a tokenizer spells out, none of them is longer).

    Args:
        tokenizer: of transformers.
        texts: n of them. before: what is put before each, a prompt say.
        window: tokens. specials: whether the tokenizer's own tokens count, as [CLS] and [SEP].
    """
    lost, read = np.zeros(len(texts), np.int64), np.zeros(len(texts), np.uint64)
    room = window - (_SPECIALS if specials else 0) - len(before.encode())
    # A character is a byte at least; only where there may be more is it worth a look at the bytes.
    long = [n for n, text in enumerate(texts) if 4 * len(text) > room and len(text.encode()) > room]
    for start in range(0, len(long), _BATCH):
        rows = long[start : start + _BATCH]
        batch = [before + texts[n] for n in rows]
        # verbose: a text past the model's positions is what is looked for, not worth a warning.
        found = tokenizer(batch, add_special_tokens=specials, truncation=False, padding=False, verbose=False)
        for n, ids in zip(rows, found["input_ids"], strict=True):
            if len(ids) > window:
                lost[n] = len(ids) - window
                head = hashlib.blake2b(np.asarray(ids[:window], np.int64).tobytes(), digest_size=8)
                read[n] = int.from_bytes(head.digest(), "big") | 1
    return Cut(window, lost, read)
