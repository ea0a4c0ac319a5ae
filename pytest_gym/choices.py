"""Multiple choice: options under letters, as the fields that the verifier `mcqa` and its prompts read, for prepare scripts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pytest_gym.errors import DataError

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def lettered(options: Sequence[str], mark: str = ")") -> str:
    """The options one a line, each behind its letter and `mark`: `A) one`."""
    return "\n".join(f"{letter}{mark} {text}" for letter, text in zip(LETTERS, options, strict=False))


def choice_row(question: str, options: Sequence[str], right: int | str, *, mark: str = ")", gap: str = "\n\n") -> dict[str, Any]:
    """The fields `question`, `problem` (the question, `gap`, the lettered options), `options` and `expected_answer` (a letter).

    `right` is the position of the right option from 0, or its letter. Raises DataError where there is no such option.
    """
    place = right if isinstance(right, int) else LETTERS.find(right.strip().upper() or "?")
    if not 0 <= place < len(options) <= len(LETTERS):
        raise DataError(f"{question!r:.60}: the right answer {right!r} is none of the {len(options)} options")
    return {
        "question": question,
        "problem": f"{question}{gap}{lettered(options, mark)}",
        "options": [{letter: text} for letter, text in zip(LETTERS, options, strict=False)],
        "expected_answer": LETTERS[place],
    }
