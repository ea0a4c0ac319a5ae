"""math_proof_judgement: the model is the judge; its "Judgement: Yes" or "Judgement: No" is held against the expert's.

Rule: the first `Judgement:` of the text counts (any case; up to two asterisks on either side of the word; blanks before the colon). What
stands behind it, after blanks and asterisks, must begin with yes or no in any case; else there is no judgement, which is never right.
The row's expected judgement is read by the same rule.

The reward is accuracy. `scores` has what was counted: `true_positive`, `false_positive`, `false_negative`, `true_negative` (positive is
Yes), `positive` (the expert says Yes) and `no_answer`. From their sums over the whole set come

    precision   true positives over all that were judged Yes; undefined (null) where none was
    recall      true positives over all that the expert calls right, those without a judgement too; undefined where there are none
    f1          2 · true positives over (judged Yes + called right by the expert): 0 where nothing was judged Yes

Source of truth: NeMo Gym's server of this name (NeMo Skills' answer judgement metrics). Differences, decided: there an undefined precision
or recall is 1, and F1 is 1 where no proof is right and none is judged so; a row whose label cannot be read is an error here, and 0 there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pytest_gym import DataError, Rollout, Task, Verdict, verifier
from pytest_gym.extract import remove_thinking

_JUDGEMENT = re.compile(r"\*{0,2}judgement\*{0,2}\s*:", re.IGNORECASE)


@verifier
def math_proof_judgement(task: Task, rollout: Rollout, *, field: str = "expected_judgement") -> Verdict:
    """Reward 1 where the judgement is the expected one.

    Options:
        field: the row's field with "Judgement: Yes" or "Judgement: No".

    Raises DataError for a row whose expected judgement cannot be read.
    """
    expected = _expected(task, field)
    found = judgement(remove_thinking(rollout.text))
    scores = {
        "true_positive": found is True and expected,
        "false_positive": found is True and not expected,
        "false_negative": found is False and expected,
        "true_negative": found is False and not expected,
        "positive": expected,
        "no_answer": found is None,
    }
    counted = {name: float(value) for name, value in scores.items()}
    if found is None:
        return Verdict(0.0, extracted=None, explanation="there is no 'Judgement: Yes' or 'Judgement: No'", scores=counted)
    explanation = f"judged {_word(found)}, expected {_word(expected)}"
    return Verdict(float(found == expected), extracted=_word(found), explanation=explanation, scores=counted)


@math_proof_judgement.reference
def reference(task: Task, *, field: str = "expected_judgement") -> str:
    """The expected judgement."""
    return f"Judgement: {_word(_expected(task, field))}"


@math_proof_judgement.aggregate(statistics=("true_positive", "false_positive"))
def precision(totals: Mapping[str, Any]) -> Any:
    """The share of what was judged Yes that is right."""
    return totals["true_positive"] / (totals["true_positive"] + totals["false_positive"])


@math_proof_judgement.aggregate(statistics=("true_positive", "positive"))
def recall(totals: Mapping[str, Any]) -> Any:
    """The share of what is right that was judged Yes."""
    return totals["true_positive"] / totals["positive"]


@math_proof_judgement.aggregate(statistics=("true_positive", "false_positive", "positive"))
def f1(totals: Mapping[str, Any]) -> Any:
    """The harmonic mean of precision and recall; 0 where nothing was judged Yes."""
    return 2 * totals["true_positive"] / (totals["true_positive"] + totals["false_positive"] + totals["positive"])


def judgement(text: str) -> bool | None:
    """What the first `Judgement:` of the text says; None where it says neither yes nor no, or where there is none."""
    match = _JUDGEMENT.search(text)
    if match is None:
        return None
    said = text[match.end() :].lstrip().lstrip("*").lstrip()[:3].lower()
    return True if said == "yes" else False if said.startswith("no") else None


def _expected(task: Task, field: str) -> bool:
    label = task.get(field)
    found = judgement(label) if isinstance(label, str) else None
    if found is None:
        where = task.where(field)
        raise DataError(f"{where}: must be 'Judgement: Yes' or 'Judgement: No', not {label!r}")
    return found


def _word(value: bool) -> str:
    return "Yes" if value else "No"
