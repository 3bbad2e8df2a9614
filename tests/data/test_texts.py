from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from data.texts import (
    clean,
    fold,
    is_blank,
    pair_id,
    pair_id_of_keys,
    stable_hash,
    stable_number,
    stable_seed,
    text_key,
)


def test_clean_removes_marks_and_white_space_at_the_ends_only() -> None:
    assert clean("\ufeff 怎么更改\n手机 \r\n") == "怎么更改\n手机"
    assert clean(" \ufeffa  b") == "a  b"
    assert clean("\ufeff \ufeff a \ufeff\ufeff") == "a"


def test_fold_ignores_case_white_space_width_and_invisible_characters() -> None:
    assert fold("\ufeffFreeze\r\n my\tCARD ") == "freeze my card"
    assert fold("ＡＢＣ\u3000１２\u200b３") == "abc 123"
    assert fold("花呗\u3000怎么") == fold("花呗 怎么")
    assert fold("café") == fold("cafe\u0301") != fold("cafe")
    assert fold("card?") != fold("card")
    assert fold(" \ufeff ") == ""


def test_fold_ignores_what_nobody_sees() -> None:
    assert fold("\u202bfr\u00adee\u2060ze\u200f my card") == "freeze my card"
    assert fold("می\u200cخواهم") != fold("میخواهم")  # in Persian this one is read
    assert fold("e\u200b\u0301") == fold("é")
    assert (
        fold("\u0390") == fold("\u03aa\u0301") == fold("\u0399\u0308\u0301")
    )  # one Greek letter, three spellings


def test_blank() -> None:
    assert is_blank("")
    assert is_blank("\u200d \x01")
    assert not is_blank("?")
    assert not is_blank("\u200d!")


def test_stable_number_is_the_start_of_the_hash() -> None:
    assert stable_number(13, "x") == int(stable_hash(13, "x")[:16], 16)


def test_pair_id_is_stable_across_versions() -> None:
    # The number itself is a contract: artifacts of other runs are joined on it.
    assert pair_id("freeze my card", "block my card") == "7a7c854d0e55d8f9fe39"
    assert len(pair_id("a", "b")) == 20


@given(st.text(), st.text())
def test_pair_id_ignores_direction_and_folding(a: str, b: str) -> None:
    assert pair_id(a, b) == pair_id(b, a) == pair_id(f" {a}\n", b)
    assert pair_id(a, b) == pair_id_of_keys(text_key(a), text_key(b))


def test_different_pairs_have_different_ids() -> None:
    assert len({pair_id("a b", "c"), pair_id("a", "b c"), pair_id("a", "c"), pair_id("a b c", "")}) == 4


def test_seeds_are_ordinary_integers() -> None:
    assert stable_seed(13, "pairs", "train") != stable_seed(14, "pairs", "train")
    assert 0 <= stable_seed("x") < 2**80
