"""Scores of one benchmark in one run: pure functions on arrays of tasks × repeats, where NaN is a verdict that is missing.

No files, no records, no text but the hints. Functions named after a metric return one value per task, float[m], NaN where the task has too
few verdicts; the score is their mean, so that tasks weigh the same however many repeats are missing. Majority votes are counted in
`votes`, intervals chosen in `intervals`, and `summarise` puts all of it into the benchmark's entry of `summary.json`.

    pass@k          1 − C(n−c, k)/C(n, k): at least one of k attempts passes (Chen et al. 2021, "Evaluating LLMs trained on code")
    pass^k          C(c, k)/C(n, k): all k attempts pass (Yao et al. 2024, "τ-bench")
    g-pass@k:τ      at least ⌈τk⌉ of k attempts pass, a hypergeometric tail (Liu et al. 2024, "Are your LLMs capable of stable reasoning?")
    best@k          Σ x₍ᵢ₎ C(i−1, k−1)/C(n, k): the expected best reward of k attempts
    majority@k      the expected score of the most frequent answer of k attempts

with n verdicts of a task, c of them passed, and x₍ᵢ₎ its rewards in rising order.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_gym import intervals, votes
from pytest_gym.hints import hints
from pytest_gym.outcomes import Outcomes

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

STABILITY = (0.5, 0.75, 1.0)
"""The thresholds τ of G-Pass@k."""

POWER_FACTOR = 2.80
"""z(0.975) + z(0.8): a difference of so many standard errors is found with 80 % power at 5 %."""

DISCORDANT = 0.10
"""The share of tasks that two models answer differently, assumed where nothing is known of it."""

_KEY = re.compile(r"(pass@|pass\^|majority@|best@|g-pass@)([1-9]\d*)(?::(0\.5|0\.75|1\.0))?")


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


def summarise(
    outcomes: Outcomes,
    *,
    headline: str = "pass@1",
    direction: str = "higher",
    low: float = 0.0,
    high: float = 1.0,
    repeats: int | None = None,
    temperature: float | None = None,
    same_text: bool = False,
) -> dict[str, Any]:
    """The benchmark's entry of `summary.json`; the caller adds `errors`, `rates` and `tokens`.

    headline: a key of `metrics` (pass@k of any k too); direction: `higher` or `lower` is better; low, high: the headline's range, which
    rewards keep to as well. repeats: those planned, where the arrays have fewer columns. temperature, and same_text (a task's repeats
    all have the same text), only make hints.
    Never raises on data that are few, equal or missing: what cannot be said is None, with a `reason`.
    """
    outcomes = outcomes.widened(repeats or 0)
    table = _Table(outcomes, headline, direction, low, high)
    entry = table.entry(list(table.keys()), outcomes.verdicts, None)
    attempts = table.attempts()
    se = entry["metrics"][headline]["se"]
    span = high - low if math.isfinite(high - low) else 1.0
    subsets: dict[str, Any] = {}
    for name, rows in _groups(outcomes.subsets).items():
        subsets[name] = table.entry(list(dict.fromkeys((headline, "pass@1"))), outcomes.verdicts, rows)
    summary = {
        "tasks": entry["tasks"],
        "repeats": outcomes.repeats,
        "cases": entry["cases"],
        "missing": entry["missing"],
        "headline": headline,
        "direction": direction,
        "range": [_finite(low), _finite(high)],
        "metrics": entry["metrics"],
        "subsets": subsets,
        "variance": variance_split(attempts),
        "tasks_passed": tasks_passed(outcomes.passed),
        "detectable_difference": detectable_difference(attempts, se, span=span),
    }
    return summary | {"hints": hints(summary, temperature=temperature, same_text=same_text)}


def scale_of(outcomes: Outcomes, key: str, headline: str, low: float, high: float) -> tuple[float, float, bool]:
    """The range of the metric `key`, and whether every single verdict lies at one of its ends; low, high: the headline's range."""
    return _Table(outcomes, headline, "higher", low, high).scale(key)


def task_values(outcomes: Outcomes, key: str, *, direction: str = "higher", low: float = 0.0, high: float = 1.0) -> Floats:
    """float[m]: the metric `key` of each task, NaN where it has too few verdicts; as `summarise` takes them."""
    return _Table(outcomes, key, direction, low, high).values(key)


