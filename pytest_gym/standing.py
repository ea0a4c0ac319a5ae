"""How a run stands while it goes on: the score so far, the pace, and the numbers that a progress line is made of.

Cheap on purpose: a verdict costs a few additions, and an interval is computed when somebody looks. The numbers of record are those of
`metrics`; here majority votes, clusters and the bootstrap are left out. Not here: texts (`report/status`), and who writes them and when.
"""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pytest_gym import intervals
from pytest_gym.plan import Planned

_NAN = math.nan
_KEY = re.compile(r"(pass@|pass\^)([1-9]\d*)")
_COUNTED = re.compile(r"(majority@|best@|g-pass@)\d+.*")
_SHORTEST_MEMORY_S = 30.0
_Z = intervals.normal_quantile(0.95)


@dataclass(frozen=True)
class Score:
    """The score so far of one benchmark: the metric's key, its value, and a 95 % interval (None where none can be said)."""

    metric: str
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Waiting:
    """What has not come: the oldest case that was asked for, for how many seconds, how many `more`, and why its last try failed."""

    case: str
    seconds: float
    more: int = 0
    reason: str | None = None


@dataclass(frozen=True)
class Standing:
    """The numbers of a progress line. Times in seconds.

    `done` of `total` cases have their answer, or an error; `to_judge` of those have not been judged. `limit` is given where it is below
    `most`, the configured number of connections. `paused` is how long the server has asked to be left alone. `waiting` is set where
    nothing has come for long. `others` are the tests of the run that are no cases: finished and all. `left` None: nobody knows.
    """

    done: int
    total: int
    to_judge: int = 0
    benchmark: str | None = None
    score: Score | None = None
    in_flight: int = 0
    limit: int | None = None
    most: int | None = None
    errors: int = 0
    tokens_per_s: float | None = None
    left: float | None = None
    paused: float | None = None
    waiting: Waiting | None = None
    others: tuple[int, int] = (0, 0)


class RunningScore:
    """The headline of one benchmark over the verdicts so far, kept as sums over tasks.

    pass@k and pass^k, the mean reward and named scores are exact. Where the headline is a vote or a choice among repeats (majority@k,
    best@k, g-pass@k), pass@1 is given in its place, and named so; for a mean over subsets the plain mean of what it is of.
    """

    def __init__(self, planned: Planned) -> None:
        metric, rows = planned.benchmark.metric, planned.rows
        headline = str(metric.aggregate[metric.headline]["of"]) if metric.headline in metric.aggregate else metric.headline
        self.key = "pass@1" if _COUNTED.fullmatch(headline) else headline
        match = _KEY.fullmatch(self.key)
        self._family, self._k = (match[1], int(match[2])) if match else ("mean", 1)
        self._low, self._high = (0.0, 1.0) if match else (metric.low, metric.high)
        self._repeats = planned.repeats
        clusters = planned.dataset.clusters
        self._clustered = any(clusters[row] is not None for row in rows)
        self._values = array("d", [_NAN]) * (len(rows) * planned.repeats)
        self._counts, self._totals = array("l", [0]) * len(rows), array("d", [0.0]) * len(rows)
        self._binary = True
        self._tasks = self._verdicts = 0
        self._sum = self._squares = 0.0

    def judged(self, position: int, repeat: int, verdict: Mapping[str, Any] | None) -> None:
        """Take in the verdict (as JSON) on a case, or that it has none; a later one on the same case counts."""
        value = _NAN
        if verdict is not None:
            if self._family != "mean":
                value = float(verdict["passed"])
            elif self.key == "mean_reward":
                value = float(verdict["reward"])
            else:
                value = float(verdict["scores"].get(self.key, _NAN))
        place = position * self._repeats + repeat
        before, self._values[place] = self._values[place], value
        # A task is taken out of the sums, changed, and put back.
        self._weigh(position, -1)
        for number, sign in ((before, -1), (value, 1)):
            if not math.isnan(number):
                self._counts[position] += sign
                self._totals[position] += sign * number
                self._verdicts += sign
        self._weigh(position, 1)
        if self._binary and not math.isnan(value):
            self._binary = value in (self._low, self._high)

    def score(self) -> Score | None:
        """The score of the tasks that have verdicts enough, or None where there is none yet."""
        m = self._tasks
        if not m:
            return None
        value = min(max(self._sum / m, self._low), self._high)
        ends = None if self._clustered else self._interval(m, value)
        return Score(self.key, value, *ends) if ends else Score(self.key, value)

    def _weigh(self, position: int, sign: int) -> None:
        value = self._task(self._counts[position], self._totals[position])
        if value is not None:
            self._tasks += sign
            self._sum += sign * value
            self._squares += sign * value * value

    def _task(self, n: int, total: float) -> float | None:
        k = self._k
        if n < k:
            return None
        if k == 1:
            return total / n
        passed = round(total)
        drawn = n - passed if self._family == "pass@" else passed
        share = math.comb(drawn, k) / math.comb(n, k)
        return 1 - share if self._family == "pass@" else share

    def _interval(self, m: int, value: float) -> tuple[float, float] | None:
        """Wilson's where each task has one binary verdict, else by the same formula on the effective size; graded values ± 1.96 SE."""
        low, high, verdicts = self._low, self._high, self._verdicts
        span = high - low
        mean = self._sum / m
        se = math.sqrt(max(self._squares / m - mean * mean, 0.0) / (m - 1)) if m > 1 else None
        if self._binary and math.isfinite(span):
            share = (value - low) / span
            if verdicts == m:
                ends = intervals.score_interval(share, m, _Z)
            elif se is None:
                return None
            else:
                ends = intervals.score_interval(share, intervals.effective_size(share, se / span, units=m, most=verdicts), _Z)
            return low + ends[0] * span, low + ends[1] * span
        if not se:
            return None
        return max(value - _Z * se, low), min(value + _Z * se, high)


class Pace:
    """How many a second: a mean over time in which the last quarter of the run (half a minute at least) counts most."""

    def __init__(self, now: float) -> None:
        self._began = self._at = now
        self._count = 0
        self._many = self._seconds = 0.0

    def note(self, now: float, count: int) -> None:
        """Say how many there have been in all by `now` (monotonic seconds)."""
        passed = now - self._at
        if passed <= 0:
            return
        fading = math.exp(-passed / max(_SHORTEST_MEMORY_S, (now - self._began) / 4))
        self._many = self._many * fading + (count - self._count)
        self._seconds = self._seconds * fading + passed
        self._at, self._count = now, count

    @property
    def rate(self) -> float | None:
        """How many a second, or None where nothing has come."""
        return self._many / self._seconds if self._many > 0 else None

    def seconds_for(self, more: int) -> float | None:
        """How long `more` of them will take at this pace, or None where nobody knows."""
        rate = self.rate
        return 0.0 if more <= 0 else more / rate if rate else None
