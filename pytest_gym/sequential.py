"""When a run may stop because the verdicts that its gates would have are sure: a sequential test on tasks in random order.

`foreseen` gives the verdict that the full run would give, up to a small probability of error, from the completed tasks at the beginning of
a seeded random order (`plan.task_order`). What is certain and not only sure is `stopping`'s business. Pure functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from pytest_gym import intervals
from pytest_gym.compare import match, range_of, values_of
from pytest_gym.errors import ConfigError
from pytest_gym.gates import COUNTS, RATES, Gate
from pytest_gym.gating import Circumstances, GateResult
from pytest_gym.plan import task_order
from pytest_gym.scores import Scored
from pytest_gym.stopping import settled

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

_SOME = 20
_MEANS = ("pass@", "pass^", "g-pass@", "best@", "mean_reward")
_HALF = 0.5


def confidence_of(words: str) -> float | None:
    """`--gym-stop-when-decided`: None for exact bounds, else the confidence of the sequential test. Raises ConfigError."""
    if words in ("", "exact"):
        return None
    try:
        value = float(words.removesuffix("%")) / 100
    except ValueError:
        value = math.nan
    if not words.endswith("%") or not 0.9 <= value < 1:
        raise ConfigError(
            f"--gym-stop-when-decided={words}: give no value for exact bounds, or a confidence such as 99% (90% to below 100%)"
        )
    return value


def all_foreseen(gates: Sequence[Gate], scored: Sequence[Scored], known: Circumstances, confidence: float) -> list[GateResult] | None:
    """The verdicts on all gates of all benchmarks, all of them together right with `confidence`; None as long as one is not sure."""
    pairs = [(gate, one) for gate in gates for one in scored if gate.matches(one.name)]
    found = []
    for gate, one in pairs:
        result = foreseen(gate, one, known, (1 - confidence) / len(pairs))
        if result is None:
            return None
        found.append(result)
    return found


def foreseen(gate: Gate, scored: Scored, known: Circumstances, error: float) -> GateResult | None:
    """The verdict that the full run would give, wrong with a probability of at most `error`; None where that cannot be said yet.

    The tasks are taken in the order of `task_order`, up to the first that is not complete: a sample without replacement from the values
    whose mean is the full run's score. Each side of the threshold is tested by a betting martingale, which may be looked at after every
    task (Waudby-Smith & Ramdas 2020, and 2023, "Estimating means of bounded random variables by betting").
    """
    if (certain := settled([gate], [scored], known)) is not None:
        return certain[0]
    if known.doubts or gate.subset is not None or gate.least_subset or gate.metric in (*RATES, *COUNTS, "tokens"):
        return None
    low, high = range_of(scored, gate.metric)
    if not gate.metric.startswith(_MEANS) and gate.metric != scored.metric.headline:
        return None
    if gate.metric in scored.outcomes.derived or not math.isfinite(high - low) or scored.errors:
        return None
    order = np.array(task_order(scored.tasks), dtype=np.int64)
    prefix = order[: _complete(scored, order)]
    if len(prefix) < _SOME:
        return None
    values = values_of(scored.take(prefix), gate.metric)
    threshold: tuple[float, float] | None = (gate.value, gate.value)
    if gate.needs_baseline:
        against = _from_baseline(gate, scored, known, prefix)
        if against is None or gate.level is not None:
            return None
        values, low, high = values - against, low - high, high - low
    elif gate.level is not None:
        threshold = _wilson_thresholds(gate, scored, low, high)
    if threshold is None or np.any(np.isnan(values)):
        return None
    span = high - low
    shares = (values - low) / span
    above, below = (threshold[0] - low) / span, (threshold[1] - low) / span
    side = None
    if surely_above(shares, scored.tasks, above, error):
        side = gate.upwards
    elif surely_above(1 - shares, scored.tasks, 1 - below, error):
        side = not gate.upwards
    if side is None:
        return None
    mean = float(np.mean(values))
    verb = "differs by" if gate.needs_baseline else "is"
    what = f"{gate.metric} {verb} {mean:.4f} over {len(prefix):,} of {scored.tasks:,} tasks in random order"
    message = f"{what}; the full run would give this verdict with at least {1 - error:.4g} confidence"
    return GateResult(gate.title(scored.name), scored.name, True, side, mean, None, message)


def surely_above(shares: Floats, population: int, threshold: float, error: float) -> bool:
    """Whether the mean of a population of numbers in [0, 1] is above `threshold`, from a prefix of it in random order.

    shares: float[n], the prefix. "At most `threshold`" is rejected where the capital of a bettor against it, Π (1 + λᵢ (xᵢ − μᵢ)), has
    ever reached 1/error: μᵢ is the mean that the rest would have were it true, λᵢ depends on earlier values only. So the capital is a
    martingale under the hypothesis, and Ville's inequality holds at all times at once.
    """
    n = len(shares)
    before = np.concatenate(([0.0], np.cumsum(shares)[:-1]))
    left = population - np.arange(n)
    expected = (population * threshold - before) / left
    count = np.arange(1, n + 1)
    means = (_HALF + before) / count
    squares = np.concatenate(([0.0], np.cumsum((shares - means) ** 2)[:-1]))
    variance = (_HALF**2 + squares) / count
    bets = np.sqrt(2 * math.log(1 / error) / (variance * count * np.log1p(count)))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        bets = np.minimum(bets, 0.75 / np.maximum(expected, 1e-12))
        # A rest whose mean would have to be negative cannot be: then the hypothesis is refuted outright.
        if bool(np.any(expected < 0)):
            return True
        growth = np.where(expected > 1, 0.0, np.log1p(bets * (shares - expected)))
    return bool(np.any(np.cumsum(growth) >= math.log(1 / error)))


def _wilson(gate: Gate, scored: Scored) -> bool:
    binary = gate.metric == "pass@1" and scored.repeats == 1
    return binary and not any(name is not None for name in scored.outcomes.clusters or ())


def _wilson_thresholds(gate: Gate, scored: Scored, low: float, high: float) -> tuple[float, float] | None:
    """The scores above which the near bound of Wilson's interval is beyond the threshold, and below which the far one is not."""
    if not _wilson(gate, scored) or gate.level is None:
        return None
    quantile = intervals.normal_quantile(gate.level)

    def where(bound: int) -> float:
        return _root(lambda share: intervals.score_interval(share, scored.tasks, quantile)[bound] - gate.value)

    return where(0), where(1)


