"""mrcr: the answer repeats one message of a long conversation, behind a given prefix.

Rule: without blanks around it the answer must begin with the row's `random_string_to_prepend`, else 0. Else the reward is the similarity of
the rest to the rest of the expected text: the ratio of difflib's SequenceMatcher, with the answer first, which matters to it.

Source of truth: the grading function on the data set's card (openai/mrcr), as NeMo Gym's server `mrcr` has it. `scores` has `prefix`. Texts
on which difflib would take longer than `seconds` get 0, with that as the reason: they are many times longer than the expected one.
"""

from __future__ import annotations

from difflib import SequenceMatcher

from pytest_gym import DataError, OutOfBounds, Rollout, Task, Verdict, run_bounded, verifier
from pytest_gym.extract import remove_thinking

_QUICK = 4_000_000
"""Up to this product of the two lengths the comparison is done in place: it takes well below a second."""


@verifier
def mrcr(task: Task, rollout: Rollout, *, field: str = "expected_answer", seconds: float = 20.0) -> Verdict:
    """Reward between 0 and 1: how similar the repeated message is, 0 without the prefix.

    Options:
        field: the row's field with the expected text, prefix included.
        seconds: processor time for one comparison.

    Raises DataError for a row without prefix or expected text.
    """
    prefix, expected = _text(task, "random_string_to_prepend"), _text(task, field)
    answer = remove_thinking(rollout.text).strip()
    if not answer.startswith(prefix):
        return Verdict(0.0, explanation=f"the answer does not begin with {prefix!r}", scores={"prefix": 0.0})
    answer, expected = answer.removeprefix(prefix), expected.removeprefix(prefix)
    try:
        quick = len(answer) * len(expected) <= _QUICK
        ratio = similarity(answer, expected) if quick else float(run_bounded(similarity, answer, expected, seconds=seconds))
    except OutOfBounds as error:
        return Verdict(0.0, explanation=f"comparing the answer {error}", scores={"prefix": 1.0})
    return Verdict(ratio, explanation=f"similarity {ratio:.3f}", scores={"prefix": 1.0})


@mrcr.reference
def reference(task: Task, *, field: str = "expected_answer") -> str:
    """The expected text itself."""
    return _text(task, field)


def similarity(answer: str, expected: str) -> float:
    """The ratio of difflib's SequenceMatcher."""
    return SequenceMatcher(None, answer, expected).ratio()


def _text(task: Task, field: str) -> str:
    value = task.get(field)
    if not isinstance(value, str) or not value:
        raise DataError(f"{task.where(field)}: must be a text, not {value!r}")
    return value
