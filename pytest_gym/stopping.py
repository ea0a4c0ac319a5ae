"""Whether a run may stop asking: no outcome of the cases that are still to come can change the verdict on a gate.

Exact bounds, without a probability: everything that is left is counted wrong, and everything right, and what lies between must lie between
these two. Pure functions on outcomes; who stops what is in `gate_tests`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pytest_gym.gates import RATES, Gate
from pytest_gym.gating import Circumstances, GateResult, judge
from pytest_gym.scores import Scored

_BETWEEN = ("pass@", "pass^", "g-pass@", "best@")


def is_bounded(gate: Gate, scored: Scored) -> bool:
    """Whether the two extremes bound the gate's number exactly while cases are missing.

    Not so: `tokens` (an answer has any length), named scores and corpus metrics (nothing says how far one goes), majority and
    `not_extracted` (whether a verifier extracts answers at all may show later), flips of tasks with some of their repeats, and intervals
    but Wilson's on tasks tried once, whose ends alone move one way with every right answer.
    """
    metric = gate.metric
    if metric in ("errors", "missing"):
        return True
    if metric == "flips":
        return scored.repeats == 1 and scored.metric.headline in ("pass@1", "mean_reward")
    if metric in RATES:
        return metric != "not_extracted"
    if metric in scored.outcomes.derived or not (metric == "mean_reward" or metric.startswith(_BETWEEN)):
        return False
    if gate.level is None:
        return True
    return metric == "pass@1" and scored.repeats == 1 and scored.outcomes.clusters is None and not gate.baseline


def settled(gates: Sequence[Gate], scored: Sequence[Scored], known: Circumstances) -> list[GateResult] | None:
    """The verdicts on all gates of all benchmarks where nothing that is left can change one, else None.

    A case that is never asked has no error either: what is left counts as right and as wrong answers, and with `errors` and `missing` also
    as lost. A gate that could not be decided whatever comes (a demo, too much missing) never lets a run stop.
    """
    found = []
    for gate in gates:
        for one in scored:
            if not gate.matches(one.name):
                continue
            if one.left_out and not is_bounded(gate, one):
                return None
            result = judge(gate, one, replace(known, asked_all=False))
            if one.left_out and not result.decided:
                return None
            found.append(result)
    return found
