"""graphwalks: the set of nodes on the last line is the expected one, by F1.

Rule: the last line that is not blank must have `Final Answer: [a, b]` in it; what stands between the first such `[` and the line's last `]`
is split at commas. The reward is F1 between the set of these nodes and the expected one: 1 if both are empty, 0 if only one is, 0 without
such a line. `scores` has `exact` (the sets are equal) and `unquoted` (F1 where quotation marks around nodes do not count, as in
`["a", "b"]`).

Source of truth: NeMo Gym's server `graphwalks`, which has the rule of the data set's card (openai/graphwalks).
"""

from __future__ import annotations

import json
import re

from pytest_gym import DataError, Rollout, Task, Verdict, verifier
from pytest_gym.extract import remove_thinking

_MARK = re.compile(r"Final Answer:\s*\[")


@verifier
def graphwalks(task: Task, rollout: Rollout, *, field: str = "expected_answer") -> Verdict:
    """Reward between 0 and 1: F1 of the nodes on the last line.

    Options:
        field: the row's field with the expected nodes: a list, or the JSON text of one.

    Raises DataError for a row whose expected nodes cannot be read.
    """
    expected = _expected(task, field)
    found = _nodes(remove_thinking(rollout.text))
    if found is None:
        return Verdict(0.0, explanation="the last line has no 'Final Answer: [...]'", scores={"exact": 0.0, "unquoted": 0.0})
    plain = {node.strip("\"'").strip() for node in found} - {""}
    reward = _f1(found, expected)
    says = f"{len(found & expected)} of {len(expected)} nodes found, {len(found - expected)} others named"
    scores = {"exact": float(found == expected), "unquoted": _f1(plain, expected)}
    return Verdict(reward, extracted=json.dumps(sorted(found)), explanation=says, scores=scores)


@graphwalks.reference
def reference(task: Task, *, field: str = "expected_answer") -> str:
    """The line itself."""
    return f"Final Answer: [{', '.join(sorted(_expected(task, field)))}]"


def _nodes(text: str) -> set[str] | None:
    last = text.rstrip().rpartition("\n")[2]
    mark = _MARK.search(last)
    if mark is None:
        return None
    end = last.rfind("]")
    return {node.strip() for node in last[mark.end() : end].split(",")} - {""} if end >= mark.end() else None


def _f1(found: set[str], expected: set[str]) -> float:
    if not found and not expected:
        return 1.0
    common = len(found & expected)
    return 2 * common / (len(found) + len(expected))


def _expected(task: Task, field: str) -> set[str]:
    value = task.get(field)
    try:
        nodes = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        nodes = None
    if not isinstance(nodes, list) or not all(isinstance(node, str) for node in nodes):
        where = task.where(field)
        raise DataError(f"{where}: must be a list of nodes or its JSON text, not {value!r}")
    return set(nodes)
