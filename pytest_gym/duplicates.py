"""Duplicates: which of many texts say the same, or nearly.

Texts are the same where they agree but for case and blanks, near where their sets of three-word sequences have a Jaccard index of at
least 0.8. Candidates are found by MinHash (Broder 1997) in bands, and each is then counted exactly, so that nothing is reported by chance.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple
from zlib import crc32

NEAR = 0.8
LONGEST = 20_000
"""Characters of a text that are looked at; what agrees that far is near."""

_WORD = re.compile(r"\w+|[^\w\s]")
_SEQUENCE = 3
_BANDS, _WIDTH = 10, 4
_PRIME = (1 << 31) - 1


class Duplicates(NamedTuple):
    """Pairs of positions (i < j): `same`, and `near` where they are not. Each later text is paired once, with the first like it."""

    same: list[tuple[int, int]]
    near: list[tuple[int, int]]


def duplicates(texts: Sequence[str]) -> Duplicates:
    """The pairs of texts that are the same or nearly so. Time and memory grow with the number of texts, not its square."""
    import numpy as np

    first: dict[str, int] = {}
    same, signed, signatures = [], [], []
    chance = np.random.default_rng(0)
    a = chance.integers(1, _PRIME, _BANDS * _WIDTH, dtype=np.int64)
    b = chance.integers(0, _PRIME, _BANDS * _WIDTH, dtype=np.int64)
    for position, text in enumerate(texts):
        known = first.setdefault(" ".join(text.casefold().split()), position)
        if known != position:
            same.append((known, position))
            continue
        hashes = np.fromiter(_sequences(text), dtype=np.int64)
        if len(hashes):
            # In 31 bits, so that the product below stays within 63.
            mixed = (hashes[:, None] % _PRIME * a[None, :] + b[None, :]) % _PRIME
            signed.append(position)
            signatures.append(mixed.min(axis=0))
    near: dict[int, int] = {}
    buckets: dict[bytes, list[int]] = {}
    for position, signature in zip(signed, signatures, strict=True):
        for band in range(_BANDS):
            key = bytes([band]) + signature[band * _WIDTH : (band + 1) * _WIDTH].tobytes()
            others = buckets.setdefault(key, [])
            if position not in near:
                alike = [other for other in others[:5] if _alike(texts[other], texts[position])]
                near.update((position, other) for other in alike[:1])
            others.append(position)
    return Duplicates(same, sorted((other, position) for position, other in near.items()))


def _sequences(text: str) -> set[int]:
    words = _WORD.findall(text[:LONGEST].casefold())
    return {crc32(" ".join(words[i : i + _SEQUENCE]).encode("utf-8", "replace")) for i in range(len(words) - _SEQUENCE + 1)}


def _alike(one: str, other: str) -> bool:
    left, right = _sequences(one), _sequences(other)
    return len(left & right) >= NEAR * len(left | right)
