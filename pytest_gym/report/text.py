"""Text that others wrote (models, data sets, servers), made fit to be shown: harmless characters, a bounded length, aligned columns."""

from __future__ import annotations

import re
import unicodedata

# Control characters but tab and newline, what turns the direction of writing, invisible marks and fillers, line separators that are not
# newlines, lone surrogates, and the tag block. The joiners U+200C and U+200D stay: Persian, Indic scripts and emoji need them.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
_SHORT = {"\r": "\\r", "\x1b": "\\x1b", "\x00": "\\0"}


def printable(text: str) -> str:
    r"""The text with every character that could act on a terminal, or hide, written as an escape (`\x1b`, `\u202e`, `\ud800`).

    Newlines and tabs stay. The result can be encoded as UTF-8.
    """
    return _UNSAFE.sub(lambda match: _escape(match[0]), text)


def excerpt(text: str, limit: int, *, end: bool = False) -> str:
    """At most `limit` characters of the text, from its start or its `end`, and a note of how many more there are."""
    more = len(text) - limit
    if more <= 0:
        return text
    note = f"[{more:,} more characters]"
    return f"{note} …{text[len(text) - limit :]}" if end else f"{text[:limit]}… {note}"


def columns(text: str) -> int:
    """How many columns of a terminal the text takes: wide East Asian characters two, combining marks none."""
    if text.isascii():
        return len(text)
    return sum(_columns(character) for character in text)


def fit(text: str, width: int, *, right: bool = False) -> str:
    """The text in exactly `width` columns: padded (on the left where `right`), or cut with `..` in its middle."""
    taken = columns(text)
    if taken <= width:
        padding = " " * (width - taken)
        return padding + text if right else text + padding
    if width <= 2:
        return "." * width
    head, tail = _head(text, (width - 1) // 2), _head(text[::-1], width - 2 - (width - 1) // 2)[::-1]
    return fit(f"{head}..{tail}", width, right=right)


def _head(text: str, width: int) -> str:
    taken = 0
    for place, character in enumerate(text):
        taken += _columns(character)
        if taken > width:
            return text[:place]
    return text


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _escape(character: str) -> str:
    code = ord(character)
    if character in _SHORT:
        return _SHORT[character]
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
