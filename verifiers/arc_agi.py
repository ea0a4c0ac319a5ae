r"""arc_agi: the last grid of the answer equals the expected one, cell by cell.

Source: ARC-AGI's rule (Chollet 2019, "On the Measure of Intelligence"): exact equality of the output grid. A grid is a list of lists of
whole numbers; the last one in a `\boxed{…}` counts, else the last bare one. NeMo Gym takes the first, so that a grid quoted from
the training pairs may count: `grid="first"`.

Edges: rows of different lengths are a grid and simply not the expected one; numbers that are no digits 0 to 9 as well; a list that is cut
off is none. Booleans and floats are no cells.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Literal

from pytest_gym import DataError, Rollout, Task, Verdict, verifier

Grid = list[list[int]]

_ROW = r"\[\s*\d{1,3}(?:\s*,\s*\d{1,3}){0,99}\s*\]"
# Every repetition ends in a bracket, so that reading is linear in the text's length.
_GRID = re.compile(rf"\[\s*{_ROW}(?:\s*,\s*{_ROW}){{0,99}}\s*\]")
_BOXED = re.compile(rf"\\boxed\s*\{{\s*({_GRID.pattern})\s*\}}")


@verifier
def arc_agi(task: Task, rollout: Rollout, *, field: str = "expected_output", grid: Literal["last", "first"] = "last") -> Verdict:
    """Reward 1 where the grid of the answer is the one in `field`."""
    wanted = task[field]
    if not _is_grid(wanted):
        raise DataError(f"{task.where(field)}: must be a list of lists of numbers")
    found = list(_grids(rollout.text))
    if not found:
        return Verdict(0.0, extracted=None, explanation="no grid found: a list of lists of numbers")
    answer = found[0 if grid == "first" else -1]
    shape = f"{len(answer)} x {len(answer[0])}"
    if answer == wanted:
        return Verdict(1.0, extracted=json.dumps(answer), explanation=f"the right grid, {shape}")
    sizes = len(answer) == len(wanted) and all(len(one) == len(other) for one, other in zip(answer, wanted, strict=True))
    if not sizes:
        why = f"a grid of {shape}, expected {len(wanted)} x {len(wanted[0])}"
    else:
        wrong = sum(a != b for one, other in zip(answer, wanted, strict=True) for a, b in zip(one, other, strict=True))
        why = f"{wrong} of {len(wanted) * len(wanted[0])} cells are wrong"
    return Verdict(0.0, extracted=json.dumps(answer), explanation=why)


@arc_agi.reference
def reference(task: Task, *, field: str = "expected_output") -> str:
    """The expected grid in a box."""
    return f"\\boxed{{{json.dumps(task[field])}}}"


def _grids(text: str) -> Iterator[Grid]:
    boxed = [match[1] for match in _BOXED.finditer(text)]
    for found in boxed or [match[0] for match in _GRID.finditer(text)]:
        yield [[int(cell) for cell in re.findall(r"\d+", row)] for row in re.findall(_ROW, found)]


def _is_grid(value: object) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(row, list) and row and all(type(cell) is int for cell in row) for row in value)
    )
