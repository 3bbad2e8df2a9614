"""When two texts count as the same: folding, and ids that follow from the texts alone."""

from __future__ import annotations

import hashlib
import unicodedata

BYTE_ORDER_MARK = "\ufeff"
# Characters that nobody sees and that separate nothing: byte-order mark, zero-width space.
_INVISIBLE = str.maketrans("", "", "\ufeff\u200b")
_ID_BYTES = 10  # 80 bits: among ten million texts a collision has probability 4e-11


def clean(text: str) -> str:
    """The text without byte-order marks and white space at its ends; the inside stays as it was."""
    return text.strip().strip(BYTE_ORDER_MARK).strip()


def fold(text: str) -> str:
    """The form under which texts are compared to find duplicates and leaks.

    Unicode compatibility form (full-width letters become plain ones), no invisible characters, no case, each
    run of white space one space, none at the ends. Punctuation and accents count. It may be empty.

    Example:
        >>> fold("  Freeze\\nmy  CARD? ")
        'freeze my card?'
    """
    return " ".join(unicodedata.normalize("NFKC", text).translate(_INVISIBLE).casefold().split())


def text_key(text: str) -> str:
    """A hash of the folded text, 20 hexadecimal characters: equal exactly where two texts count as the same."""
    return stable_hash(fold(text))


def pair_id(text_a: str, text_b: str) -> str:
    """The id of a pair, 20 hexadecimal characters, from its two texts and nothing else.

    The order of the texts does not matter, nor does what `fold` removes: matching is symmetric, so (a, b) and
    (b, a) are one pair, and a file that holds both holds a duplicate.
    """
    return pair_id_of_keys(text_key(text_a), text_key(text_b))


def pair_id_of_keys(key_a: str, key_b: str) -> str:
    """`pair_id` where the texts' keys are known already."""
    return stable_hash(*sorted((key_a, key_b)))


def stable_hash(*parts: str | int) -> str:
    """A hash that is the same in every run, on every machine: 20 hexadecimal characters."""
    joined = "\0".join(str(part) for part in parts)
    return hashlib.blake2b(joined.encode(errors="surrogatepass"), digest_size=_ID_BYTES).hexdigest()


def stable_seed(*parts: str | int) -> int:
    """A random generator's seed, 0 to 2^80, from what it is for; independent of Python's own hashes."""
    return int(stable_hash(*parts), 16)
