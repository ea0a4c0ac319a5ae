"""ruler: what was to be found in a long text is in the answer.

Rule: for question answering (tasks `qa_1`, `qa_2`, or option `match: part`) the reward is 1 if any of the references is in the answer; for
all other tasks it is the share of references that are. Case does not matter, nothing else is normalised.

Source of truth: RULER's `string_match_all` and `string_match_part`, as NeMo Gym's server `ruler` has them. As there a short reference can
be part of a longer word or number.
"""

from __future__ import annotations

from typing import Literal

from pytest_gym import DataError, Rollout, Task, Verdict, verifier
from pytest_gym.extract import remove_thinking


@verifier
def ruler(task: Task, rollout: Rollout, *, field: str = "outputs", match: Literal["by_task", "all", "part"] = "by_task") -> Verdict:
    """Reward between 0 and 1: the share of the references in the answer, or whether any is.

    Options:
        field: the row's field with the references, a list of texts.
        match: `all` counts the share, `part` asks for any; `by_task` goes by the row's `subset`.

    Raises DataError for a row without references.
    """
    references = _references(task, field)
    answer = remove_thinking(rollout.text).lower()
    found = [reference for reference in references if reference.lower() in answer]
    part = match == "part" or (match == "by_task" and task.get("subset") in ("qa_1", "qa_2"))
    reward = float(bool(found)) if part else len(found) / len(references)
    missing = [reference for reference in references if reference not in found]
    says = f"{len(found)} of {len(references)} references in the answer"
    return Verdict(reward, explanation=f"{says}, missing {missing[0]!r}" if missing else says)


@ruler.reference
def reference(task: Task, *, field: str = "outputs") -> str:
    """All references."""
    return ", ".join(_references(task, field))


def _references(task: Task, field: str) -> list[str]:
    value = task.get(field)
    if not isinstance(value, list) or not value or not all(isinstance(text, str) and text for text in value):
        where = task.where(field)
        raise DataError(f"{where}: must be a list of texts, not {value!r}")
    return value
