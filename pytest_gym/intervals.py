"""Confidence intervals for a mean over tasks: which one is right for which data, and each of them as a pure function.

The estimand is the mean over the population that the tasks are drawn from, so that the spread between tasks is part of every width.
Input is one value per task; nothing here knows of repeats, benchmarks or files. `interval` chooses:

    one binary verdict per task            Wilson
    other means of binary verdicts         score interval on the effective sample size, t quantile
    graded values                          t, or BCa where they are skewed
    all graded values equal                value ± 3.69/m of the range
    tasks that were drawn in clusters      the same with the clustered standard error and G − 1 degrees of freedom; none below 5 clusters
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

MIN_CLUSTERS = 5
FEW = 10
"""Fewer expected passes or failures than this over the tasks: the interval is marked as resting on few."""

BOOTSTRAP_RESAMPLES = 2_000
BOOTSTRAP_SEED = 20_240_501
SKEWED = 1.0
SKEW_MATTERS = 0.1
MIN_BOOTSTRAP_TASKS = 25
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Interval:
    """An interval for a mean, or the reason for none.

    `low` and `high` are None exactly where `reason` is set. `se` is the standard error over tasks (None with fewer than two tasks or
    clusters). `method` is `wilson`, `n_eff`, `t`, `bca` or `all_equal`, with `, clustered` where that holds, None where refused.
    `few` marks an interval that rests on fewer than ten expected passes or failures: its coverage may be as low as 91%.
    """

    low: float | None
    high: float | None
    method: str | None
    se: float | None
    few: bool = False
    reason: str | None = None


def interval(
    values: Floats,
    *,
    verdicts: int,
    low: float = 0.0,
    high: float = 1.0,
    binary: bool = True,
    clusters: Codes | None = None,
    level: float = 0.95,
) -> Interval:
    """The two-sided interval at `level` for the mean of `values`, chosen by the table at the top of this module.

    values: float[m] without NaN, one per task. verdicts: how many verdicts they come from in all (m ≤ verdicts).
    low, high: the metric's range, infinite where it has none. binary: every verdict behind the values is `low` or `high`.
    clusters: int[m], equal where tasks were drawn together.
    """
    m = len(values)
    if m == 0:
        return Interval(None, None, None, None, reason="no task has enough verdicts")
    mean = min(max(float(np.mean(values)), low), high)
    groups = 0 if clusters is None else len(np.unique(clusters))
    clustered = clusters is not None and groups < m
    se = standard_error(values, clusters if clustered else None)
    if clustered and groups < MIN_CLUSTERS:
        return Interval(None, None, None, se, reason=f"only {groups} cluster{'s' * (groups != 1)}: at least {MIN_CLUSTERS} are needed")
    units = groups if clustered else m
    if binary and verdicts == m and not clustered:
        share = (mean - low) / (high - low)
        pair = score_interval(share, m, normal_quantile(level))
        return _result(pair, mean, "wilson", se, low, high, m)
    if units < 2 or se is None:
        return Interval(None, None, None, se, reason="only one task: its repeats say nothing about other tasks")
    quantile = t_quantile(units - 1, level)
    mark = ", clustered" if clustered else ""
    if binary:
        share = (mean - low) / (high - low)
        n_eff = effective_size(share, se / (high - low), units=units, most=verdicts)
        return _result(score_interval(share, n_eff, quantile), mean, "n_eff" + mark, se, low, high, units)
    if np.ptp(values) == 0 or se <= 1e-12:  # the latter where the deviations of each cluster cancel out
        if not math.isfinite(high - low):
            return Interval(None, None, None, se, reason="all values are equal and the metric has no range")
        # (1 - x)^m = 0.025 has x = 3.69/m: what m equal draws leave possible for a share of other values, at either end.
        reach = -math.log((1 - level) / 2) / units * (high - low)
        return _cut(mean - reach, mean + reach, mean, "all_equal" + mark, se, low, high, units)
    if not clustered and is_skewed(values):
        return _cut(*bca(values, level), mean, "bca", se, low, high, m)
    return _cut(mean - quantile * se, mean + quantile * se, mean, "t" + mark, se, low, high, units)


def standard_error(values: Floats, clusters: Codes | None = None) -> float | None:
    """SE of the mean over tasks: sd(values, ddof 1)/√m. None with fewer than two tasks (clusters).

    With clusters: √(G/(G−1) · Σ_g (Σ_{i∈g} (v_i − v̄))²)/m, the sandwich estimator with its small-sample correction
    (Liang & Zeger 1986; Miller 2024, "Adding Error Bars to Evals", section 2.2).
    """
    m = len(values)
    if clusters is None:
        return float(np.std(values, ddof=1)) / math.sqrt(m) if m > 1 else None
    codes = np.unique(clusters, return_inverse=True)[1]
    sums = np.bincount(codes, weights=values - np.mean(values))
    groups = len(sums)
    return math.sqrt(groups / (groups - 1) * float(sums @ sums)) / m if groups > 1 else None


def wilson(successes: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval for `successes` of `n` (Wilson 1927)."""
    return score_interval(successes / n, n, normal_quantile(level))


