"""Scores of one benchmark in one run: pure functions on arrays of tasks × repeats, where NaN is a verdict that is missing.

No files, no records, no text but the hints. Functions named after a metric return one value per task, float[m], NaN where the task has too
few verdicts; the score is their mean, so that tasks weigh the same however many repeats are missing. Majority votes are counted in
`votes`, and `table` puts all of it into the benchmark's entry of `summary.json`.

    pass@k          1 − C(n−c, k)/C(n, k): at least one of k attempts passes (Chen et al. 2021, "Evaluating LLMs trained on code")
    pass^k          C(c, k)/C(n, k): all k attempts pass (Yao et al. 2024, "τ-bench")
    g-pass@k:τ      at least ⌈τk⌉ of k attempts pass, a hypergeometric tail (Liu et al. 2024, "Are your LLMs capable of stable reasoning?")
    best@k          Σ x₍ᵢ₎ C(i−1, k−1)/C(n, k): the expected best reward of k attempts
    majority@k      the expected score of the most frequent answer of k attempts

with n verdicts of a task, c of them passed, and x₍ᵢ₎ its rewards in rising order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_gym import votes

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

STABILITY = (0.5, 0.75, 1.0)
"""The thresholds τ of G-Pass@k."""

POWER_FACTOR = 2.80
"""z(0.975) + z(0.8): a difference of so many standard errors is found with 80 % power at 5 %."""

DISCORDANT = 0.10
"""The share of tasks that two models answer differently, assumed where nothing is known of it."""


def attempt_counts(repeats: int) -> list[int]:
    """The k that pass@k and its like are given for besides 1: 2, 4, 8, … below the number of repeats, and that number."""
    powers = [2**i for i in range(1, repeats.bit_length()) if 2**i < repeats]
    return [*powers, repeats] if repeats > 1 else []


def task_means(values: Floats) -> Floats:
    """Each task's mean over the values that it has."""
    counts = np.count_nonzero(~np.isnan(values), axis=1)
    sums = np.sum(np.where(np.isnan(values), 0.0, values), axis=1)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def pass_at_k(passed: Floats, k: int) -> Floats:
    """pass@k per task, the unbiased estimator 1 − C(n−c, k)/C(n, k)."""
    n, c = _verdicts_and_passes(passed)
    return 1.0 - _all_drawn_from(n - c, n, k)


def pass_hat_k(passed: Floats, k: int) -> Floats:
    """pass^k per task: C(c, k)/C(n, k)."""
    n, c = _verdicts_and_passes(passed)
    return _all_drawn_from(c, n, k)


def g_pass_at_k(passed: Floats, k: int, threshold: float) -> Floats:
    """G-Pass@k per task: Σ_{j ≥ ⌈τk⌉} C(c, j) C(n−c, k−j)/C(n, k), at least one passing."""
    n, c = _verdicts_and_passes(passed)
    need = max(1, math.ceil(threshold * k - 1e-9))
    # Few pairs (n, c) are different, and the tail costs k steps.
    pairs, inverse = np.unique(n * (passed.shape[1] + 1) + c, return_inverse=True)
    n, c = np.divmod(pairs, passed.shape[1] + 1)
    logs = np.concatenate(([0.0], np.cumsum(np.log(np.arange(1, passed.shape[1] + 1)))))
    tail = np.zeros(len(pairs))
    for j in range(need, k + 1):
        possible = (c >= j) & (n - c >= k - j)
        a, b, of = np.where(possible, c, j), np.where(possible, n - c, k - j), np.where(possible, n, k)
        ways = logs[a] - logs[j] - logs[a - j] + logs[b] - logs[k - j] - logs[b - (k - j)]
        tail += np.where(possible, np.exp(ways - logs[of] + logs[k] + logs[of - k]), 0.0)
    return np.where(n >= k, np.minimum(tail, 1.0), np.nan)[inverse]


def best_at_k(rewards: Floats, k: int, *, lowest: bool = False) -> Floats:
    """best@k per task: the expected highest (or `lowest`) reward of k attempts, over all k-subsets, in closed form."""
    ordered = np.sort(-rewards if lowest else rewards, axis=1)
    counts = np.count_nonzero(~np.isnan(ordered), axis=1)
    result = np.full(len(ordered), np.nan)
    for n in np.unique(counts[counts >= k]).tolist():
        # The i-th smallest is the highest of a subset together with k − 1 of the i − 1 below it.
        total = math.comb(n, k)
        weights = np.array([math.comb(i, k - 1) / total for i in range(n)])
        with np.errstate(invalid="ignore"):  # a missing reward that is filled with the end of an open range
            result[counts == n] = ordered[counts == n, :n] @ weights
    return -result if lowest else result


def majority_at_k(passed: Floats, answers: Codes, k: int) -> Floats:
    """majority@k per task; rules and cost are those of `votes.majority`."""
    return votes.majority(votes.count_votes(passed, answers), k)


