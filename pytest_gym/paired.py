"""Two systems on the same tasks: the difference of their scores, its interval, and how surely it is one. Pure functions on arrays.

A difference is B − A. Input is one difference per task, NaN-free. `paired_difference` chooses:

    one binary verdict a task on each side   exact McNemar test (two-sided, binomial), Tango's score interval
    all else                                 sign-flip permutation test over tasks (whole clusters), t interval, or BCa where skewed
    all (clusters') differences equal        the same test, the difference ± 3.69/m of the range

Nothing here knows of runs, benchmarks or files; which tasks are pairs is decided in `compare`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from pytest_gym import intervals

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

FLIPS = 10_000
EXACT_UNITS = 16
"""Up to so many tasks (clusters) with a difference all sign flips are tried."""

SEED = 20_241_101
POWER_FACTOR = 2.80
"""z(0.975) + z(0.8): a difference of so many standard errors is found with 80 % power at 5 %."""

_NORMAL = NormalDist()
_DUST = 1e-9
"""Differences that are apart by less than this share of the largest are apart by rounding only."""

_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class PairedResult:
    """The difference B − A of two scores over the same tasks.

    `low` and `high` are the interval at the level that was asked for, None exactly where `reason` says why. `p_value` is two-sided.
    `test` is `mcnemar` or `permutation`, `method` is `tango`, `t`, `bca` or `all_equal`, with `, clustered` where that holds.
    `se` is that of the difference. `detectable` is the smallest difference that these pairs show with 80 % power at 5 %.
    """

    difference: float
    low: float | None
    high: float | None
    p_value: float
    test: str
    method: str | None
    se: float | None
    detectable: float | None
    pairs: int
    reason: str | None = None


def paired_difference(
    differences: Floats, *, binary: bool, span: float = 1.0, clusters: Codes | None = None, level: float = 0.95, seed: int = SEED
) -> PairedResult | None:
    """The mean of `differences` with its interval and test; None without a pair.

    differences: float[m], B − A of each task. binary: each is ±span or 0, from one verdict a side. span: the metric's range (infinite where
    it has none). clusters: int[m], equal where tasks were drawn together.
    """
    m = len(differences)
    if m == 0:
        return None
    mean = float(np.mean(differences))
    groups = 0 if clusters is None else len(np.unique(clusters))
    clustered = clusters is not None and groups < m
    units = groups if clustered else m
    se = intervals.standard_error(differences, clusters if clustered else None)
    # What so few units leave possible although none of them differs: the same bound on both scales. Clusters that add up to the same
    # have no spread between them either, however much their tasks differ.
    reach = -math.log((1 - level) / 2) / units * span
    flat = se is None or se <= _DUST * float(np.max(np.abs(differences)))
    detectable = None if se is None else max(POWER_FACTOR * se, reach) if flat else POWER_FACTOR * se
    if detectable is not None and not math.isfinite(detectable):
        detectable = None
    if binary and not clustered and math.isfinite(span):
        gained, lost = int(np.count_nonzero(differences > 0)), int(np.count_nonzero(differences < 0))
        low, high = tango(gained, lost, m, level)
        spread = POWER_FACTOR * math.sqrt(gained + lost) / m * span if gained + lost else -math.log(0.025) / m * span
        return PairedResult(mean, low * span, high * span, mcnemar(gained, lost), "mcnemar", "tango", se, spread, m)
    p_value = sign_flip(differences, clusters if clustered else None, seed=seed)
    mark = ", clustered" if clustered else ""
    if clustered and groups < intervals.MIN_CLUSTERS:
        reason = f"only {groups} cluster{'s' * (groups != 1)}: at least {intervals.MIN_CLUSTERS} are needed"
        return PairedResult(mean, None, None, p_value, "permutation", None, se, None, m, reason)
    if flat:
        if not math.isfinite(reach):
            reason = "only one task" if m == 1 else "all differences are equal and the metric has no range"
            return PairedResult(mean, None, None, p_value, "permutation", None, se, None, m, reason)
        low, high = max(mean - reach, -span), min(mean + reach, span)
        return PairedResult(mean, low, high, p_value, "permutation", "all_equal" + mark, se, detectable, m)
    assert se is not None  # else it is flat
    if not clustered and intervals.is_skewed(differences):
        low, high, method = *intervals.bca(differences, level), "bca"
    else:
        half = intervals.t_quantile(units - 1, level) * se
        low, high, method = mean - half, mean + half, "t" + mark
    return PairedResult(mean, max(low, -span), min(high, span), p_value, "permutation", method, se, detectable, m)


def mcnemar(gained: int, lost: int) -> float:
    """The exact two-sided p of McNemar's test: of the discordant tasks half go either way (McNemar 1947; no mid-p)."""
    from scipy.special import bdtr  # the binomial distribution function

    discordant = gained + lost
    return 1.0 if discordant == 0 else min(1.0, 2 * float(bdtr(min(gained, lost), discordant, 0.5)))


