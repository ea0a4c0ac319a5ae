"""exact_match: the whole answer is the expected text, after a named amount of normalising.

Rule: both texts are put into Unicode's composed form (NFC) and normalised by the same options, then compared as strings. The expected
answer is one text (or number), or a list of texts that all count.
Source of truth: the definition above; there is no published one. Not here: taking an answer out of a longer text.
"""

from __future__ import annotations

import unicodedata

from pytest_gym import DataError, Rollout, Task, Verdict, verifier
from pytest_gym.extract import remove_thinking


@verifier
def exact_match(
    task: Task,
    rollout: Rollout,
    *,
    field: str = "expected_answer",
    ignore_case: bool = True,
    ignore_whitespace: bool = True,
    ignore_punctuation: bool = False,
) -> Verdict:
    """Reward 1 where the answer is the expected text.

    Options:
        field: the row's field with the expected text, number, or list of these.
        ignore_case: compare case-folded ("STRASSE" is "Straße").
        ignore_whitespace: strip both ends and count every run of white space as one blank.
        ignore_punctuation: drop all characters of Unicode's punctuation categories ("U.S.A." is "USA").

    An answer of which nothing is left is no answer (`extracted` None), unless nothing is left of the expected text either: that row is
    broken (DataError).
    """

    def normalise(text: str) -> str:
        text = unicodedata.normalize("NFC", text)
        if ignore_punctuation:
            text = "".join(character for character in text if not unicodedata.category(character).startswith("P"))
        if ignore_whitespace:
            text = " ".join(text.split())
        return text.casefold() if ignore_case else text

    expected = [normalise(text) for text in _expected(task, field)]
    if not all(expected):
        raise DataError(f"{task.where(field)}: nothing is left of an expected text after normalising")
    answer = normalise(remove_thinking(rollout.text))
    if not answer.strip():
        return Verdict(0.0, extracted=None, explanation="the answer is empty")
    if answer in expected:
        return Verdict(1.0, extracted=answer, explanation="the answer is the expected text")
    return Verdict(0.0, extracted=answer, explanation=f"expected {' or '.join(repr(text) for text in expected)}")


@exact_match.reference
def reference(task: Task, *, field: str = "expected_answer") -> str:
    """The (first) expected text itself."""
    return _expected(task, field)[0]


def _expected(task: Task, field: str) -> list[str]:
    value = task.get(field)
    texts = value if isinstance(value, list) else [value]
    if not texts or not all(isinstance(text, str | int | float) and not isinstance(text, bool) for text in texts):
        raise DataError(f"{task.where(field)}: must be a text, a number or a list of these, not {value!r}")
    return [str(text) for text in texts]