class _Table:
    """The metrics of one benchmark: per-task values of each key, computed once and then averaged over all tasks or a subset."""

    def __init__(self, outcomes: Outcomes, headline: str, direction: str, low: float, high: float) -> None:
        self.outcomes, self.headline, self.low, self.high = outcomes, headline, low, high
        self.lowest = direction == "lower" and headline == "mean_reward"
        self.missing = np.count_nonzero(np.isnan(outcomes.passed), axis=1)
        self.affected = np.flatnonzero(self.missing)
        self._votes = None if outcomes.answers is None else votes.count_votes(outcomes.passed, outcomes.answers)
        self._values: dict[str, Floats] = {}
        self._ends: dict[str, tuple[Floats, Floats]] = {}
        self.clusters = cluster_codes(outcomes.clusters)
        part = outcomes.take(self.affected)
        self._fills: list[tuple[Outcomes, votes.Votes | None]] = []
        if len(self.affected):
            fills = [
                part.filled(right=right, low=low, high=high, unanswered=none)
                for right, none in ((False, False), (False, True), (True, False))
            ]
            self._fills = [(f, None if f.answers is None else votes.count_votes(f.passed, f.answers)) for f in fills]
        self.rewards_binary = _two_valued(outcomes.rewards, low, high)

    def keys(self) -> dict[str, None]:
        """All keys of the benchmark, in the order in which they are reported."""
        ks = attempt_counts(self.outcomes.repeats)
        keys = ["pass@1", *(f"pass@{k}" for k in ks), *(f"pass^{k}" for k in ks)]
        keys += [f"g-pass@{k}:{t}" for k in ks for t in STABILITY]
        if self._votes is not None:
            keys += [f"majority@{k}" for k in ks]
        keys += [*(f"best@{k}" for k in ks), "mean_reward", *self.outcomes.scores, self.headline]
        return dict.fromkeys(keys)

    def attempts(self) -> Floats:
        """float[m, K]: what one attempt counts for the headline."""
        if self.headline == "mean_reward" or self.headline.startswith("best@"):
            return self.outcomes.rewards
        return self.outcomes.scores.get(self.headline, self.outcomes.passed) if not _KEY.fullmatch(self.headline) else self.outcomes.passed

    def entry(self, keys: Sequence[str], verdicts: Codes, rows: Codes | None) -> dict[str, Any]:
        """Tasks, cases, missing and the metrics `keys` of all tasks, or of those in `rows`."""
        chosen = np.arange(self.outcomes.tasks) if rows is None else rows
        return {
            "tasks": len(chosen),
            "cases": len(chosen) * self.outcomes.repeats,
            "missing": int(self.missing[chosen].sum()),
            "metrics": {key: self.metric(key, verdicts, chosen) for key in keys},
        }

    def metric(self, key: str, verdicts: Codes, rows: Codes) -> dict[str, Any]:
        """One metric over the tasks in `rows`: value, se, ci95, method, tasks, few, reason, and bounds where verdicts are missing."""
        values = self.values(key)[rows]
        scored = ~np.isnan(values)
        low, high, binary = self.scale(key)
        found = intervals.interval(
            values[scored],
            verdicts=int(verdicts[rows][scored].sum()),
            low=low,
            high=high,
            binary=binary,
            clusters=None if self.clusters is None else self.clusters[rows][scored],
        )
        reason = self.absent(key) or found.reason
        result: dict[str, Any] = {
            "value": min(max(float(np.mean(values[scored])), low), high) if scored.any() else None,
            "se": found.se,
            "ci95": None if found.low is None or found.high is None else [found.low, found.high],
            "method": found.method,
            "tasks": int(np.count_nonzero(scored)),
            "few": found.few,
            "reason": reason,
        }
        if self.missing[rows].any():
            # Sorted, because rounding may put ends that are equal the wrong way round.
            ends = sorted(float(np.mean(end[rows])) for end in self.ends(key)) if self.bounded(key) else []
            result["bounds"] = ends if ends and all(math.isfinite(end) for end in ends) else None
        return result

    def values(self, key: str) -> Floats:
        """float[m]: the metric's value of each task, NaN where it has too few verdicts."""
        if key not in self._values:
            self._values[key] = self._compute(key, self.outcomes, self._votes)
        return self._values[key]

    def ends(self, key: str) -> tuple[Floats, Floats]:
        """float[m] twice: the values with every missing verdict counted wrong and counted right. Other tasks are not computed again."""
        if key not in self._ends:
            low, high = self.values(key).copy(), self.values(key).copy()
            wrong, silent, right = (self._compute(key, *fill) for fill in self._fills)
            low[self.affected], high[self.affected] = np.minimum(wrong, silent), right
            self._ends[key] = (low, high)
        return self._ends[key]

    def scale(self, key: str) -> tuple[float, float, bool]:
        """The metric's range, and whether every single verdict lies at one of its ends.

        A named score that is not the headline has the range where all its values keep to it, else none.
        """
        match = _KEY.fullmatch(key)
        if match and match[1] != "best@":
            return 0.0, 1.0, True
        if match or key == "mean_reward":
            return self.low, self.high, self.rewards_binary
        scores = self.outcomes.scores.get(key)
        if scores is None:
            return self.low, self.high, False
        present = scores[~np.isnan(scores)]
        if key == self.headline or bool(np.all((present >= self.low) & (present <= self.high))):
            return self.low, self.high, _two_valued(scores, self.low, self.high)
        return -math.inf, math.inf, False

    def bounded(self, key: str) -> bool:
        """Whether the bounds of missing data can be said: not for a named score besides the headline, whose range nobody states."""
        own = key == self.headline or key == "mean_reward" or _KEY.fullmatch(key) is not None
        return own and not self.absent(key)

    def absent(self, key: str) -> str | None:
        """Why this run cannot have the metric at all, or None."""
        match = _KEY.fullmatch(key)
        if match is None:
            return None if key == "mean_reward" or key in self.outcomes.scores else f"no verdict has the score {key!r}"
        if int(match[2]) > self.outcomes.repeats:
            return f"{key} needs {match[2]} repeats, planned are {self.outcomes.repeats}"
        return "the verifier extracts no answers to vote on" if match[1] == "majority@" and self._votes is None else None

    def _compute(self, key: str, outcomes: Outcomes, counted: votes.Votes | None) -> Floats:
        match = _KEY.fullmatch(key)
        if match is None:
            values = outcomes.rewards if key == "mean_reward" else outcomes.scores.get(key)
            return np.full(outcomes.tasks, np.nan) if values is None else task_means(values)
        k = int(match[2])
        families: dict[str, Callable[[], Floats]] = {
            "pass@": lambda: pass_at_k(outcomes.passed, k),
            "pass^": lambda: pass_hat_k(outcomes.passed, k),
            "g-pass@": lambda: g_pass_at_k(outcomes.passed, k, float(match[3] or 1.0)),
            "best@": lambda: best_at_k(outcomes.rewards, k, lowest=self.lowest),
            "majority@": lambda: np.full(outcomes.tasks, np.nan) if counted is None else votes.majority(counted, k),
        }
        return families[match[1]]()