def tango(gained: int, lost: int, m: int, level: float = 0.95) -> tuple[float, float]:
    """Tango's score interval for the difference of two paired shares, (gained − lost)/m of m pairs (Tango 1998, Stat. Med. 17:891).

    The differences δ with |gained − lost − mδ| ≤ z √(m(2q + δ(1 − δ))), q the likeliest share of lost pairs given δ. With none discordant
    that is ± z²/(m + z²).
    """
    z = intervals.normal_quantile(level)

    def score(delta: float) -> float:
        b = -gained - lost + (2 * m - gained + lost) * delta
        q = (math.sqrt(max(b * b + 8 * m * lost * delta * (1 - delta), 0.0)) - b) / (4 * m)
        variance = m * (2 * q + delta * (1 - delta))
        distance = gained - lost - m * delta
        return 0.0 if distance == 0 else math.inf * distance if variance <= 0 else distance / math.sqrt(variance)

    def end(inside: float, outside: float, target: float) -> float:
        for _ in range(60):
            middle = (inside + outside) / 2
            inside, outside = (middle, outside) if abs(score(middle)) <= target else (inside, middle)
        return inside

    share = (gained - lost) / m
    return (-1.0 if share <= -1 else end(share, -1.0, z)), (1.0 if share >= 1 else end(share, 1.0, z))


def sign_flip(differences: Floats, clusters: Codes | None = None, *, flips: int = FLIPS, seed: int = SEED) -> float:
    """The two-sided p of the permutation test in which A and B are exchangeable within each task (cluster).

    Exact over all sign flips of up to 16 tasks that differ, else (b + 1)/(B + 1) over B seeded ones (Phipson & Smyth 2010). Memory does
    not grow with the flips.
    """
    values = differences if clusters is None else np.bincount(np.unique(clusters, return_inverse=True)[1], weights=differences)
    values = np.abs(values[values != 0])
    observed = abs(float(np.sum(differences)))
    units = len(values)
    if units == 0:
        return 1.0
    near = observed - 1e-9 * float(np.sum(values))
    if units <= EXACT_UNITS:
        sums = np.zeros(1)
        for value in values:
            sums = np.concatenate((sums - value, sums + value))
        return float(np.count_nonzero(np.abs(sums) >= near)) / len(sums)
    random = np.random.default_rng(seed)
    # Eight signs at a time are one byte, and the sum of each byte's eight is looked up in a table that the processor keeps at hand.
    padded = np.sort(np.pad(values, (0, -units % 8))).reshape(-1, 8)
    tables = padded @ (2.0 * ((np.arange(256)[:, None] >> np.arange(8)) & 1) - 1.0).T
    totals = np.zeros(flips)
    for start in range(0, len(tables), _AT_ONCE):
        part = tables[start : start + _AT_ONCE]
        for table, drawn in zip(part, random.integers(0, 256, (len(part), flips), dtype=np.uint8), strict=True):
            totals += table[drawn]
    return (int(np.count_nonzero(np.abs(totals) >= near)) + 1) / (flips + 1)


def sureness(one: Floats, other: Floats, n_one: Codes, n_other: Codes, *, low: float, span: float) -> Floats:
    """float[m]: how surely each task moved, its difference over its standard error; 0 where a side has no value.

    one, other: means of n_one and n_other verdicts of each task. The errors are those after two further verdicts, one of each kind
    (Agresti & Caffo 2000): a task with one verdict is not sure of itself.
    """
    start, scale = (low, span) if math.isfinite(span) else (0.0, 1.0)

    def spread(values: Floats, n: Codes) -> Floats:
        share = (np.clip((np.nan_to_num(values) - start) / scale, 0, 1) * n + 1) / (n + 2)
        return np.asarray(share * (1 - share) / (n + 2))

    return np.asarray(np.abs(np.nan_to_num(other - one)) / scale / np.sqrt(spread(one, n_one) + spread(other, n_other)))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values as Holm corrects them for there being several (Holm 1979), in the order given."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    found, highest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[i]))
        found[i] = highest
    return found


def power_of_equal(margin: float, se: float | None, level: float = 0.95) -> float | None:
    """How often a model that is exactly as good as the baseline passes `>= baseline - margin at level`: Φ(margin/se − z).

    se: of the difference that will be observed. None where it is not known.
    """
    if se is None:
        return None
    if se <= 0:
        return 1.0 if margin > 0 else 0.0
    return _NORMAL.cdf(margin / se - intervals.normal_quantile(level))


def unpaired_difference(
    a: Floats, b: Floats, *, level: float = 0.95
) -> tuple[float, float | None, float | None, float | None, float | None]:
    """Welch's t: difference of the means of two sets of tasks, its interval, p-value and SE. For runs whose tasks are not the same."""
    from scipy.special import stdtr

    if not len(a) or not len(b):
        return math.nan, None, None, None, None
    mean = float(np.mean(b) - np.mean(a))
    if len(a) < 2 or len(b) < 2:
        return mean, None, None, None, None
    one, other = float(np.var(a, ddof=1)) / len(a), float(np.var(b, ddof=1)) / len(b)
    se = math.sqrt(one + other)
    if se == 0:
        return mean, None, None, None, 0.0
    degrees = (one + other) ** 2 / (one**2 / (len(a) - 1) + other**2 / (len(b) - 1))
    half = intervals.t_quantile(degrees, level) * se
    return mean, mean - half, mean + half, 2 * float(stdtr(degrees, -abs(mean) / se)), se