def _root(rising: Callable[[float], float]) -> float:
    least, most = 0.0, 1.0
    for _ in range(60):
        middle = (least + most) / 2
        least, most = (middle, most) if rising(middle) < 0 else (least, middle)
    return most


def _complete(scored: Scored, order: Codes) -> int:
    """How many tasks from the beginning of the order have all their verdicts."""
    done = ~np.any(np.isnan(scored.outcomes.passed), axis=1)[order]
    return int(np.argmin(done)) if not done.all() else len(order)


def _from_baseline(gate: Gate, scored: Scored, known: Circumstances, prefix: Codes) -> Floats | None:
    """The baseline's values of the tasks in `prefix`, None unless both runs have all tasks, with nothing missing there."""
    baseline = known.baseline
    before = baseline.benchmarks.get(scored.name) if baseline is not None and not baseline.unfit else None
    if baseline is None or before is None or before.missing:
        return None
    if [d for d in baseline.differs if d["part"] not in ("model", *gate.waived) and d["benchmark"] in (None, scored.name)]:
        return None
    pairs = match(before, scored)
    if len(pairs.only_a) or len(pairs.only_b) or pairs.changed:
        return None
    place = np.empty(scored.tasks, dtype=np.int64)
    place[pairs.b] = pairs.a
    return values_of(before, gate.metric)[place[prefix]]