def _verdicts_and_passes(passed: Floats) -> tuple[Codes, Codes]:
    n = np.count_nonzero(~np.isnan(passed), axis=1)
    return np.asarray(n, dtype=np.int64), np.count_nonzero(passed > 0.5, axis=1).astype(np.int64)


def _all_drawn_from(part: Codes, n: Codes, k: int) -> Floats:
    """C(part, k)/C(n, k) as Π (part − i)/(n − i), which neither overflows nor loses digits; NaN where n < k."""
    share = np.ones(len(n))
    for i in range(k):
        share *= np.maximum(part - i, 0) / np.maximum(n - i, 1)
    return np.where(n >= k, share, np.nan)


def _two_valued(values: Floats, low: float, high: float) -> bool:
    return math.isfinite(high - low) and low < high and bool(np.all((values == low) | (values == high) | np.isnan(values)))


def cluster_codes(clusters: Sequence[str | None] | None) -> Codes | None:
    """int[m]: equal codes for equal names; a task without a name is a cluster of its own."""
    if not clusters or all(name is None for name in clusters):
        return None
    names: dict[Any, int] = {}
    keys: list[Any] = [("task", row) if name is None else name for row, name in enumerate(clusters)]
    return np.array([names.setdefault(key, len(names)) for key in keys], dtype=np.int64)


def _groups(subsets: Sequence[str | None]) -> dict[str, Codes]:
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(subsets):
        if name is not None:
            rows.setdefault(name, []).append(row)
    return {name: np.array(rows[name], dtype=np.int64) for name in sorted(rows)}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