def variance_split(values: Floats) -> dict[str, Any]:
    """The variance of one attempt, split by the law of total variance, over tasks with at least two values.

    `within_task` is the mean of the tasks' unbiased variances s², `between_tasks` the variance of their means less mean(s²/n), cut at 0
    (`cut`), `total` their sum and `icc` = between/total. `run_sd` = √(within_task/m) is the SD of the score of single-repeat runs on
    these same m tasks. All null with one repeat, but for `total`, which is then the variance of the attempts.
    """
    counts = np.count_nonzero(~np.isnan(values), axis=1)
    result: dict[str, Any] = {"between_tasks": None, "within_task": None, "run_sd": None, "total": None, "icc": None, "cut": False}
    scored, several = int(np.count_nonzero(counts)), counts >= 2
    if not several.any():
        if scored > 1:
            result["total"] = float(np.var(task_means(values)[counts > 0], ddof=1))
        return result
    n, rows = counts[several], values[several]
    means = task_means(rows)
    squares = np.sum(np.where(np.isnan(rows), 0.0, rows - means[:, None]) ** 2, axis=1) / (n - 1)
    within = float(np.mean(squares))
    result |= {"within_task": within, "run_sd": math.sqrt(within / scored)}
    if len(n) > 1:
        between = float(np.var(means, ddof=1)) - float(np.mean(squares / n))
        result |= {"between_tasks": max(between, 0.0), "cut": between < 0, "total": max(between, 0.0) + within}
        result["icc"] = result["between_tasks"] / result["total"] if result["total"] > 0 else None
    return result


def tasks_passed(passed: Floats) -> dict[str, int]:
    """How many tasks passed `always`, `sometimes` and `never`, by the verdicts that they have; tasks without one are in none."""
    n, c = _verdicts_and_passes(passed)
    return {
        "always": int(np.count_nonzero((n > 0) & (c == n))),
        "sometimes": int(np.count_nonzero((c > 0) & (c < n))),
        "never": int(np.count_nonzero((n > 0) & (c == 0))),
    }


def detectable_difference(values: Floats, se: float | None, *, span: float = 1.0) -> dict[str, Any]:
    """The smallest difference to another model that this many tasks and repeats would show, with 80 % power at the 5 % level.

    values: float[m, K], one attempt each, NaN missing; se: of the score, over tasks; span: of the metric's range (1 where it has none).
    `unpaired` = 2.80·√2·se. `paired`, on the same tasks: 2.80·√(2·within_task/(K·m)) with repeats, a lower bound as it is for models
    that differ by noise only; else 2.80·√(0.10/m)·span. `assumed` says which. `repeats` gives the repeats needed to see paired
    differences of 5, 2, 1 and 0.5 % of the span. Null where it cannot be said.
    """
    counts = np.count_nonzero(~np.isnan(values), axis=1)
    n = counts[counts > 0]
    result: dict[str, Any] = {"unpaired": None, "paired": None, "assumed": None, "repeats": None}
    if not len(n):
        return result
    if se:
        result["unpaired"] = POWER_FACTOR * math.sqrt(2) * se
    within = variance_split(values)["within_task"]
    if within:
        result["paired"] = POWER_FACTOR * math.sqrt(2 * within * float(np.mean(1 / n)) / len(n))
        result["assumed"] = "paired: the models differ by noise only (a lower bound)"
        needed = [(share, 2 * within * (POWER_FACTOR / (share * span)) ** 2 / len(n)) for share in (0.05, 0.02, 0.01, 0.005)]
        result["repeats"] = {f"{share:g}": max(1, math.ceil(repeats)) for share, repeats in needed}
    else:
        result["paired"] = POWER_FACTOR * math.sqrt(DISCORDANT / len(n)) * span
        result["assumed"] = f"paired: {DISCORDANT:.0%} of the tasks differ between the models"
    return result


def macro_mean(values: Sequence[float], errors: Sequence[float], weights: Sequence[float] | None = None) -> tuple[float, float]:
    """Mean over fixed strata and its SE: Σ w v and √(Σ w² SE²), the weights scaled to sum to 1 (all equal where None)."""
    shares = np.ones(len(values)) if weights is None else np.asarray(weights, dtype=np.float64)
    shares = shares / np.sum(shares)
    return float(shares @ np.asarray(values)), float(np.sqrt(np.sum((shares * np.asarray(errors)) ** 2)))


def _verdicts_and_passes(passed: Floats) -> tuple[Codes, Codes]:
    n = np.count_nonzero(~np.isnan(passed), axis=1)
    return np.asarray(n, dtype=np.int64), np.count_nonzero(passed > 0.5, axis=1).astype(np.int64)


def _all_drawn_from(part: Codes, n: Codes, k: int) -> Floats:
    """C(part, k)/C(n, k) as Π (part − i)/(n − i), which neither overflows nor loses digits; NaN where n < k."""
    share = np.ones(len(n))
    for i in range(k):
        share *= np.maximum(part - i, 0) / np.maximum(n - i, 1)
    return np.where(n >= k, share, np.nan)


def cluster_codes(clusters: Sequence[str | None] | None) -> Codes | None:
    """int[m]: equal codes for equal names; a task without a name is a cluster of its own."""
    if not clusters or all(name is None for name in clusters):
        return None
    names: dict[Any, int] = {}
    keys: list[Any] = [("task", row) if name is None else name for row, name in enumerate(clusters)]
    return np.array([names.setdefault(key, len(names)) for key in keys], dtype=np.int64)
