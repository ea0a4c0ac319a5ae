"""All metrics of one benchmark: which it has, the value of each task made once, then averaged over all tasks or a subset, with intervals.

`summarise` makes the benchmark's entry of `summary.json`. Pure: the single metrics are in `metrics`, those that are made from all tasks at
once in `derived`, votes in `votes`, intervals in `intervals`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_gym import intervals, metrics, votes
from pytest_gym.derived import Corpus, SubsetMean, strata_interval
from pytest_gym.hints import hints
from pytest_gym.outcomes import Outcomes

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

_KEY = re.compile(r"(pass@|pass\^|majority@|best@|g-pass@)([1-9]\d*)(?::(0\.5|0\.75|1\.0))?")


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
    low, high, _ = table.scale(headline)
    span = high - low if math.isfinite(high - low) else 1.0
    subsets: dict[str, Any] = {}
    for name, rows in rows_by_name(outcomes.reported).items():
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
        "variance": metrics.variance_split(attempts),
        "tasks_passed": metrics.tasks_passed(outcomes.passed),
        "detectable_difference": metrics.detectable_difference(attempts, se, span=span),
    }
    return summary | {"hints": hints(summary, temperature=temperature, same_text=same_text)}


def macro_mean(entries: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    """The plain mean of the headlines of several benchmarks (entries of `summary.json`), each a fixed stratum; None with fewer than two.

    `value`, `se`, `ci95`, `method`, `benchmarks` (how many), `few`, and where the headlines have not all the same range and direction, or
    one has no value, a `reason` and no more. `bounds` where a verdict is missing.
    """
    if len(entries) < 2:
        return None
    headlines = {name: entry["metrics"][entry["headline"]] for name, entry in entries.items()}
    found: dict[str, Any] = {"value": None, "se": None, "ci95": None, "method": None, "benchmarks": len(entries), "few": False}
    if len({(*entry["range"], entry["direction"]) for entry in entries.values()}) > 1:
        return found | {"reason": "the headlines differ in range or direction"}
    if none := [name for name, metric in headlines.items() if metric["value"] is None]:
        return found | {"reason": f"{none[0]} has no {entries[none[0]]['headline']}"}
    share = 1 / len(entries)
    low, high = next(iter(entries.values()))["range"]
    low, high = -math.inf if low is None else low, math.inf if high is None else high
    interval = strata_interval([(share, m["value"], m["se"], m["tasks"]) for m in headlines.values()], low=low, high=high)
    alone = [name for name, metric in headlines.items() if metric["se"] is None]
    found |= {
        "value": share * sum(metric["value"] for metric in headlines.values()),
        "se": interval.se,
        "ci95": None if interval.low is None or interval.high is None else [interval.low, interval.high],
        "method": interval.method,
        "few": interval.few,
        "reason": f"{alone[0]} has no standard error" if alone else interval.reason,
    }
    if any(entry["missing"] for entry in entries.values()):
        ends = [
            metric.get("bounds") if entry["missing"] else [metric["value"]] * 2
            for metric, entry in zip(headlines.values(), entries.values(), strict=True)
        ]
        found["bounds"] = None if any(end is None for end in ends) else [share * sum(end[i] for end in ends) for i in (0, 1)]
    return found


def metric_at(outcomes: Outcomes, key: str, *, low: float, high: float, level: float) -> dict[str, Any]:
    """One metric of all tasks as `summarise` gives it, with its interval at another level (`ci95` all the same)."""
    table = _Table(outcomes, key, "higher", low, high, level)
    return table.metric(key, outcomes.verdicts, np.arange(outcomes.tasks))


def scale_of(outcomes: Outcomes, key: str, headline: str, low: float, high: float) -> tuple[float, float, bool]:
    """The range of the metric `key`, and whether every single verdict lies at one of its ends; low, high: the headline's range."""
    return _Table(outcomes, headline, "higher", low, high).scale(key)


def task_values(outcomes: Outcomes, key: str, *, direction: str = "higher", low: float = 0.0, high: float = 1.0) -> Floats:
    """float[m]: the metric `key` of each task, NaN where it has too few verdicts; as `summarise` takes them."""
    return _Table(outcomes, key, direction, low, high).values(key)