def score_interval(share: float, n: float, quantile: float) -> tuple[float, float]:
    """The values p with |share − p| ≤ quantile · √(p(1 − p)/n): Wilson's formula for any n > 0 and quantile."""
    squared = quantile * quantile
    centre = (share + squared / (2 * n)) / (1 + squared / n)
    half = quantile / (1 + squared / n) * math.sqrt(share * (1 - share) / n + squared / (4 * n * n))
    # Rounding may leave 0/n with a lower bound of 1e-18, and n/n with an upper one below 1.
    return (0.0 if share <= 0 else centre - half), (1.0 if share >= 1 else centre + half)


def effective_size(share: float, se: float, *, units: float, most: float) -> float:
    """n_eff = p(1 − p)/SE²: as many independent verdicts would have this SE. Clipped to [units, most] (Korn & Graubard 1998).

    `units` are what was drawn independently: tasks, or clusters where tasks come in clusters.
    With fewer than ten expected passes or failures the SE misses the rare tasks that were not drawn, and n_eff would come out several
    times too large (30 tasks × 32 repeats at mean 0.02: coverage 83%). So up to a quarter of a unit at the rare end is added before
    the ratio is taken, fading out towards ten; at p = 0 or 1 that leaves n_eff = units.
    """
    rare = 1.0 if share <= 0.5 else 0.0
    extra = 0.25 * max(0.0, 1 - units * min(share, 1 - share) / FEW)
    total = units + extra
    mean = (units * share + extra * rare) / total
    squares = (units - 1) * units * se * se + units * (share - mean) ** 2 + extra * (rare - mean) ** 2
    spread = mean * (1 - mean) * (total - 1) * units
    return max(min(spread / squares if squares > 0 else most, most), units)


def is_skewed(values: Floats) -> bool:
    """Whether a t interval would be off: sample skewness above 1, and not yet averaged away by the number of tasks (g/√m > 0.1).

    Below 25 tasks the bootstrap is too narrow to be a cure, and the answer is no.
    """
    m = len(values)
    deviations = values - np.mean(values)
    variance = float(np.mean(deviations**2))
    if m < MIN_BOOTSTRAP_TASKS or variance <= 0:
        return False
    skewness = float(abs(np.mean(deviations**3))) / math.pow(variance, 1.5)
    return skewness > SKEWED and skewness > SKEW_MATTERS * math.sqrt(m)


def bca(values: Floats, level: float = 0.95, *, resamples: int = BOOTSTRAP_RESAMPLES, seed: int = BOOTSTRAP_SEED) -> tuple[float, float]:
    """Bias-corrected and accelerated bootstrap interval for the mean (Efron 1987), seeded; the order of the values does not matter.

    The normal quantile is widened to √(m/(m−1)) · t, which takes out the bootstrap's narrowness with few tasks (Hesterberg 2015).
    """
    ordered = np.sort(values)
    m, mean = len(ordered), float(np.mean(ordered))
    deviations = ordered - mean
    total = float(np.sum(deviations**2))
    if total <= 0:
        return mean, mean
    random = np.random.default_rng(seed)
    means = np.empty(resamples)
    rows = max(1, 1_000_000 // m)
    for start in range(0, resamples, rows):
        size = min(rows, resamples - start)
        means[start : start + size] = ordered[random.integers(0, m, (size, m), dtype=np.int32)].mean(axis=1)
    return bca_ends(means, mean, ordered, level)


def bca_ends(draws: Floats, value: float, influences: Floats, level: float = 0.95) -> tuple[float, float]:
    """The ends of a BCa interval from bootstrap `draws` of a statistic, its `value`, and each task's influence on it (float[m])."""
    m, resamples = len(influences), len(draws)
    deviations = influences - np.mean(influences)
    total = float(np.sum(deviations**2))
    below = (np.count_nonzero(draws < value) + 0.5 * np.count_nonzero(draws == value)) / resamples
    bias = _NORMAL.inv_cdf(min(max(below, 0.5 / resamples), 1 - 0.5 / resamples))
    acceleration = float(np.sum(deviations**3)) / (6 * total**1.5)
    quantile = math.sqrt(m / (m - 1)) * t_quantile(m - 1, level)
    ends = [bias + (bias + z) / max(1 - acceleration * (bias + z), 1e-6) for z in (-quantile, quantile)]
    lower, upper = np.quantile(draws, [_NORMAL.cdf(end) for end in ends])
    return min(float(lower), value), max(float(upper), value)


def normal_quantile(level: float) -> float:
    """z with P(|Z| ≤ z) = level."""
    return _NORMAL.inv_cdf(0.5 + level / 2)


def t_quantile(degrees: float, level: float) -> float:
    """t with P(|T| ≤ t) = level at `degrees` degrees of freedom."""
    from scipy.special import stdtrit  # 0.3 s, which Wilson's interval does without

    return float(stdtrit(degrees, 0.5 + level / 2))


def _result(pair: tuple[float, float], mean: float, method: str, se: float | None, low: float, high: float, units: float) -> Interval:
    """An interval for a share of the range, on the metric's own scale."""
    return _cut(low + pair[0] * (high - low), low + pair[1] * (high - low), mean, method, se, low, high, units)


def _cut(lower: float, upper: float, mean: float, method: str, se: float | None, low: float, high: float, units: float) -> Interval:
    few = units < FEW
    if math.isfinite(high - low) and high > low:
        share = (mean - low) / (high - low)
        few = min(share, 1 - share) * units < FEW
    return Interval(min(max(lower, low), mean), max(min(upper, high), mean), method, se, few)
