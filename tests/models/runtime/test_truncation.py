"""What is beyond a window, against the plain tokenizer on every text."""

from __future__ import annotations

from pathlib import Path

import pytest
from sentence_transformers import SentenceTransformer

from models.runtime.truncation import cut_texts
from tests.tiny import WORDS, tiny_teacher

TEXTS = [
    "my card",
    " ".join(WORDS.split()[:9]),
    "卡丢了怎么办 " * 5,
    " ".join(WORDS.split()[:30]),
    "",
    "my card " * 40,
]


@pytest.mark.parametrize("specials", [True, False])
@pytest.mark.parametrize("before", ["", "card: "])
def test_every_token_beyond_the_window_counts(tmp_path: Path, specials: bool, before: str) -> None:
    tokenizer = SentenceTransformer(str(tiny_teacher(tmp_path / "model"))).tokenizer
    for window in (8, 12, 10_000):
        found = cut_texts(tokenizer, TEXTS, window, specials=specials, before=before)
        tokens = [
            tokenizer(before + text, add_special_tokens=specials, truncation=False)["input_ids"] for text in TEXTS
        ]
        assert found.lost.tolist() == [max(0, len(ids) - window) for ids in tokens]
        assert (found.read > 0).tolist() == [len(ids) > window for ids in tokens]


def test_what_is_read_of_two_texts_is_the_same_where_they_differ_behind_the_cut(tmp_path: Path) -> None:
    tokenizer = SentenceTransformer(str(tiny_teacher(tmp_path / "model"))).tokenizer
    texts = ["my card is lost " * 9 + end for end in ("child", "loan")] + ["loan " + "my card is lost " * 9]
    read = cut_texts(tokenizer, texts, 16, specials=True).read
    assert read[0] == read[1] != read[2]