class _Table:
    """The metrics of one benchmark: per-task values of each key, computed once and then averaged over all tasks or a subset."""

    def __init__(self, outcomes: Outcomes, headline: str, direction: str, low: float, high: float, level: float = 0.95) -> None:
        self.outcomes, self.headline, self.low, self.high, self.level = outcomes, headline, low, high, level
        self.lowest = direction == "lower" and headline == "mean_reward"
        self.missing = np.count_nonzero(np.isnan(outcomes.passed), axis=1)
        self.affected = np.flatnonzero(self.missing)
        self._votes = None if outcomes.answers is None else votes.count_votes(outcomes.passed, outcomes.answers)
        self._values: dict[str, Floats] = {}
        self._ends: dict[str, tuple[Floats, Floats]] = {}
        self.clusters = metrics.cluster_codes(outcomes.clusters)
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
        ks = metrics.attempt_counts(self.outcomes.repeats)
        keys = ["pass@1", *(f"pass@{k}" for k in ks), *(f"pass^{k}" for k in ks)]
        keys += [f"g-pass@{k}:{t}" for k in ks for t in metrics.STABILITY]
        if self._votes is not None:
            keys += [f"majority@{k}" for k in ks]
        keys += [*(f"best@{k}" for k in ks), "mean_reward", *self.outcomes.scores, *self.outcomes.derived, self.headline]
        return dict.fromkeys(keys)

    def attempts(self) -> Floats:
        """float[m, K]: what one attempt counts for the headline."""
        derived = self.outcomes.derived.get(self.headline)
        if isinstance(derived, Corpus) and (statistics := derived.of(self.outcomes.scores)) is not None:
            return statistics.influences()
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
        derived = self.outcomes.derived.get(key)
        value = float(np.mean(values[scored])) if scored.any() else math.nan
        if derived is None:
            found = intervals.interval(
                values[scored],
                verdicts=int(verdicts[rows][scored].sum()),
                low=low,
                high=high,
                binary=binary,
                clusters=None if self.clusters is None else self.clusters[rows][scored],
                level=self.level,
            )
        elif isinstance(derived, Corpus):
            value, found = self._corpus(derived, rows)
        else:
            value, found = self._subset_mean(derived, verdicts, rows)
        reason = self.absent(key) or found.reason
        result: dict[str, Any] = {
            "value": None if math.isnan(value) else min(max(value, low), high),
            "se": found.se,
            "ci95": None if found.low is None or found.high is None else [found.low, found.high],
            "method": found.method,
            "tasks": int(np.count_nonzero(scored)),
            "few": found.few,
            "reason": reason,
        }
        if self.missing[rows].any() and (derived is None or len(rows) == self.outcomes.tasks):
            # Sorted, because rounding may put ends that are equal the wrong way round.
            ends = sorted(float(np.mean(end[rows])) for end in self.ends(key)) if self.bounded(key) else []
            result["bounds"] = ends if ends and all(math.isfinite(end) for end in ends) else None
        return result

    def _corpus(self, corpus: Corpus, rows: Codes) -> tuple[float, intervals.Interval]:
        statistics = corpus.of({name: values[rows] for name, values in self.outcomes.scores.items()})
        if statistics is None or math.isnan(value := statistics.value()):
            return math.nan, intervals.Interval(None, None, None, None, reason=f"{corpus.name} is undefined on these answers")
        return value, statistics.interval(None if self.clusters is None else self.clusters[rows], self.level)

    def _subset_mean(self, mean: SubsetMean, verdicts: Codes, rows: Codes) -> tuple[float, intervals.Interval]:
        names = [self.outcomes.subsets[row] for row in rows] if len(self.outcomes.subsets) else []
        groups, shares = rows_by_name(names), mean.shares(names)
        parts = {name: self.metric(mean.of, verdicts, rows[groups[name]]) for name in shares}
        empty = [name for name, part in parts.items() if part["value"] is None and shares[name]]
        absent = mean.absent(names)
        if empty or absent or not parts:
            what = f"subset {empty[0]!r} has no {mean.of}" if empty else f"no subset is {absent[0]!r}" if absent else "there are no subsets"
            return math.nan, intervals.Interval(None, None, None, None, reason=what)
        low, high, _ = self.scale(mean.of)
        strata = [(shares[name], part["value"], part["se"], part["tasks"]) for name, part in parts.items() if shares[name]]
        return sum(weight * value for weight, value, _, _ in strata), strata_interval(strata, low=low, high=high, level=self.level)

    def values(self, key: str) -> Floats:
        """float[m]: the metric's value of each task, NaN where it has too few verdicts."""
        if key not in self._values:
            self._values[key] = self._compute(key, self.outcomes, self._votes)
        return self._values[key]

    def ends(self, key: str) -> tuple[Floats, Floats]:
        """float[m] twice: the values with every missing verdict counted wrong and counted right. Other tasks are not computed again."""
        if key not in self._ends:
            low, high = self.values(key).copy(), self.values(key).copy()
            derived = self.outcomes.derived.get(key)
            if isinstance(derived, SubsetMean):
                low, high = (end * self._weights(derived, end) for end in self.ends(derived.of))
            elif derived is None:
                wrong, silent, right = (self._compute(key, *fill) for fill in self._fills)
                low[self.affected], high[self.affected] = np.minimum(wrong, silent), right
            self._ends[key] = (low, high)
        return self._ends[key]

    def scale(self, key: str) -> tuple[float, float, bool]:
        """The metric's range, and whether every single verdict lies at one of its ends.

        A named score that is not the headline has the range where all its values keep to it, else none.
        """
        derived = self.outcomes.derived.get(key)
        if isinstance(derived, Corpus):
            return derived.low, derived.high, False
        if derived is not None:
            return (*self.scale(derived.of)[:2], False)
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
        derived = self.outcomes.derived.get(key)
        if derived is not None:
            return isinstance(derived, SubsetMean) and self.bounded(derived.of)
        own = key == self.headline or key == "mean_reward" or _KEY.fullmatch(key) is not None
        return own and not self.absent(key)

    def absent(self, key: str) -> str | None:
        """Why this run cannot have the metric at all, or None."""
        derived = self.outcomes.derived.get(key)
        if isinstance(derived, Corpus):
            lacks = [name for name in derived.statistics if name not in self.outcomes.scores]
            return f"no verdict has the score {lacks[0]!r}, of which {key} is made" if lacks else None
        if derived is not None:
            return self.absent(derived.of)
        match = _KEY.fullmatch(key)
        if match is None:
            return None if key == "mean_reward" or key in self.outcomes.scores else f"no verdict has the score {key!r}"
        if int(match[2]) > self.outcomes.repeats:
            return f"{key} needs {match[2]} repeats, planned are {self.outcomes.repeats}"
        return "the verifier extracts no answers to vote on" if match[1] == "majority@" and self._votes is None else None

    def _compute(self, key: str, outcomes: Outcomes, counted: votes.Votes | None) -> Floats:
        derived = outcomes.derived.get(key)
        if isinstance(derived, Corpus):
            statistics = derived.of(outcomes.scores)
            return np.full(outcomes.tasks, np.nan) if statistics is None else statistics.per_task()
        if derived is not None:
            values = self.values(derived.of)
            return values * self._weights(derived, values)
        match = _KEY.fullmatch(key)
        if match is None:
            named = outcomes.rewards if key == "mean_reward" else outcomes.scores.get(key)
            return np.full(outcomes.tasks, np.nan) if named is None else metrics.task_means(named)
        k = int(match[2])
        families: dict[str, Callable[[], Floats]] = {
            "pass@": lambda: metrics.pass_at_k(outcomes.passed, k),
            "pass^": lambda: metrics.pass_hat_k(outcomes.passed, k),
            "g-pass@": lambda: metrics.g_pass_at_k(outcomes.passed, k, float(match[3] or 1.0)),
            "best@": lambda: metrics.best_at_k(outcomes.rewards, k, lowest=self.lowest),
            "majority@": lambda: np.full(outcomes.tasks, np.nan) if counted is None else votes.majority(counted, k),
        }
        return families[match[1]]()

    def _weights(self, mean: SubsetMean, values: Floats) -> Floats:
        """float[m]: what makes the mean of the tasks' values the mean over subsets: m · share of the subset / its tasks with a value."""
        names: list[str | None] = list(self.outcomes.subsets) or [None] * self.outcomes.tasks
        shares, weights = {} if mean.absent(names) else mean.shares(names), np.full(self.outcomes.tasks, np.nan)
        scored = {name: rows[~np.isnan(values[rows])] for name, rows in rows_by_name(names).items()}
        total = sum(len(scored[name]) for name in shares)
        for name, share in shares.items():
            if len(scored[name]):
                weights[scored[name]] = total * share / len(scored[name])
        return weights


def _two_valued(values: Floats, low: float, high: float) -> bool:
    return math.isfinite(high - low) and low < high and bool(np.all((values == low) | (values == high) | np.isnan(values)))


def rows_by_name(subsets: Sequence[str | None]) -> dict[str, Codes]:
    """Where each name stands, in the order of the names; None is no name."""
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(subsets):
        if name is not None:
            rows.setdefault(name, []).append(row)
    return {name: np.array(rows[name], dtype=np.int64) for name in sorted(rows)}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
