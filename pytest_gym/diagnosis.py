"""Why a score changed between two runs: the change split into named causes that add up to it.

Each case is in one class (`scores.CLASSES`). On the tasks that both runs have judged, the change is minus the change of what each class of
failures costs; what is left comes from tasks that one side alone has judged, from rows that changed, and from the verifier, which the
caller takes out by judging both sides again. Pure functions on arrays.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_gym import intervals, metrics
from pytest_gym.scores import CLASSES, Scored

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

CAUSES = ("verifier", "dataset", "missing", *CLASSES[1:-1])
"""The causes in the order in which they are taken out; `wrong` is an answer that was extracted, and is another one."""

NOISE = 1.96
_EXAMPLES = 2


def causes(
    a: Scored, b: Scored, pairs_a: Codes, pairs_b: Codes, changed: Sequence[tuple[int, int]], whole: float | None, key: str
) -> tuple[list[dict[str, Any]], float | None]:
    """The causes of the change `whole` (of the two scores as each run shows them), and the SE that repeats alone give the difference.

    pairs_a, pairs_b: positions of the tasks that are the same on both sides; changed: those with the same id and another row.
    Each cause has `cause`, `change`, `se` (None where it is none of chance), `within_noise` and `examples` (task ids). They add up to
    `whole` exactly; empty where that is None, or where the headline is no mean of single attempts (pass@k and its like).
    """
    if whole is None or key not in ("pass@1", "mean_reward"):
        return [], None
    left, right = _lost(a.take(pairs_a), key), _lost(b.take(pairs_b), key)
    both = ~np.isnan(left[0]) & ~np.isnan(right[0])
    ids = [b.task_ids[position] for position in pairs_b]
    found: list[dict[str, Any]] = []
    explained = 0.0
    if both.any():
        clusters = metrics.cluster_codes(b.take(pairs_b).outcomes.clusters)
        for index, name in enumerate(CLASSES[1:-1]):
            shift = (left[index] - right[index])[both]
            change = float(np.mean(shift))
            explained += change
            if not shift.any():
                continue
            order = np.argsort(-np.sign(change) * shift if change else -np.abs(shift), kind="stable")
            moved = [np.flatnonzero(both)[i] for i in order[:_EXAMPLES].tolist() if shift[i]]
            se = intervals.standard_error(shift, None if clusters is None else clusters[both])
            found.append(_cause(name, change, se, [ids[i] for i in moved]))
    dataset = _of_changed_rows(a, b, pairs_a, pairs_b, changed, key)
    if changed and dataset is not None:
        found.insert(0, _cause("dataset", dataset, None, [b.task_ids[position] for _, position in changed[:_EXAMPLES]]))
        explained += dataset
    rest = whole - explained
    if abs(rest) > 1e-12:
        found.insert(1 if found and found[0]["cause"] == "dataset" else 0, _cause("missing", rest, None, _one_sided(a, b, key)))
    return found, _noise(a.take(pairs_a), b.take(pairs_b), both, key)


def with_verifier(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The causes where both sides were judged again by one verifier: those of `after`, and what the verifiers differed by.

    before, after: the comparison of the stored verdicts, and that of today's.
    """
    old, new = (sum(cause["change"] for cause in entry["causes"]) for entry in (before, after))
    moved = [*(set(before["improved"]) ^ set(after["improved"])), *(set(before["regressed"]) ^ set(after["regressed"]))]
    return [_cause("verifier", old - new, None, sorted(moved)[:_EXAMPLES]), *after["causes"]]


def _lost(scored: Scored, key: str) -> list[Floats]:
    """For each class of failures float[m]: what it costs a task, as a mean over its judged attempts; NaN where it has none.

    A reward that is not full although the attempt passed counts to the last class, `wrong`: it is the answer that is not good enough.
    """
    outcomes, classes, metric = scored.outcomes, scored.classes, scored.metric
    judged = ~np.isnan(outcomes.passed)
    best = metric.high if metric.direction == "higher" else metric.low
    full = best if math.isfinite(best) else 0.0
    lost = 1.0 - outcomes.passed if key == "pass@1" else full - outcomes.rewards
    counts = judged.sum(axis=1)
    found = []
    for name in CLASSES[1:-1]:
        of_class = (classes == CLASSES.index(name)) | ((classes == CLASSES.index("right")) if name == "wrong" else False)
        total = np.where(judged & of_class, lost, 0.0).sum(axis=1)
        found.append(np.where(counts > 0, total / np.maximum(counts, 1), np.nan))
    return found


def _values(scored: Scored, key: str) -> Floats:
    return metrics.task_means(scored.outcomes.passed if key == "pass@1" else scored.outcomes.rewards)


def _of_changed_rows(a: Scored, b: Scored, pairs_a: Codes, pairs_b: Codes, changed: Sequence[tuple[int, int]], key: str) -> float | None:
    """How much the difference over all tasks with the same id is away from that over the same rows."""
    if not changed:
        return None
    positions = np.array(changed, dtype=np.int64)
    one, other = _values(a, key), _values(b, key)
    same = other[pairs_b] - one[pairs_a]
    every = np.concatenate((same, other[positions[:, 1]] - one[positions[:, 0]]))
    same, every = same[~np.isnan(same)], every[~np.isnan(every)]
    return float(np.mean(every)) - (float(np.mean(same)) if len(same) else 0.0) if len(every) else None


def _one_sided(a: Scored, b: Scored, key: str) -> list[str]:
    """Tasks that one side alone has judged, two of them."""
    judged = [
        {task for task, value in zip(scored.task_ids, _values(scored, key).tolist(), strict=True) if task and value == value}
        for scored in (a, b)
    ]
    return sorted(judged[0] ^ judged[1])[:_EXAMPLES]


def _noise(a: Scored, b: Scored, both: NDArray[np.bool_], key: str) -> float | None:
    """The SE of the difference that asking the same tasks again would give: √(Σ s²/n over both sides)/m. None with one repeat."""
    total = 0.0
    for scored in (a, b):
        values = (scored.outcomes.passed if key == "pass@1" else scored.outcomes.rewards)[both]
        within = metrics.variance_split(values)["within_task"] if len(values) else None
        if within is None:
            return None
        total += within * float(np.sum(1 / np.count_nonzero(~np.isnan(values), axis=1)))
    return math.sqrt(total) / int(both.sum())


def _cause(name: str, change: float, se: float | None, examples: Sequence[str]) -> dict[str, Any]:
    within = se is not None and abs(change) <= NOISE * se
    return {"cause": name, "change": change, "se": se, "within_noise": within, "examples": list(examples)}
