"""imo_gradingbench: the model grades a proof; its last word is held against the expert's grade.

Rule: the last word of the text, without ``* _ ` . , ; : ! ? ( ) [ ] { }`` wherever they stand in it, in lower case, must be one of

    correct (7 points)   almost (6)   partial (1)   incorrect (0)

The reward is exact accuracy: the same grade. `scores`: `binarized_accuracy` (correct and almost against partial and incorrect),
`no_answer`, and what `mae` is made of: `point_difference`, how many points the two grades are apart, and `graded`, 1 where there is a
grade. `mae` is the mean difference in points over the answers that have a grade; lower is better; undefined where none has.

Source of truth: NeMo Gym's server of this name (NeMo Skills' gradingbench metrics). A row whose grade is none of the four is an error
here, and 0 there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_gym import DataError, Rollout, Task, Verdict, verifier
from pytest_gym.extract import remove_thinking

POINTS = {"correct": 7, "almost": 6, "partial": 1, "incorrect": 0}

_LEFT_OUT = str.maketrans("", "", "*_`.,;:!?()[]{}")


@verifier
def imo_gradingbench(task: Task, rollout: Rollout, *, field: str = "expected_answer") -> Verdict:
    """Reward 1 where the last word is the expected grade.

    Options:
        field: the row's field with the expert's grade.

    Raises DataError for a row whose grade is none of the four.
    """
    expected = _expected(task, field)
    grade = last_grade(remove_thinking(rollout.text))
    if grade is None:
        scores = {"binarized_accuracy": 0.0, "no_answer": 1.0, "point_difference": 0.0, "graded": 0.0}
        return Verdict(0.0, extracted=None, explanation=f"the last word is none of {', '.join(POINTS)}", scores=scores)
    scores = {
        "binarized_accuracy": float((POINTS[grade] >= 6) == (POINTS[expected] >= 6)),
        "no_answer": 0.0,
        "point_difference": float(abs(POINTS[grade] - POINTS[expected])),
        "graded": 1.0,
    }
    return Verdict(float(grade == expected), extracted=grade, explanation=f"graded {grade}, expected {expected}", scores=scores)


@imo_gradingbench.reference
def reference(task: Task, *, field: str = "expected_answer") -> str:
    """The expert's grade."""
    return _expected(task, field)


@imo_gradingbench.aggregate(statistics=("point_difference", "graded"), direction="lower", range=(0.0, 7.0))
def mae(totals: Mapping[str, Any]) -> Any:
    """Mean absolute error in points over the answers that have a grade."""
    return totals["point_difference"] / totals["graded"]


def last_grade(text: str) -> str | None:
    """The grade that the last word of the text is, or None."""
    words = text.rsplit(maxsplit=1)
    word = words[-1].translate(_LEFT_OUT).lower() if words else ""
    return word if word in POINTS else None


def _expected(task: Task, field: str) -> str:
    grade = task.get(field)
    if not isinstance(grade, str) or grade.strip().lower() not in POINTS:
        where = task.where(field)
        raise DataError(f"{where}: must be one of {', '.join(POINTS)}, not {grade!r}")
    return grade.strip().lower()
