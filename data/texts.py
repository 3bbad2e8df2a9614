"""When two texts count as the same: folding, and ids that follow from the texts alone."""

from __future__ import annotations

import hashlib
import unicodedata

BYTE_ORDER_MARK = "\ufeff"
# Characters that nobody sees and that separate nothing: byte-order mark, zero-width space, soft hyphen, word
# joiner, marks of writing direction. Zero-width (non-)joiners stay: in some scripts they make another word.
_DIRECTION = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_INVISIBLE = str.maketrans("", "", "\ufeff\u200b\u00ad\u2060\u180e" + _DIRECTION)
_CONTROL = frozenset({"Cc", "Cf"})  # Unicode's categories of characters without a shape
_VARIATION = frozenset("\ufe0e\ufe0f")
_ID_BYTES = 10  # 80 bits: among ten million texts a collision has probability 4e-11


def clean(text: str) -> str:
    """The text without byte-order marks and white space at its ends; the inside stays as it was."""
    text = text.strip()
    while text.startswith(BYTE_ORDER_MARK) or text.endswith(BYTE_ORDER_MARK):
        text = text.strip(BYTE_ORDER_MARK).strip()
    return text


def fold(text: str) -> str:
    """The form under which texts are compared to find duplicates and leaks.

    Unicode compatibility form (full-width letters become plain ones), no invisible characters, no case, each
    run of white space one space, none at the ends. Punctuation and accents count. It may be empty. Folding what
    is folded changes nothing.

    Example:
        >>> fold("  Freeze\\nmy  CARD? ")
        'freeze my card?'
    """
    if text.isascii():  # it has one form and nothing invisible
        return " ".join(text.lower().split())
    bare = unicodedata.normalize("NFKC", text).translate(_INVISIBLE)
    # Unicode's order (its standard, 3.13, NFKC_Casefold): taking off the case may leave letters and accents apart.
    return " ".join(unicodedata.normalize("NFKC", bare.casefold()).split())


def is_blank(folded: str) -> bool:
    """Whether nobody would see anything of a folded text: nothing, or control and format characters alone."""
    if folded[:1].isalnum():
        return False
    return all(c in _VARIATION or unicodedata.category(c) in _CONTROL for c in folded.replace(" ", ""))


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
    return _digest(parts).hex()


def stable_number(*parts: str | int) -> int:
    """The first 64 bits of `stable_hash`: enough where a chance meeting of two does no harm."""
    return int.from_bytes(_digest(parts)[:8], "big")


def _digest(parts: tuple[str | int, ...]) -> bytes:
    joined = "\0".join(map(str, parts))
    return hashlib.blake2b(joined.encode(errors="surrogatepass"), digest_size=_ID_BYTES).digest()


def stable_seed(*parts: str | int) -> int:
    """A random generator's seed, 0 to 2^80, from what it is for; independent of Python's own hashes."""
    return int(stable_hash(*parts), 16)
